"""Listening: sockets in, connections out, one clock for all of them, and an end that loses nothing.

A timer per request would cost more than the request. One sweep per server looks at every connection instead, so a
timeout fires up to an eighth late, and an idle server keeps no timer at all.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl as tls
import stat
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Protocol

from colonnade.errors import Error
from colonnade.net.connection import Connection
from colonnade.net.exchange import App
from colonnade.net.head import HeadWriter
from colonnade.net.head_parse import RequestHead
from colonnade.net.intake import Intake
from colonnade.net.known_heads import KnownHeads
from colonnade.net.limits import Limits
from colonnade.wire import failures

_BACKLOG = 1024
_DRAIN_TICK = 0.01


class Link(Protocol):
    """What a server needs of a connection, whatever protocol it speaks. See `Connection`."""

    closing_soon: bool

    def close_idle(self, since: float) -> None: ...

    def check(self, now: float) -> None: ...

    def abort(self) -> None: ...


class Dialect(Protocol):
    """Makes the protocol of a connection, which is a `Link` and tells the server `opened` and `lost`."""

    def __call__(self, server: HttpServer) -> asyncio.Protocol: ...


def error_body(error: Error) -> tuple[bytes, bytes]:
    """Body and content type of an answer that the transport gives itself: `{"error": message}`."""
    return failures.v1_body(error)[1], b"application/json"


class HttpServer:
    """An HTTP/1.1 server for one application on any number of listening sockets.

    With `ssl` every connection is TLS; with `ssl_optional` too, a port takes TLS and plain HTTP, told apart by the
    first byte. Must be used from one running event loop.

    Args:
        app: called with each request.
        limits: bounds of each connection.
        ssl: settings for TLS.
        ssl_optional: plain HTTP is taken as well.
        refusal: body and content type of the answers that the server gives itself: to requests that are malformed or
            over a limit, and for an application that raises.
        dialects: other protocols on the same ports: the bytes that a client of each sends first, and what makes the
            protocol of such a connection.

    Attributes:
        active: requests that are with the application now.
        draining: the server ends; every answer is its connection's last.

    Example:
        server = HttpServer(lambda exchange: exchange.reply(200, b"{}"))
        port = await server.listen_tcp("127.0.0.1", 0)
        ...
        await server.drain(30.0)
    """

    def __init__(
        self,
        app: App,
        *,
        limits: Limits | None = None,
        ssl: tls.SSLContext | None = None,
        ssl_optional: bool = False,
        refusal: Callable[[Error], tuple[bytes, bytes]] = error_body,
        dialects: Sequence[tuple[bytes, Dialect]] = (),
    ) -> None:
        if ssl_optional and ssl is None:
            raise ValueError("ssl_optional needs ssl")
        self.app = app
        self.limits = limits or Limits()
        self.refusal = refusal
        self.dialects = tuple(dialects)
        self.heads = HeadWriter()
        self.known: KnownHeads[RequestHead] = KnownHeads()
        self.active = 0
        self.draining = False
        self._ssl = ssl
        self._ssl_optional = ssl_optional
        self._connections: set[Link] = set()
        self._listeners: list[tuple[socket.socket, asyncio.Server | None]] = []  # without one the intake accepts
        self._intake: Intake | None = None
        self._sweep: asyncio.TimerHandle | None = None

    @property
    def connections(self) -> int:
        """Open connections, idle ones included."""
        return len(self._connections)

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets, to be handed to another process."""
        return [sock for sock, _ in self._listeners]

    async def listen_tcp(self, host: str, port: int) -> int:
        """Listen on a TCP port (0 picks a free one) and return its number.

        Raises:
            OSError: the address is taken or not ours.
        """
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
            await self.listen_socket(sock)
        except BaseException:
            sock.close()
            raise
        return int(sock.getsockname()[1])

    async def listen_unix(self, path: str) -> None:
        """Listen on a Unix socket. A socket file that nobody listens on any more is replaced.

        Raises:
            OSError: the path is too long, or something else lies there.
        """
        try:
            if stat.S_ISSOCK(os.stat(path).st_mode) and not _listened(path):
                os.unlink(path)
        except FileNotFoundError:
            pass
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.bind(path)
            await self.listen_socket(sock)
        except BaseException:
            sock.close()
            raise

    async def listen_socket(self, sock: socket.socket) -> None:
        """Accept on a bound socket, which the server owns from here on."""
        loop = asyncio.get_running_loop()
        sock.setblocking(False)
        sock.listen(_BACKLOG)
        if self._intake is None:
            self._intake = Intake(self._connection, self._ssl, self._ssl_optional, self.limits.read_timeout)
        listener: asyncio.Server | None = None
        if self._ssl is not None:
            self._intake.watch(sock)
        else:
            # The event loop accepts faster. It gets a duplicate: `drain` accepts once more after closing that.
            create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
            listener = await create(self._connection, sock=sock.dup(), backlog=_BACKLOG)
        self._listeners.append((sock, listener))

    async def drain(self, grace: float) -> None:
        """Stop accepting, answer what is asked, then cut what is left after `grace` seconds.

        Each answer that begins from now on says `Connection: close` and is its connection's last. Connections that wait
        in the accept queue are taken and answered, too: their clients believe to be connected. A client that is
        connected and has not been told may be sending just now, so unused connections stay open for
        `Limits.drain_linger` seconds, at most half of the grace period.
        """
        self.draining = True
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        linger = min(self.limits.drain_linger, grace / 2)
        linger_until = monotonic() + linger
        for connection in self._connections:
            connection.closing_soon = True
        await self._stop_accepting()
        intake = self._intake
        try:
            async with asyncio.timeout_at(deadline):
                while self._connections or (intake is not None and intake.busy):
                    now = monotonic()
                    if now >= linger_until:
                        if intake is not None:
                            intake.drop_silent()
                        for connection in list(self._connections):
                            connection.close_idle(now - linger)
                    await asyncio.sleep(_DRAIN_TICK)
        except TimeoutError:
            if intake is not None:
                intake.close()
            for connection in list(self._connections):
                connection.abort()
            await asyncio.sleep(0)
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    async def _stop_accepting(self) -> None:
        """Close the listening sockets and take what waits at them. Other holders of the same sockets may go on."""
        intake, listeners = self._intake, self._listeners
        self._listeners = []
        if intake is None:
            return
        loop = asyncio.get_running_loop()
        for _, listener in listeners:
            if listener is not None:
                for accepting in listener.sockets:
                    loop.remove_reader(accepting.fileno())
        for _ in range(3):  # asyncio's own loop would lose what it has accepted and not passed on yet
            await asyncio.sleep(0)
        for sock, listener in listeners:
            if listener is not None:
                listener.close()
            intake.unwatch(sock)
            intake.take_waiting(sock)  # right before the close, which resets what has come since
            sock.close()

    # Called by connections.

    def opened(self, connection: Link) -> None:
        """Take up a connection."""
        self._connections.add(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(self.limits.sweep_period, self._check_all)

    def lost(self, connection: Link) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)

    def _connection(self) -> Connection:
        return Connection(self)

    def _check_all(self) -> None:
        self._sweep = None
        if not self._connections:
            return
        now = monotonic()
        for connection in list(self._connections):
            connection.check(now)
        self._sweep = asyncio.get_running_loop().call_later(self.limits.sweep_period, self._check_all)


def _listened(path: str) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(path) in (0, errno.EAGAIN)
