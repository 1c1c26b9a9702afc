"""One client connection: who is served next, what is written when, and when it ends.

The fast path is one call of `data_received`: the reader hands over an exchange, the application gets it, its body
follows, the application replies, and what was written goes out in one write when the bytes are used up. The rest of
this file is what keeps that safe: one exchange with the application at a time, reading stopped when many pipelined
ones wait, refusals, and the clock's verdict on clients that stall. How it ends is in `closing`.
"""

from __future__ import annotations

import asyncio
import logging
import select
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

from colonnade.net.closing import Closing
from colonnade.net.head import CLOSE, HeadWriter
from colonnade.net.head_parse import Refusal
from colonnade.net.http1_exchange import Http1Exchange
from colonnade.net.large_body import LargeBodies
from colonnade.net.reader import RequestReader
from colonnade.wire import failures

if TYPE_CHECKING:
    from colonnade.net.server import HttpServer

logger = logging.getLogger(__name__)

# What is read of pipelined requests while one is with the application. To read on is how its client is seen to leave.
_MAX_QUEUED = 16
_MAX_QUEUED_BYTES = 64 << 10


class Connection(Closing):
    """One client connection of an `HttpServer`.

    Attributes:
        peer: address of the client without its port; None on a Unix socket.
        secure: the connection is encrypted.
        closing_soon: the server drains; the next answer that begins is the last one.
    """

    __slots__ = (
        "_behind",
        "_current",
        "_offered",
        "_queue",
        "_queued_bytes",
        "_reader",
        "_server",
        "_unspoken",
        "closing_soon",
        "heads",
        "peer",
        "secure",
    )

    peer: str | None
    secure: bool

    def __init__(self, server: HttpServer) -> None:
        super().__init__(server.limits)
        self._server = server
        self.heads: HeadWriter = server.heads
        self.closing_soon = False
        self._reader = RequestReader(self, server.limits, server.known)
        self._current: Http1Exchange | None = None  # with the application
        self._queue: deque[Http1Exchange | Refusal] = deque()  # pipelined behind it
        self._queued_bytes = 0  # that came since requests wait
        self._offered: Http1Exchange | None = None  # may still be answered with another protocol
        self._behind: list[bytes] = []  # bytes behind that one, of whichever protocol
        self._unspoken: bytes | None = (
            b"" if server.dialects else None
        )  # first bytes, while they may be another protocol

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        name = transport.get_extra_info("peername")
        self.peer = name[0] if isinstance(name, tuple) else None
        self.secure = transport.get_extra_info("ssl_object") is not None
        self.closing_soon = self._server.draining
        self.begun = self.seen = monotonic()
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.deaf = True
        self._reader.stop()
        self._queue.clear()
        self._forget_offer()
        self._stop_discarding()
        self._server.lost(self)
        self.writing_paused = False
        self._wake()
        current, self._current = self._current, None
        if current is not None:
            self._server.active -= 1
            current.leave()

    def data_received(self, data: bytes) -> None:
        if self.deaf:
            self._discard(len(data))
            return
        self.seen = monotonic()
        if self._offered is not None:
            self._stash(data)
            return
        exchange = self._reader.known(data)
        if exchange is not None:  # a request in one piece, and nothing after it
            self.begun = self.seen
            if not exchange.keep_alive:
                self.deaf = True
            self.arrived(exchange)
            if self._queue:
                self._count_queued(len(data))
            return
        if self._unspoken is not None:
            if (greeting := self._greeted(data)) is None:
                return
            data = greeting
        self._corked = True
        try:
            self._reader.read(data)
        except Refusal as refusal:
            if not self.deaf:
                self._refuse(refusal)
        self._corked = False
        if self._out:
            self._flush()
        if self._queue:
            self._count_queued(len(data))
        receiving = self._reader.receiving
        if receiving is not None and (missing := receiving.missing()) is not None:
            self._reader.restart()
            LargeBodies(self, receiving, missing)

    def eof_received(self) -> bool:
        return False  # a client that closes its side has left: connection_lost follows

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._stalled = monotonic()
        self._buffered = self.transport.get_write_buffer_size()
        if self._current is not None:
            self._current.writable(False)

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._wake()
        if self._current is not None:
            self._current.writable(True)

    # Called by the reader, inside data_received.

    def arrived(self, exchange: Http1Exchange) -> None:
        """A head is complete."""
        if self._current is None and not self._queue:
            self._dispatch(exchange)
        else:
            self._queue.append(exchange)

    def body_part(self, exchange: Http1Exchange, part: bytes) -> None:
        """A part of its body came."""
        try:
            exchange.feed(part)
        except Exception as error:
            self._failed(exchange, error)
        if exchange.closed:
            self._discard(len(part))

    def body_end(self, exchange: Http1Exchange) -> None:
        """Its body is complete."""
        try:
            exchange.feed_end()
        except Exception as error:
            self._failed(exchange, error)
        self.begun = self.seen
        if self._discarding is not None:
            self._stop_discarding()
        if not exchange.keep_alive:
            self.deaf = True
        if self._current is None:
            self._next()

    def offered(self, exchange: Http1Exchange, behind: bytes) -> None:
        """Its head offers an upgrade, and the application has not declined it: what is `behind` waits for that."""
        self._offered = exchange
        if behind:
            self._stash(behind)

    # Called by the receiver of large bodies.

    @property
    def free(self) -> bool:
        """Whether the next request goes straight to the application."""
        return self._current is None and not self._queue and not self.deaf

    def announced(self, exchange: Http1Exchange) -> None:
        """A head came, and some of its body."""
        self.begun = self.seen = monotonic()
        self._reader.receiving = exchange
        self.arrived(exchange)

    def body_filled(self, exchange: Http1Exchange) -> None:
        """Its body is complete, in its buffer."""
        self._reader.receiving = None
        self.body_end(exchange)

    def body_passed(self, exchange: Http1Exchange, part: bytes) -> None:
        """The exchange takes the body that begins with `part` otherwise."""
        if not self.deaf:
            self._reader.expect(exchange.length or 0)
        if part:
            self.data_received(part)

    def body_unwanted(self, exchange: Http1Exchange, size: int, left: int) -> None:
        """The exchange was closed before its body was complete; `size` bytes of it came since, `left` are to come."""
        self._discard(size)
        if self.deaf:
            return
        if left:
            self._reader.expect(left)
        else:
            self.body_filled(exchange)

    # Called by exchanges.

    def answered(self, exchange: Http1Exchange) -> None:
        """The application has completed this answer."""
        if exchange is not self._current:
            return
        self._current = None
        self._server.active -= 1
        self.begun = self.seen if self._corked else monotonic()
        if exchange is self._offered:
            asyncio.get_running_loop().call_soon(self._read_on)
        if not exchange.received:
            self._hold(body=False)
            if not exchange.keep_alive or self.discards_too_much(exchange):
                self._linger()
            else:
                self._start_discarding()  # body_end goes on
        elif not exchange.keep_alive:
            if self.closing_soon:
                self._linger()  # our wish, not the client's: it may be sending the next request
            else:
                self._close()
        elif self._queue:
            if not self._corked:
                self._next()
        elif self._hold_queue or self._hold_body:
            self._hold(body=False, queue=False)

    def hand_over(self, exchange: Http1Exchange, make: Callable[[HttpServer], asyncio.Protocol]) -> None:
        """Leave the connection to another protocol after the answer of `exchange`."""
        if self._out:
            self._flush()
        self._current = None
        self._server.active -= 1
        self._server.lost(self)
        behind = b"".join(self._behind)
        self._shut()
        self._hold(body=False, queue=False)
        protocol = make(self._server)
        self.transport.set_protocol(protocol)
        protocol.connection_made(self.transport)
        if behind:
            protocol.data_received(behind)

    def discards_too_much(self, exchange: Http1Exchange) -> bool:
        """Whether more of its body is to come than would be read and dropped to keep the connection."""
        return (exchange.length or 0) - exchange.size > self._server.limits.discard_bytes

    def hold_body(self, yes: bool) -> None:
        """Stop or resume reading for back-pressure on a request's body."""
        if yes != self._hold_body:
            self._hold(body=yes)

    def abort(self) -> None:
        """Cut the connection; what was written and not sent is lost."""
        self.deaf = True
        self._reader.stop()
        self._out.clear()
        self.transport.abort()

    def guarded(self, callback: Callable[[], object]) -> None:
        """Run an application's callback that nobody up the stack could answer for."""
        try:
            callback()
        except Exception:
            logger.exception("a callback of the application failed")

    # Called by the server.

    @property
    def idle(self) -> bool:
        """Whether nothing is asked, half asked or unanswered here."""
        reader = self._reader
        waiting = self._current is not None or self._queue or self._offered is not None
        return not waiting and not reader.in_head and reader.receiving is None

    def close_idle(self, since: float) -> None:
        """Close if the connection has been idle since then (monotonic seconds) and no request waits in the kernel."""
        if self.begun <= since and self.idle and not self.deaf and not self._readable():
            self._close()

    def check(self, now: float) -> None:
        """Cut what has stalled for too long; called at each sweep."""
        limits = self._server.limits
        reader = self._reader
        if self.writing_paused:
            size = self.transport.get_write_buffer_size()
            if size != self._buffered:
                self._buffered = size
                self._stalled = now
                self._cut_at = self._cut_at and now + limits.read_timeout
            elif now - self._stalled > limits.read_timeout:
                self.abort()
        elif self._cut_at:
            if now > self._cut_at:
                self.abort()
        elif self._hold_body or self._hold_queue:
            return  # it is this side that does not read
        elif reader.receiving is not None and self._queue:
            return  # the last one that waits: its client may wait, too, for `100 Continue`
        elif reader.in_head:
            if now - self.begun > limits.read_timeout:
                self._refuse(Refusal(408, f"The request head did not arrive within {limits.read_timeout:g} s."))
        elif reader.receiving is not None:
            if self._body_stalled(reader.receiving, now):
                self._refuse(Refusal(408, f"The request body comes at less than {limits.body_rate} bytes per second."))
        elif self._current is None:
            self.close_idle(now - limits.idle_timeout)

    # Inside.

    def _greeted(self, data: bytes) -> bytes | None:
        """What is HTTP/1.1 of the connection's first bytes; None while that is open, or another protocol took over."""
        first, self._unspoken = (self._unspoken or b"") + data, None
        for preface, dialect in self._server.dialects:
            if first.startswith(preface):
                self._server.lost(self)
                self.deaf = True
                protocol = dialect(self._server)
                self.transport.set_protocol(protocol)
                protocol.connection_made(self.transport)
                protocol.data_received(first)
                return None
            if preface.startswith(first):
                self._unspoken = first
        return first if self._unspoken is None else None

    def _body_stalled(self, exchange: Http1Exchange, now: float) -> bool:
        limits = self._server.limits
        if now - self.seen > limits.read_timeout:
            return True
        taking = now - self.begun
        if taking <= limits.read_timeout:
            return False
        if exchange.size - exchange.size_before < taking * limits.body_rate:
            return True
        self.begun = now
        exchange.size_before = exchange.size
        return False

    def _readable(self) -> bool:
        """Whether the kernel holds something to read, a request or an end, that the event loop has not come to yet."""
        if self.transport.is_closing():
            return True
        poller = select.poll()
        poller.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poller.poll(0))

    def _dispatch(self, exchange: Http1Exchange) -> None:
        self._current = exchange
        self._server.active += 1
        try:
            self._server.app(exchange)
        except Exception as error:
            self._failed(exchange, error)

    def _next(self) -> None:
        """Hand over waiting exchanges until one stays with the application; what they write goes out together."""
        corked, self._corked = self._corked, True
        while self._queue and self._current is None:
            waiting = self._queue.popleft()
            if isinstance(waiting, Refusal):
                self._answer_refusal(waiting)
            else:
                self.begun = self.seen = monotonic()
                waiting.size_before = waiting.size
                self._dispatch(waiting)
        self._corked = corked
        if self._out and not corked:
            self._flush()
        if not self._queue:
            self._queued_bytes = 0
            if self._hold_queue:
                self._hold(queue=False)

    def _count_queued(self, size: int) -> None:
        """Stop reading when enough waits."""
        self._queued_bytes += size
        if self._queued_bytes >= _MAX_QUEUED_BYTES or len(self._queue) >= _MAX_QUEUED:
            self._hold(queue=True)

    def _stash(self, data: bytes) -> None:
        """Keep what came behind an offer that is not decided yet."""
        self._behind.append(data)
        self._count_queued(len(data))

    def _read_on(self) -> None:
        """The offer was declined: what came behind it is HTTP/1.1."""
        behind = b"".join(self._behind)
        self._forget_offer()
        if self.deaf:
            return
        self._queued_bytes = 0
        if self._hold_queue:
            self._hold(queue=False)
        if behind:
            self.data_received(behind)

    def _forget_offer(self) -> None:
        self._offered = None
        self._behind.clear()

    def _failed(self, exchange: Http1Exchange, error: Exception) -> None:
        """The application raised: an error of the family is answered, any other is opaque to the client."""
        known = failures.opaque(error)
        if exchange.started and not exchange.closed:
            self.abort()
        else:
            body, content_type = self._server.refusal(known)
            exchange.reply(known.status, body, content_type)

    def _refuse(self, refusal: Refusal) -> None:
        """End the conversation: answer what is at fault, after the answers before it, and close."""
        exchange = self._reader.receiving
        self._reader.stop()
        self.deaf = True
        if exchange is not None and exchange.closed:
            self._linger()  # answered before its body went wrong
        elif exchange is None or exchange is not self._current:
            if exchange is not None:
                self._queue.pop()
            self._queue.append(refusal)
            if self._current is None:
                self._next()
        elif exchange.started:
            self.abort()
        else:
            self._current = None
            self._server.active -= 1
            exchange.leave()
            self._answer_refusal(refusal)

    def _answer_refusal(self, refusal: Refusal) -> None:
        body, content_type = self._server.refusal(refusal)
        prefix = self.heads.prefix(refusal.status, content_type)
        self.send(b"%bcontent-length: %d\r\n%b\r\n%b" % (prefix, len(body), CLOSE, body))
        self._linger()

    # Called by `Closing`.

    def _drop_waiting(self) -> None:
        self._reader.stop()
        self._queue.clear()
        self._forget_offer()

    def _resumed(self) -> None:
        self.begun = self.seen = monotonic()
        receiving = self._reader.receiving
        if receiving is not None:
            receiving.size_before = receiving.size
