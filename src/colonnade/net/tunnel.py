"""Two connections joined: after an upgrade, bytes pass both ways unread, as WebSocket needs it through a gateway.

A side that reads too slowly stops the other one from being read; a side that ends ends the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

import httptools

from colonnade import defaults
from colonnade.errors import BadUpstream, Error, Unavailable
from colonnade.net.address import Address
from colonnade.net.head import Header

if TYPE_CHECKING:
    from colonnade.net.server import HttpServer


Answered = Callable[[int, list[Header], bytes, Error | None], None]


class TunnelEnd(asyncio.Protocol):
    """The client's end of a tunnel: a `Link` of the server for as long as it lasts.

    Args:
        server: whose connection this was.
        other: the connection to join with.
        ended: called once when the tunnel has ended.
    """

    closing_soon = False  # what runs in a tunnel cannot be told; a drain cuts it at its end

    def __init__(self, server: HttpServer, other: UpgradeCall, ended: Callable[[], None]) -> None:
        self._server = server
        self._other = other
        self._ended = ended
        self._stalled = 0.0  # since when the client has taken nothing; 0 while it does
        self._buffered = 0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._server.opened(self)
        self._other.join(self.transport)

    def data_received(self, data: bytes) -> None:
        self._other.transport.write(data)

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._stalled = monotonic()
        self._buffered = self.transport.get_write_buffer_size()
        self._other.transport.pause_reading()

    def resume_writing(self) -> None:
        self._stalled = 0.0
        if not self._other.transport.is_closing():
            self._other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.lost(self)
        self._other.transport.close()
        self._ended()

    def close_idle(self, since: float) -> None:
        """Nothing: whether a tunnel is in use cannot be told."""

    def check(self, now: float) -> None:
        """Cut a client that does not read; called at each sweep."""
        if not self._stalled:
            return
        size = self.transport.get_write_buffer_size()
        if size != self._buffered:
            self._buffered = size
            self._stalled = now
        elif now - self._stalled > self._server.limits.read_timeout:
            self.abort()

    def abort(self) -> None:
        """Cut both ends."""
        self.transport.abort()


class UpgradeCall(asyncio.Protocol):
    """The server's end: asks for an upgrade on a connection of its own, and is joined with the client if it is granted.

    Args:
        head: of the request, whole.
        answered: called once with status, fields and body of the answer, 101 if the upgrade was granted, or with the
            error.
    """

    def __init__(self, head: bytes, answered: Answered) -> None:
        self._head = head
        self._answered: Answered | None = answered
        self._parser = httptools.HttpResponseParser(self)
        self._fields: list[Header] = []
        self._size = 0
        self._status = 0
        self._body: list[bytes] = []  # of a refusal
        self._early = b""  # what came behind the head
        self._client: asyncio.Transport | None = None
        self._transport: asyncio.Transport | None = None  # once it is connected

    @property
    def transport(self) -> asyncio.Transport:
        """Of a connection that has been made."""
        assert self._transport is not None
        return self._transport

    async def connect(self, address: Address) -> None:
        """Ask a server.

        Raises:
            Unavailable: there is none; nothing was sent.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(defaults.CONNECT_TIMEOUT):
                if address.path is not None:
                    await loop.create_unix_connection(lambda: self, address.path)
                else:
                    await loop.create_connection(lambda: self, address.host or "", address.port or 0)
        except (OSError, TimeoutError):
            raise Unavailable("The upstream server cannot be reached.") from None

    def join(self, client: asyncio.Transport) -> None:
        """Pass on bytes from and to the client from now on."""
        self._client = client
        if self._early:
            client.write(self._early)
            self._early = b""
        self.transport.resume_reading()

    def close(self) -> None:
        """Give up."""
        self._answered = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._head)

    def data_received(self, data: bytes) -> None:
        if self._client is not None:
            self._client.write(data)
            return
        self._size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._early = data[upgrade.args[0] :]
            self.transport.pause_reading()  # until it is joined
            self._tell(self._status, None)
            return
        except httptools.HttpParserError:
            self._fail("The upstream server sent a malformed answer.")
            return
        if self._size > defaults.MAX_HEADER_BYTES:
            self._fail("The upstream server sent an oversized answer.")

    def pause_writing(self) -> None:
        if self._client is not None:
            self._client.pause_reading()

    def resume_writing(self) -> None:
        if self._client is not None and not self._client.is_closing():
            self._client.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._client is not None:
            self._client.close()
        elif self._status >= 200:  # a refusal whose body ends with the connection
            self._tell(self._status, None)
        else:
            self._tell(0, BadUpstream("The upstream server closed the connection without an answer."))

    # Called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        self._body.append(part)

    def on_message_complete(self) -> None:
        if self._status >= 200:
            self._tell(self._status, None)
            self.transport.close()

    def _fail(self, message: str) -> None:
        self._tell(0, BadUpstream(message))
        self.transport.abort()

    def _tell(self, status: int, error: Error | None) -> None:
        answered, self._answered = self._answered, None
        if answered is not None:
            answered(status, self._fields, b"".join(self._body), error)
