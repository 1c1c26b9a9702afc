"""Frames, settings and error codes on the wire (RFC 9113, sections 4, 6 and 7). Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from colonnade.net.later import HTTP2_PREFACE

PREFACE = HTTP2_PREFACE

# Types.
DATA = 0
HEADERS = 1
PRIORITY = 2
RST_STREAM = 3
SETTINGS = 4
PUSH_PROMISE = 5
PING = 6
GOAWAY = 7
WINDOW_UPDATE = 8
CONTINUATION = 9

# Flags.
END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

# Settings.
ENABLE_PUSH = 2
MAX_CONCURRENT_STREAMS = 3
INITIAL_WINDOW_SIZE = 4
MAX_FRAME_SIZE = 5
MAX_HEADER_LIST_SIZE = 6

# Error codes.
NO_ERROR = 0x0
PROTOCOL_ERROR = 0x1
INTERNAL_ERROR = 0x2
FLOW_CONTROL_ERROR = 0x3
STREAM_CLOSED = 0x5
FRAME_SIZE_ERROR = 0x6
REFUSED_STREAM = 0x7
CANCEL = 0x8
COMPRESSION_ERROR = 0x9
ENHANCE_YOUR_CALM = 0xB

HEADER_BYTES = 9
SMALLEST_MAX_FRAME = 1 << 14
LARGEST_MAX_FRAME = (1 << 24) - 1
DEFAULT_WINDOW = (1 << 16) - 1
LARGEST_WINDOW = (1 << 31) - 1
LARGEST_STREAM = (1 << 31) - 1

SETTINGS_ACK = b"\x00\x00\x00\x04\x01\x00\x00\x00\x00"

_setting = struct.Struct(">HI")
_word = struct.Struct(">I")


class Fault(Exception):
    """The peer broke the protocol or went over a bound: the connection ends with this error code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class StreamFault(Exception):
    """Likewise, for one stream: the others go on."""

    def __init__(self, stream: int, code: int, message: str) -> None:
        super().__init__(message)
        self.stream = stream
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A whole frame."""
    return b"%b%c%c%b%b" % (len(payload).to_bytes(3, "big"), kind, flags, stream.to_bytes(4, "big"), payload)


def settings(values: Iterable[tuple[int, int]]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_setting.pack(name, value) for name, value in values))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The settings in a payload, in order.

    Raises:
        Fault: the payload is no list of settings, or a value is out of its range.
    """
    if len(payload) % _setting.size:
        raise Fault(FRAME_SIZE_ERROR, "SETTINGS of a length that is no multiple of six")
    values = list(_setting.iter_unpack(payload))
    for name, value in values:
        if name == ENABLE_PUSH and value > 1:
            raise Fault(PROTOCOL_ERROR, f"ENABLE_PUSH is {value}; it must be 0 or 1")
        if name == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
            raise Fault(FLOW_CONTROL_ERROR, f"INITIAL_WINDOW_SIZE {value} is over 2^31-1")
        if name == MAX_FRAME_SIZE and not SMALLEST_MAX_FRAME <= value <= LARGEST_MAX_FRAME:
            raise Fault(PROTOCOL_ERROR, f"MAX_FRAME_SIZE {value} is outside 2^14 to 2^24-1")
    return values


def window_update(stream: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return b"\x00\x00\x04\x08\x00%b%b" % (_word.pack(stream), _word.pack(increment))


def read_word(payload: bytes, name: str) -> int:
    """The number that is a RST_STREAM's or a WINDOW_UPDATE's whole payload.

    Raises:
        Fault: the payload has another length.
    """
    if len(payload) != _word.size:
        raise Fault(FRAME_SIZE_ERROR, f"{name} of {len(payload)} bytes; it has 4")
    return int(_word.unpack(payload)[0])


def rst_stream(stream: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return b"\x00\x00\x04\x03\x00%b%b" % (_word.pack(stream), _word.pack(code))


def goaway(last_stream: int, code: int, message: bytes = b"") -> bytes:
    """A GOAWAY frame."""
    return frame(GOAWAY, 0, 0, _word.pack(last_stream) + _word.pack(code) + message)


def header_frames(stream: int, block: bytes, end: int, largest: int) -> bytes:
    """HEADERS and, for a block over the largest frame, CONTINUATION. `end`: END_STREAM or 0."""
    size = len(block)
    name = _word.pack(stream)
    if size <= largest:
        return b"%b\x01%c%b%b" % (size.to_bytes(3, "big"), END_HEADERS | end, name, block)
    parts = [frame(HEADERS, end, stream, block[:largest])]
    for at in range(largest, size, largest):
        last = at + largest >= size
        parts.append(frame(CONTINUATION, END_HEADERS if last else 0, stream, block[at : at + largest]))
    return b"".join(parts)


def unpadded(payload: bytes, flags: int) -> bytes:
    """The payload of a DATA or HEADERS frame without its padding.

    Raises:
        Fault: the padding is as long as the frame or longer.
    """
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Fault(PROTOCOL_ERROR, "a frame that is nothing but padding")
    return payload[1 : len(payload) - payload[0]]
