"""One end of an HTTP/2 connection: what server and client share.

Frames in, in whatever pieces they come, settings, pings and the peer's windows; what goes out is in `writing`. What a
peer can make this end hold is bounded: one frame, one header block, what the windows allow of each stream, and a budget
for messages that cost it nothing.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable
from time import monotonic
from typing import cast

from colonnade.net.http2 import frames
from colonnade.net.http2.budget import Budget
from colonnade.net.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    LARGEST_STREAM,
    LARGEST_WINDOW,
    PADDED,
    PING,
    PRIORITIZED,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Fault,
    StreamFault,
)
from colonnade.net.http2.writing import FrameWriter, Stream

logger = logging.getLogger(__name__)

MAX_FRAME = 256 << 10  # we take frames up to here: larger ones than the default's make large messages cheaper
CONNECTION_WINDOW = 1 << 30  # the streams' windows do the limiting

_CHEAP_BURST, _CHEAP_RATE = 1000, 200.0  # messages without effect


class Endpoint(FrameWriter):
    """One end of a connection. A subclass makes the streams.

    Attributes:
        seen: when the last bytes came.
        deaf: nothing more is read.
        initial_window: bytes that the peer takes on a new stream.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0.0
        self.deaf = False
        self.initial_window = frames.DEFAULT_WINDOW
        self._parts: list[bytes] = []  # of a frame that is not complete
        self._skip = 0  # bytes before the first frame
        self._have = self._need = 0  # bytes of it, and how many there must be to go on
        self._block: list[bytes] | None = None  # of a header block that is not complete
        self._block_bytes = 0
        self._block_stream = 0
        self._block_flags = 0
        self._unread = 0  # bytes of DATA that were not credited to the peer again
        self._settled = False  # the peer has sent its settings
        self._cheap = Budget(_CHEAP_BURST, _CHEAP_RATE)

    # For a subclass.

    @property
    @abstractmethod
    def max_block_bytes(self) -> int:
        """Bound on a header block before it is decoded."""

    @abstractmethod
    def stream(self, number: int) -> Stream | None:
        """The open stream of that number.

        Raises:
            Fault: the stream has not been opened yet.
        """

    @abstractmethod
    def take_block(self, stream: int, block: bytes, ended: bool, data: bytes, at: int) -> int:
        """Take a whole header block; `data` from `at` follows it. Returns where to go on reading."""

    @abstractmethod
    def take_data(self, stream: int, payload: bytes, size: int, ended: bool) -> None:
        """Take DATA without its padding; `size` counts for flow control."""

    @abstractmethod
    def take_reset(self, stream: int, code: int) -> None:
        """The peer gives up a stream."""

    @abstractmethod
    def take_goaway(self, last_stream: int, code: int) -> None:
        """The peer takes no more streams."""

    @abstractmethod
    def stream_failed(self, fault: StreamFault) -> None:
        """Give up a stream whose peer broke the rules."""

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.seen = monotonic()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            return
        self.seen = monotonic()
        if self._need:
            self._parts.append(data)
            self._have += len(data)
            if self._have < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
            self._need = 0
        self._corked = True
        try:
            self._read(data)
        except Fault as fault:
            self.fail(fault)
        self._corked = False
        if self._out and not self.transport.is_closing():
            self._flush()

    def eof_received(self) -> bool:
        return False

    def guarded(self, callback: Callable[[], object]) -> None:
        """Run an application's callback that nobody up the stack could answer for."""
        try:
            callback()
        except Exception:
            logger.exception("a callback of the application failed")

    def fail(self, fault: Fault) -> None:
        """End the connection and say why."""
        logger.debug("HTTP/2 connection ended: %s", fault)
        self.deaf = True
        if not self.transport.is_closing():
            self._out.append(frames.goaway(self.last_stream, fault.code, str(fault).encode()[:200]))
            self._flush()
            self.transport.close()

    @property
    @abstractmethod
    def last_stream(self) -> int:
        """The last stream of the peer that was looked at."""

    def spend(self) -> None:
        """Count a message of the peer that costs it nothing.

        Raises:
            Fault: there were too many.
        """
        if not self._cheap.spend(self.seen):
            raise Fault(frames.ENHANCE_YOUR_CALM, "too many messages without effect")

    # Reading.

    def _read(self, data: bytes) -> None:
        size = len(data)
        at, self._skip = self._skip, 0
        needed = frames.HEADER_BYTES
        while size - at >= 9:
            length = (data[at] << 16) | (data[at + 1] << 8) | data[at + 2]
            if length > MAX_FRAME:
                raise Fault(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes; the limit is {MAX_FRAME}")
            begin = at + 9
            end = begin + length
            if end > size:
                needed += length
                break
            kind = data[at + 3]
            flags = data[at + 4]
            stream = int.from_bytes(data[at + 5 : begin], "big") & LARGEST_STREAM
            at = end
            try:
                if self._block is not None and (kind != CONTINUATION or stream != self._block_stream):
                    raise Fault(frames.PROTOCOL_ERROR, "a header block was interrupted")
                if kind == DATA and stream:
                    payload = data[begin:end]
                    ended = bool(flags & END_STREAM)
                    self._count_data(length, ended)
                    self.take_data(stream, frames.unpadded(payload, flags), length, ended)
                elif kind == HEADERS and stream:
                    at = self._headers(stream, flags, data, begin, end)
                else:
                    self._other(kind, flags, stream, data[begin:end])
            except StreamFault as fault:
                self.spend()
                self.stream_failed(fault)
            if self.deaf:
                return
        if at < size:
            self._parts = [data[at:]]
            self._have = size - at
            self._need = needed

    def _count_data(self, size: int, ended: bool) -> None:
        """Credit the connection's window at once; it is the streams' windows that hold a sender back."""
        if not size and not ended:
            self.spend()
        self._unread += size
        if self._unread > CONNECTION_WINDOW >> 1:
            self.send(frames.window_update(0, self._unread))
            self._unread = 0

    def _headers(self, stream: int, flags: int, data: bytes, begin: int, end: int) -> int:
        block = data[begin:end]
        if flags & (PADDED | PRIORITIZED):
            block = frames.unpadded(block, flags)
            if flags & PRIORITIZED:
                if len(block) < 5:
                    raise Fault(frames.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
                if int.from_bytes(block[:4], "big") & LARGEST_STREAM == stream:
                    raise Fault(frames.PROTOCOL_ERROR, "a stream that depends on itself")
                block = block[5:]
        if flags & END_HEADERS:
            return self.take_block(stream, block, bool(flags & END_STREAM), data, end)
        self._block = [block]
        self._block_bytes = len(block)
        self._block_stream = stream
        self._block_flags = flags
        return end

    def _continuation(self, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise Fault(frames.PROTOCOL_ERROR, "CONTINUATION without a header block")
        if not payload:
            self.spend()
        self._block.append(payload)
        self._block_bytes += len(payload)
        if self._block_bytes > self.max_block_bytes:
            raise Fault(frames.ENHANCE_YOUR_CALM, "a header block that is too large")
        if flags & END_HEADERS:
            block = b"".join(self._block)
            self._block = None
            self.take_block(self._block_stream, block, bool(self._block_flags & END_STREAM), b"", 0)

    def _other(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE:
            self._window_update(stream, payload)
        elif kind == CONTINUATION and stream:
            self._continuation(flags, payload)
        elif kind == RST_STREAM and stream:
            self.take_reset(stream, frames.read_word(payload, "RST_STREAM"))
        elif kind == PRIORITY and stream:  # RFC 9113, section 5.3.2: deprecated, and ignored
            self.spend()
            if len(payload) != 5:
                raise StreamFault(stream, frames.FRAME_SIZE_ERROR, "PRIORITY of another length than 5")
            if int.from_bytes(payload[:4], "big") & LARGEST_STREAM == stream:
                raise StreamFault(stream, frames.PROTOCOL_ERROR, "a stream that depends on itself")
        elif kind == SETTINGS and not stream:
            self._settings(flags, payload)
        elif kind == PING and not stream:
            if len(payload) != 8:
                raise Fault(frames.FRAME_SIZE_ERROR, "PING of another length than 8")
            if not flags & ACK:
                self.spend()
                self.send(frames.frame(PING, ACK, 0, payload))
        elif kind == GOAWAY and not stream:
            if len(payload) < 8:
                raise Fault(frames.FRAME_SIZE_ERROR, "GOAWAY shorter than 8 bytes")
            last = int.from_bytes(payload[:4], "big") & LARGEST_STREAM
            self.take_goaway(last, int.from_bytes(payload[4:8], "big"))
        elif kind == PUSH_PROMISE or kind <= CONTINUATION:
            raise Fault(frames.PROTOCOL_ERROR, f"a frame of type {kind} that does not belong on stream {stream}")
        else:
            self.spend()  # RFC 9113, section 4.1: an unknown type is ignored

    def _settings(self, flags: int, payload: bytes) -> None:
        if flags & ACK:
            if payload:
                raise Fault(frames.FRAME_SIZE_ERROR, "an acknowledgement of SETTINGS with settings in it")
            return
        self.spend()
        self._settled = True
        for name, value in frames.read_settings(payload):
            if name == frames.INITIAL_WINDOW_SIZE:
                change = value - self.initial_window
                self.initial_window = value
                for stream in self.streams():
                    stream.window += change
                    if stream.window > LARGEST_WINDOW:
                        raise Fault(frames.FLOW_CONTROL_ERROR, "a window over 2^31-1")
            elif name == frames.MAX_FRAME_SIZE:
                self.largest_frame = value
            elif name == frames.MAX_CONCURRENT_STREAMS:
                self.peer_takes(value)
        self.send(frames.SETTINGS_ACK)
        self._pump()

    @abstractmethod
    def streams(self) -> Iterable[Stream]:
        """All open streams."""

    def peer_takes(self, streams: int) -> None:
        """The peer's bound on concurrent streams; only a client opens any."""

    def _window_update(self, number: int, payload: bytes) -> None:
        increment = frames.read_word(payload, "WINDOW_UPDATE") & LARGEST_WINDOW
        if not number:
            if not increment:
                raise Fault(frames.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
            self.send_window += increment
            if self.send_window > LARGEST_WINDOW:
                raise Fault(frames.FLOW_CONTROL_ERROR, "a window over 2^31-1")
            if self._blocked:
                self._pump()
            return
        stream = self.stream(number)
        if stream is None:
            return  # RFC 9113, section 5.1: it may have been on its way when the stream ended
        if not increment:
            raise StreamFault(number, frames.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        stream.window += increment
        if stream.window > LARGEST_WINDOW:
            raise StreamFault(number, frames.FLOW_CONTROL_ERROR, "a window over 2^31-1")
        if stream.pending is not None:
            self._push(stream)
