"""The server's end of an HTTP/2 connection: requests in, each an exchange of its own, and an end that loses nothing.

A small request is whole in the bytes of one read. Then its body is looked up behind its head and the application gets
both at once; what it answers leaves with the other answers of that read in one write.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Iterable
from time import monotonic
from typing import TYPE_CHECKING

from colonnade import defaults
from colonnade.net.head import Header, trailer_fields
from colonnade.net.head_parse import Refusal, RequestHead
from colonnade.net.http2 import frames
from colonnade.net.http2.budget import Budget
from colonnade.net.http2.endpoint import CONNECTION_WINDOW, MAX_FRAME, Endpoint
from colonnade.net.http2.fields import BlockReader, BlockWriter
from colonnade.net.http2.frames import LARGEST_STREAM, LARGEST_WINDOW, Fault, StreamFault
from colonnade.net.http2.request import Malformed, check_fields, request_head
from colonnade.net.http2.stream import StreamExchange
from colonnade.net.http2.writing import STREAM_WINDOW
from colonnade.wire import failures

if TYPE_CHECKING:
    from colonnade.net.server import HttpServer

MAX_STREAMS = defaults.MAX_HTTP2_STREAMS

_MAX_HEADS = 1024  # remembered by one server
_RESET_BURST, _RESET_RATE = 1000, 1000.0  # streams that a client may give up; a deadline is a reason for many
_RECENTLY_RESET = 256  # streams whose frames may still be on their way

_WHOLE = b"\x00\x01"  # DATA with END_STREAM and no padding
_WINDOW_UPDATE = b"\x00\x00\x04\x08\x00"

_REFUSED = RequestHead(b"GET", b"/", b"/", b"", {}, [], True, False, None, False)


class Http2:
    """The dialect of an `HttpServer` that takes HTTP/2 by prior knowledge and, where TLS is on, by ALPN.

    Example:
        HttpServer(app, dialects=[(PREFACE, Http2())])
    """

    def __init__(self) -> None:
        self.blocks = BlockWriter()
        self.heads: dict[tuple[Header, ...], RequestHead] = {}

    def __call__(self, server: HttpServer) -> Http2Connection:
        return Http2Connection(server, self)


class Http2Connection(Endpoint):
    """One client connection of an `HttpServer`.

    Attributes:
        begun: when the last stream began or ended.
        peer: address of the client without its port; None on a Unix socket.
        secure: the connection is encrypted.
        blocks: writes header blocks.
    """

    peer: str | None
    secure: bool

    def __init__(self, server: HttpServer, shared: Http2) -> None:
        super().__init__()
        self._server = server
        self._limits = server.limits
        self._largest_known = min(MAX_FRAME, server.limits.body_bytes)  # a body that may be taken with its head
        self.blocks = shared.blocks
        self._heads = shared.heads
        self._reader: BlockReader[RequestHead] = BlockReader(2 * server.limits.header_bytes)
        self._streams: dict[int, StreamExchange] = {}
        self._last = 0
        self._resets = Budget(_RESET_BURST, _RESET_RATE)
        self._reset: deque[int] = deque(maxlen=_RECENTLY_RESET)
        self._closing_soon = False
        self._last_taken = LARGEST_STREAM  # streams beyond it are ignored: the client was told so
        self.begun = 0.0
        self._skip = len(frames.PREFACE)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else None
        self.secure = transport.get_extra_info("ssl_object") is not None
        self.begun = self.seen
        self._server.opened(self)
        self.send(
            frames.settings(
                [
                    (frames.MAX_CONCURRENT_STREAMS, MAX_STREAMS),
                    (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
                    (frames.MAX_FRAME_SIZE, MAX_FRAME),
                    (frames.MAX_HEADER_LIST_SIZE, self._limits.header_bytes),
                ]
            )
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )
        if self._server.draining:
            self.closing_soon = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.deaf = True
        self._server.lost(self)
        self.writing_paused = False
        self._wake()
        streams, self._streams = self._streams, {}
        self._blocked.clear()
        for exchange in streams.values():
            self._server.active -= 1
            exchange.pending = None
            exchange.leave()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._check_paces()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._check_paces()

    # Called by exchanges.

    def answered(self, exchange: StreamExchange) -> None:
        """All of this answer is on its way."""
        if self._streams.pop(exchange.id, None) is None:
            return
        self._server.active -= 1
        self.begun = self.seen if self._corked else monotonic()
        if not exchange.received:  # RFC 9113, section 8.1: the rest of the request is not wanted
            self._reset.append(exchange.id)
            self.send(frames.rst_stream(exchange.id, frames.NO_ERROR))
        if self._last_taken != LARGEST_STREAM and not self._streams:
            self._close()

    def reset(self, exchange: StreamExchange, code: int) -> None:
        """Give up a stream."""
        if self._streams.pop(exchange.id, None) is None:
            return
        self._server.active -= 1
        self.forget(exchange)
        self._reset.append(exchange.id)
        if not self.transport.is_closing():
            self.send(frames.rst_stream(exchange.id, code))

    # Called by the server.

    @property
    def closing_soon(self) -> bool:
        """The server drains."""
        return self._closing_soon

    @closing_soon.setter
    def closing_soon(self, yes: bool) -> None:
        if yes and not self._closing_soon and not self.transport.is_closing():
            self.send(frames.goaway(LARGEST_STREAM, frames.NO_ERROR))  # a notice; `close_idle` sends the real one
        self._closing_soon = yes

    def close_idle(self, since: float) -> None:
        """Close if nothing is asked or half asked and nothing has been since then; take no more streams in a drain."""
        if self.deaf or self.begun > since or self._block is not None or self._readable():
            return
        if not self._streams:
            self._close()
        elif self._closing_soon and self._last_taken == LARGEST_STREAM:
            self._last_taken = self._last
            self.send(frames.goaway(self._last, frames.NO_ERROR))

    def check(self, now: float) -> None:
        """Cut what has stalled for too long; called at each sweep."""
        limits = self._limits
        if self.writing_paused:
            size = self.transport.get_write_buffer_size()
            if size != self._buffered:
                self._buffered = size
                self._stalled = now
            elif now - self._stalled > limits.read_timeout:
                self.abort()
                return
        elif self.deaf:
            if now - self.seen > limits.read_timeout:
                self.abort()
            return
        if (self._need or self._block is not None or not self._settled) and now - self.seen > limits.read_timeout:
            self.fail(Fault(frames.PROTOCOL_ERROR, f"nothing came for {limits.read_timeout:g} s inside a frame"))
        elif not self._streams:
            self.close_idle(now - limits.idle_timeout)
        else:
            for exchange in list(self._streams.values()):
                self._check_stream(exchange, now)

    def abort(self) -> None:
        """Cut the connection; what was written and not sent is lost."""
        self.deaf = True
        self._out.clear()
        self.transport.abort()

    # Called by the reading half.

    @property
    def last_stream(self) -> int:
        return self._last

    @property
    def max_block_bytes(self) -> int:
        return 2 * self._limits.header_bytes

    def streams(self) -> Iterable[StreamExchange]:
        return self._streams.values()

    def stream(self, number: int) -> StreamExchange | None:
        found = self._streams.get(number)
        if found is None and (number > self._last or not number & 1):
            raise Fault(frames.PROTOCOL_ERROR, f"a frame on stream {number}, which is not open")
        return found

    def take_block(self, stream: int, block: bytes, ended: bool, data: bytes, at: int) -> int:
        if stream <= self._last or not stream & 1:
            self._trailers(stream, block, ended)
            return at
        if not self._settled:
            raise Fault(frames.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        head = self._reader.known(block) if not ended else None
        refusal: Refusal | None = None
        self._last = stream
        if head is None:
            try:
                head = self._read_head(block, ended)
            except Malformed as error:
                raise StreamFault(stream, frames.PROTOCOL_ERROR, str(error)) from None
            except Refusal as error:
                head, refusal = _REFUSED, error
        if stream > self._last_taken:
            return at
        if len(self._streams) >= MAX_STREAMS:
            raise StreamFault(stream, frames.REFUSED_STREAM, f"more than {MAX_STREAMS} streams")
        body: bytes | None = b"" if ended else None
        window = 0
        if not ended:
            found = self._look_ahead(stream, head.length, data, at)
            if found is not None:
                body, window, at = found
        exchange = StreamExchange(self, head, stream, body)
        exchange.window += window
        self._streams[stream] = exchange
        self._server.active += 1
        self.begun = self.seen
        if refusal is not None:
            self._refuse(exchange, refusal)
            return at
        try:
            self._server.app(exchange)
        except Exception as error:
            self._failed(exchange, error)
        return at

    def take_data(self, stream: int, payload: bytes, size: int, ended: bool) -> None:
        exchange = self.stream(stream)
        if exchange is None or exchange.received:
            if stream not in self._reset:
                raise StreamFault(stream, frames.STREAM_CLOSED, "DATA after the end")
            return
        exchange.unread += size
        if exchange.unread > STREAM_WINDOW:
            raise StreamFault(stream, frames.FLOW_CONTROL_ERROR, "DATA beyond the window")
        total = exchange.size + len(payload)
        length = exchange.length
        if length is not None:
            if total > length or (ended and total != length):
                raise StreamFault(stream, frames.PROTOCOL_ERROR, "a body of another length than announced")
        elif total > self._limits.body_bytes and exchange.bounded:
            text = f"The body exceeds the limit of {self._limits.body_bytes} bytes."
            self._refuse(exchange, Refusal(413, text))
            return
        try:
            if payload:
                exchange.feed(payload)
            if ended:
                self._body_ended(exchange)
            elif not exchange.closed:
                self.credit(exchange)
        except Exception as error:
            self._failed(exchange, error)

    def take_reset(self, stream: int, code: int) -> None:
        exchange = self.stream(stream)
        if not self._resets.spend(self.seen):
            raise Fault(frames.ENHANCE_YOUR_CALM, "too many streams given up")
        if exchange is None:
            return
        del self._streams[stream]
        self._server.active -= 1
        self.begun = self.seen
        self.forget(exchange)
        exchange.leave()

    def take_goaway(self, last_stream: int, code: int) -> None:
        """The client opens no more streams; those that are open go on."""
        self.spend()

    def stream_failed(self, fault: StreamFault) -> None:
        exchange = self._streams.pop(fault.stream, None)
        self._reset.append(fault.stream)
        self.send(frames.rst_stream(fault.stream, fault.code))
        if exchange is not None:
            self._server.active -= 1
            self.forget(exchange)
            exchange.leave()

    # Inside.

    def _look_ahead(self, stream: int, length: int | None, data: bytes, at: int) -> tuple[bytes, int, int] | None:
        """The whole body of a request, if the frames at `at` are that, with what the client adds to its window before
        it, as gRPC's library does, and where they end."""
        name = stream.to_bytes(4, "big")
        window = 0
        begin = at + 9
        if data[at : at + 5] == _WINDOW_UPDATE and data[at + 5 : begin] == name:
            window = int.from_bytes(data[begin : at + 13], "big")
            if not 0 < window <= LARGEST_WINDOW - self.initial_window:
                return None  # to be refused by the book
            at += 13
            begin = at + 9
        if data[at + 3 : at + 5] != _WHOLE or data[at + 5 : begin] != name:
            return None
        end = begin + int.from_bytes(data[at : at + 3], "big")
        size = end - begin
        if end > len(data) or size > self._largest_known or (length is not None and length != size):
            return None
        self._count_data(size, True)
        return data[begin:end], window, end

    def _read_head(self, block: bytes, ended: bool) -> RequestHead:
        """The head in a block; one that was read before on any connection is the same object, with its memo."""
        decoded = self._reader.read(block)
        if ended:
            return request_head(decoded, True, self._limits)
        key = tuple(decoded)
        head = self._heads.get(key)
        if head is None:
            head = request_head(decoded, False, self._limits)
            if len(self._heads) >= _MAX_HEADS:
                self._heads.clear()
            self._heads[key] = head
        self._reader.learn(block, head)
        return head

    def _trailers(self, stream: int, block: bytes, ended: bool) -> None:
        """A block on a stream that was opened before: it ends the body."""
        if not stream & 1:
            raise Fault(frames.PROTOCOL_ERROR, "a client's streams have odd numbers")
        decoded = self._reader.read(block)
        exchange = self._streams.get(stream)
        if exchange is None or exchange.received:
            if stream not in self._reset:
                raise Fault(frames.STREAM_CLOSED, f"HEADERS on stream {stream}, which has ended")
            return
        try:
            check_fields(decoded)
        except Malformed as error:
            raise StreamFault(stream, frames.PROTOCOL_ERROR, str(error)) from None
        if not ended or (exchange.length is not None and exchange.size != exchange.length):
            raise StreamFault(stream, frames.PROTOCOL_ERROR, "trailers that do not end the body")
        exchange.trailers = trailer_fields(decoded)
        try:
            self._body_ended(exchange)
        except Exception as error:
            self._failed(exchange, error)

    def _body_ended(self, exchange: StreamExchange) -> None:
        self.begun = self.seen
        exchange.feed_end()

    def _failed(self, exchange: StreamExchange, error: Exception) -> None:
        """The application raised: an error of the family is answered, any other is opaque to the client."""
        known = failures.opaque(error)
        if exchange.started and not exchange.closed:
            exchange.abort()
        else:
            exchange.reply(known.status, *self._server.refusal(known))

    def _refuse(self, exchange: StreamExchange, refusal: Refusal) -> None:
        exchange.refuse(refusal.status, *self._server.refusal(refusal))

    def _check_stream(self, exchange: StreamExchange, now: float) -> None:
        """A body that is waited for must come, and an answer must be read; a stream both ways may rest."""
        limits = self._limits
        taking = now - exchange.begun
        if taking <= limits.read_timeout:
            return
        if exchange.pending is not None:
            if exchange.closed or exchange.slow:
                self.stream_failed(StreamFault(exchange.id, frames.CANCEL, "the answer is not read"))
        elif exchange.collecting and not exchange.held:
            if exchange.size - exchange.size_before < taking * limits.body_rate:
                text = f"The request body comes at less than {limits.body_rate} bytes per second."
                self._refuse(exchange, Refusal(408, text))
            else:
                exchange.begun = now
                exchange.size_before = exchange.size

    def _check_paces(self) -> None:
        for exchange in list(self._streams.values()):
            exchange.check_pace()

    def _close(self) -> None:
        self.deaf = True
        if not self.transport.is_closing():
            self._out.append(frames.goaway(self._last, frames.NO_ERROR))
            self._flush()
            self.transport.close()

    def _readable(self) -> bool:
        """Whether the kernel holds something to read that the event loop has not come to yet."""
        if self.transport.is_closing():
            return True
        poller = select.poll()
        poller.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poller.poll(0))
