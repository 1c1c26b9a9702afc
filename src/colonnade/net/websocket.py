"""A connection that has become a WebSocket (RFC 6455): messages of text in and out. The frames are a library's.

What it owes everyone stays here: messages that are bounded, pings answered, a peer that is gone or does not read cut, a
close handshake. Compression is not taken up: a small frame could inflate to any size.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Protocol, cast

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

if TYPE_CHECKING:
    from colonnade.net.server import HttpServer

logger = logging.getLogger(__name__)

GOING_AWAY = int(CloseReason.GOING_AWAY)


class Listener(Protocol):
    """What a socket's messages are for."""

    def message(self, text: bytes) -> None:
        """A message of text, in UTF-8."""

    def keeps_up(self, yes: bool) -> None:
        """Whether the peer reads what it is sent."""

    def stop(self) -> None:
        """The server ends: finish what has begun, then `close` the socket."""

    def leave(self) -> None:
        """Nothing comes any more and nothing can be sent. Called once."""


class WebSocket(asyncio.Protocol):
    """The server's end of a WebSocket: a `Link` of the server for as long as it lasts.

    Args:
        server: whose connection this was.
        limit: largest message in bytes.
    """

    def __init__(self, server: HttpServer, limit: int) -> None:
        self._server = server
        self._limit = limit
        self._listener: Listener | None = None
        self._frames = Connection(ConnectionType.SERVER)
        self._message = bytearray()  # as far as it has come
        self._held = False
        self._seen = monotonic()  # when bytes came
        self._pinged = 0.0  # when a peer that is silent was asked for a sign; 0 if it has given one
        self._closed = 0.0  # when the closing handshake began
        self._stalled = 0.0  # since when the peer has taken nothing; 0 while it does
        self._buffered = 0
        self._closing_soon = False
        self._waiters: list[asyncio.Future[None]] = []
        self.transport: asyncio.Transport

    def listen(self, listener: Listener) -> None:
        """Give messages to this listener from now on; before any has come."""
        self._listener = listener

    # Called by the application.

    def send(self, text: bytes) -> None:
        """Send a message. Without effect when the socket is closing."""
        self._send(TextMessage(text.decode()))

    def close(self, code: int, reason: str) -> None:
        """Begin the end: what was sent before still arrives."""
        if self._frames.state is ConnectionState.OPEN:
            self._closed = monotonic()
            self._send(CloseConnection(code, reason))

    def hold(self, yes: bool) -> None:
        """Read no more for now, or go on; what was read already may still come."""
        self._held = yes
        if self.transport.is_closing():
            return
        if yes:
            self.transport.pause_reading()
        else:
            self._seen = monotonic()
            self.transport.resume_reading()

    async def drain(self) -> None:
        """Wait while the peer reads more slowly than it is sent to. Returns at once when it is gone."""
        if self._stalled and not self.transport.is_closing():
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.opened(self)
        self.closing_soon = self._server.draining

    def data_received(self, data: bytes) -> None:
        self._seen = monotonic()
        self._pinged = 0.0
        try:
            self._frames.receive_data(data)
            for event in self._frames.events():
                self._take(event)
        except Exception:
            logger.exception("a message could not be taken")
            self.close(CloseReason.INTERNAL_ERROR, "internal error; see the server's log")

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._stalled = monotonic()
        self._buffered = self.transport.get_write_buffer_size()
        if self._listener is not None:
            self._listener.keeps_up(False)

    def resume_writing(self) -> None:
        self._stalled = 0.0
        self._wake()
        if self._listener is not None:
            self._listener.keeps_up(True)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.lost(self)
        self._stalled = 0.0
        self._wake()
        self._left()

    # Called by the server.

    @property
    def closing_soon(self) -> bool:
        """The server drains."""
        return self._closing_soon

    @closing_soon.setter
    def closing_soon(self, yes: bool) -> None:
        if yes and not self._closing_soon and self._listener is not None:
            self._listener.stop()
        self._closing_soon = yes

    def close_idle(self, since: float) -> None:
        """End the connection to a peer that was told of the end and has not said its own word by then."""
        if self._closed and self._closed <= since:
            self.transport.close()

    def check(self, now: float) -> None:
        """Cut a peer that does not read; ask a silent one for a sign of life, and cut it without. At each sweep."""
        limits = self._server.limits
        if self._stalled:
            size = self.transport.get_write_buffer_size()
            if size != self._buffered:
                self._buffered = size
                self._stalled = now
            elif now - self._stalled > limits.read_timeout:
                self.abort()
        elif self._closed:
            if now - self._closed > limits.read_timeout:
                self.abort()
        elif self._held:
            return  # it is this side that does not read
        elif self._pinged:
            if now - self._pinged > limits.read_timeout:
                self.abort()
        elif now - self._seen > limits.idle_timeout:
            self._pinged = now
            self._send(Ping())

    def abort(self) -> None:
        """Cut the connection; what was written and not sent is lost."""
        self.transport.abort()

    # Inside.

    def _take(self, event: Event) -> None:
        if isinstance(event, TextMessage):
            self._message += event.data.encode()
            if self._frames.state is not ConnectionState.OPEN:
                self._message.clear()
            elif len(self._message) > self._limit:
                self._message.clear()
                self.close(CloseReason.MESSAGE_TOO_BIG, f"a message may have {self._limit} bytes")
            elif event.message_finished:
                message, self._message = bytes(self._message), bytearray()
                if self._listener is not None:
                    self._listener.message(message)
        elif isinstance(event, BytesMessage):
            self.close(CloseReason.UNSUPPORTED_DATA, "send each request as a message of text")
        elif isinstance(event, Ping):
            self._send(event.response())
        elif isinstance(event, CloseConnection):
            if self._frames.state is ConnectionState.REMOTE_CLOSING:
                self.transport.write(self._frames.send(event.response()))
            elif self._frames.state is ConnectionState.OPEN:  # it broke the protocol, and the library says how
                self.transport.write(self._frames.send(event))
            self._left()
            self.transport.close()

    def _send(self, event: Event) -> None:
        if self._frames.state is ConnectionState.OPEN and not self.transport.is_closing():
            self.transport.write(self._frames.send(event))

    def _left(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.leave()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
