"""Accepts gRPC connections on a socket of ours and hands them to the gRPC server in this process.

The gRPC library binds its ports itself: it can neither take a listening socket that survives the gateway (so that a
restart refuses no connection), nor show the `:authority` by which services are addressed, nor, behind a Unix socket,
the client's address. So the public socket is accepted here and each connection is copied to the library's private Unix
socket, with the two missing facts added to each request (`frames`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import cast

from colonnade.gateway.frames import Annotator, BlockError
from colonnade.gateway.grpc_proxy import AUTHORITY, CLIENT

log = logging.getLogger(__name__)


class _Inner(asyncio.Protocol):
    """The connection to the gRPC server: what it says goes to the client unchanged."""

    def __init__(self, outer: _Outer) -> None:
        self._outer = outer
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._outer.transport.is_closing():
            self._outer.transport.write(data)

    def pause_writing(self) -> None:
        self._outer.transport.pause_reading()

    def resume_writing(self) -> None:
        self._outer.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._outer.transport.close()


class _Outer(asyncio.Protocol):
    """A client's connection."""

    def __init__(self, front: GrpcFront) -> None:
        self._front = front
        self._annotator: Annotator
        self._inner: _Inner | None = None
        self._held: list[bytes] = []  # what came before the inner connection stood
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        client = peer[0].encode() if isinstance(peer, tuple) else b""
        self._annotator = Annotator(AUTHORITY.encode(), ((CLIENT.encode(), client),) if client else ())
        self._front.own(asyncio.get_running_loop().create_task(self._connect()))

    async def _connect(self) -> None:
        try:
            _, self._inner = await asyncio.get_running_loop().create_unix_connection(
                lambda: _Inner(self), self._front.path
            )
        except OSError as error:
            log.error("the gRPC server cannot be reached", extra={"error": str(error)})
            self.transport.abort()
            return
        if self.transport.is_closing():
            self._inner.transport.close()
        else:
            for data in self._held:
                self.data_received(data)
            self._held.clear()
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._inner is None:
            self._held.append(data)
            self.transport.pause_reading()
            return
        try:
            out = self._annotator.feed(data)
        except BlockError:
            self.transport.abort()
            return
        if out and not self._inner.transport.is_closing():
            self._inner.transport.write(out)

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._inner is not None:
            self._inner.transport.close()


class GrpcFront:
    """Listens on one socket.

    Args:
        path: the Unix socket of the gRPC server.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def own(self, task: asyncio.Task[None]) -> None:
        """Keep a connection's task until it ends."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def listen(self, sock: socket.socket) -> None:
        """Accept connections on a bound socket, which stays open: others may have it, too."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _Outer(self), sock=sock.dup(), backlog=1024
        )

    def stop_accepting(self) -> None:
        """Take no new connection; those that are open go on until the gRPC server ends them."""
        if self._server is not None:
            self._server.close()
