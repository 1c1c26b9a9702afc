"""The gateway's gRPC side as one thing: the library's server on a private socket, and the public one in front of it."""

from __future__ import annotations

import socket

from grpc import aio

from colonnade.gateway.access import Access
from colonnade.gateway.fleet import Fleet
from colonnade.gateway.grpc_front import GrpcFront
from colonnade.gateway.grpc_proxy import CHANNEL_OPTIONS, GrpcProxy, serve_health_and_reflection
from colonnade.gateway.metrics import GatewayMetrics


class GrpcServer:
    """Forwards gRPC from one public socket.

    Args:
        path: where the private Unix socket may be made.
        max_in_flight: calls under way at one time; more are RESOURCE_EXHAUSTED.
    """

    def __init__(self, fleet: Fleet, access: Access, metrics: GatewayMetrics, path: str, max_in_flight: int) -> None:
        self._proxy = GrpcProxy(fleet, access, metrics)
        self._path = path
        self._front = GrpcFront(path)
        self._server: aio.Server = aio.server(options=CHANNEL_OPTIONS, maximum_concurrent_rpcs=max_in_flight)

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return self._proxy.in_flight

    async def listen(self, sock: socket.socket) -> None:
        """Accept on a bound TCP socket.

        Raises:
            OSError: the private socket cannot be made.
        """
        self._deny_health = await serve_health_and_reflection(self._server)
        self._server.add_generic_rpc_handlers((self._proxy,))
        self._server.add_insecure_port(f"unix:{self._path}")
        await self._server.start()
        await self._front.listen(sock)

    async def drain(self, grace: float) -> None:
        """Take no new connection, let calls end, and cut what is left after `grace` seconds."""
        self._front.stop_accepting()
        await self._deny_health()
        await self._server.stop(grace)
        await self._proxy.close()
