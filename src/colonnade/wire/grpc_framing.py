"""gRPC over HTTP/2 below the messages: their frames, codings and statuses. Pure.

Source: gRPC, "gRPC over HTTP2" (PROTOCOL-HTTP2.md) and "gRPC compression" (compression.md).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from enum import IntEnum
from urllib.parse import quote_from_bytes, unquote_to_bytes

from colonnade.errors import Error, InvalidInput, TooLarge

CONTENT_TYPE = b"application/grpc"
IDENTITY = b"identity"
CODINGS = {b"gzip": 31, b"deflate": 15}
"""Message codings that are understood, with their window bits for zlib."""
ACCEPTED = b"identity,deflate,gzip"

_PREFIX = 5  # a flag and the length of the message
_PLAIN = " !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~"  # printable ASCII but for %, beside letters and digits

Trailers = tuple[tuple[bytes, bytes], ...]


class Code(IntEnum):
    """Status codes, named as in gRPC's specification."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


OK: Trailers = ((b"grpc-status", b"0"),)


class UnknownCoding(Error):
    """A message is compressed in a way that is not understood here."""

    status = 501
    reason = "NotImplemented"


def is_grpc(content_type: bytes) -> bool:
    """Whether a content type is gRPC's: the plain one, or with a subtype such as `+proto`."""
    return content_type.startswith(CONTENT_TYPE) and content_type[16:17] in (b"", b"+", b";")


def trailers(code: int, message: str) -> Trailers:
    """The trailers of a call that failed."""
    text = quote_from_bytes(message.encode(errors="replace"), safe=_PLAIN).encode("ascii")
    return ((b"grpc-status", b"%d" % code), (b"grpc-message", text))


def message_of(value: bytes) -> str:
    """The text in a `grpc-message` trailer."""
    return unquote_to_bytes(value).decode(errors="replace")


def code_of(value: bytes | None) -> Code:
    """The status in a trailer; UNKNOWN if there is none or it is no number of a code."""
    try:
        return Code(int(value or b""))
    except ValueError:
        return Code.UNKNOWN


def frame(message: bytes) -> bytes:
    """A message as it travels."""
    return b"\0%b%b" % (len(message).to_bytes(4, "big"), message)


def deflated(message: bytes, coding: bytes) -> bytes:
    """A compressed message as it travels."""
    packer = zlib.compressobj(level=1, wbits=CODINGS[coding])
    packed = packer.compress(message) + packer.flush()
    return b"\1%b%b" % (len(packed).to_bytes(4, "big"), packed)


def whole(body: bytes, limit: int) -> tuple[bytes, bool]:
    """The one message in the body of a unary request, and whether it is compressed.

    Raises:
        InvalidInput: the body is not exactly one message.
        TooLarge: the message is over the limit.
    """
    size = len(body)
    if size < _PREFIX or body[0] > 1:
        raise InvalidInput("the body is no gRPC message: a flag, four bytes of length, the message")
    announced = int.from_bytes(body[1:5], "big")
    if announced > limit:
        raise _too_large(announced, limit)
    if announced != size - _PREFIX:
        raise InvalidInput(f"a unary call has one message; {announced} bytes announced, {size - _PREFIX} came")
    return body[_PREFIX:], body[0] == 1


def inflated(message: bytes, coding: bytes, limit: int) -> bytes:
    """A compressed message unpacked.

    Raises:
        UnknownCoding: the coding is not understood.
        InvalidInput: the bytes are not in that coding.
        TooLarge: they unpack to more than the limit.
    """
    bits = CODINGS.get(coding)
    if bits is None:
        shown = coding.decode("latin-1")
        raise UnknownCoding(f"message coding {shown!r} is not supported; use one of {ACCEPTED.decode()}")
    unpacker = zlib.decompressobj(wbits=bits)
    try:
        unpacked = unpacker.decompress(message, limit + 1)
    except zlib.error as error:
        raise InvalidInput(f"the message is not in its coding {coding.decode()}: {error}") from None
    if len(unpacked) > limit:
        raise _too_large(len(unpacked), limit)
    if not unpacker.eof:
        raise InvalidInput(f"the message is cut off in its coding {coding.decode()}")
    return unpacked


class MessageReader:
    """Takes a stream of messages apart.

    Args:
        limit: largest message in bytes.
    """

    __slots__ = ("_held", "_limit")

    def __init__(self, limit: int) -> None:
        self._held = bytearray()
        self._limit = limit

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bool]]:
        """The messages that are complete with these bytes, each with whether it is compressed.

        Raises:
            InvalidInput, TooLarge: as `whole`.
        """
        held = self._held
        held += data
        while len(held) >= _PREFIX:
            if held[0] > 1:
                raise InvalidInput("the stream holds no gRPC message where one should begin")
            size = int.from_bytes(held[1:5], "big")
            if size > self._limit:
                raise _too_large(size, self._limit)
            if len(held) < _PREFIX + size:
                return
            message, flag = bytes(held[_PREFIX : _PREFIX + size]), held[0] == 1
            del held[: _PREFIX + size]
            yield message, flag

    @property
    def complete(self) -> bool:
        """Whether the stream may end here."""
        return not self._held


class MessageSizes:
    """Looks at the lengths in a stream of messages that is passed on unread.

    Args:
        limit: largest message in bytes.
    """

    __slots__ = ("_left", "_limit", "_prefix")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = 0  # bytes of the message that is passing
        self._prefix = b""  # the beginning of the next one

    def feed(self, data: bytes | memoryview) -> None:
        """Look at a part of the stream.

        Raises:
            TooLarge: a message in it is over the limit.
        """
        at = self._left
        if at >= len(data):
            self._left = at - len(data)
            return
        while at < len(data):
            prefix = self._prefix + bytes(data[at : at + _PREFIX - len(self._prefix)])
            at += len(prefix) - len(self._prefix)
            self._prefix = prefix
            if len(prefix) < _PREFIX:
                break
            self._prefix = b""
            size = int.from_bytes(prefix[1:], "big")
            if size > self._limit:
                raise _too_large(size, self._limit)
            at += size
        self._left = max(0, at - len(data))


def beginning(body: bytes, coding: bytes, size: int) -> bytes | None:
    """The first bytes, at most `size`, of the first message in what has come of a body; None if more must come first.
    What cannot be unpacked is empty.
    """
    if len(body) < _PREFIX:
        return None
    announced = int.from_bytes(body[1:_PREFIX], "big")
    if len(body) < _PREFIX + min(announced, size):
        return None
    message = body[_PREFIX : _PREFIX + min(announced, size)]
    if not body[0]:
        return message
    try:
        return zlib.decompressobj(wbits=CODINGS[coding]).decompress(message, size)
    except (KeyError, zlib.error):
        return b""


def _too_large(size: int, limit: int) -> TooLarge:
    return TooLarge(f"a message of {size} bytes is over the limit of {limit}; send less, or raise --max-message")
