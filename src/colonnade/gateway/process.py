"""One gateway put together: public HTTP and gRPC, the admin socket, and the order in which they start and end."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

from colonnade import defaults
from colonnade.gateway import admin
from colonnade.gateway.access import Access
from colonnade.gateway.fleet import Fleet
from colonnade.gateway.grpc_proxy import GrpcProxy
from colonnade.gateway.ingress import Ingress
from colonnade.gateway.loopback import Loopback
from colonnade.gateway.metrics import GatewayMetrics
from colonnade.gateway.payloads.channel import Channel
from colonnade.gateway.proxy import Proxy
from colonnade.gateway.scrape import Scrape
from colonnade.gateway.slots import Slots
from colonnade.gateway.stats import Stats
from colonnade.net import App, HttpServer, Limits, asynchronous, http2
from colonnade.net.address import authority

_LAST_CHANCE = 0.9  # of the grace period; then requests that still wait for a replica are told so
_LOOPBACK_GRACE = 0.1  # seconds for what came by the ports of routes, once all else has ended


@dataclass(frozen=True)
class Settings:
    """What a gateway is started with.

    Attributes:
        admin: path of the admin socket; the sockets are offered on `<admin>.fds`.
        http, grpc: bound sockets to accept on, all protocols on each; the gateway owns them from here on.
        tls: settings for TLS on those; None for plain connections.
        token: the gateway's own bearer token; needed by every request if `require_token`.
        max_message: bytes of one gRPC message of a request.
        grace: seconds from the beginning of a drain until what is still in flight is cut.
        siblings: admin sockets of the other gateways on the same ports, whose numbers `/metrics` adds to its own.
    """

    admin: str
    routes: Path
    http: tuple[socket.socket, ...]
    grpc: socket.socket | None = None
    tls: ssl.SSLContext | None = None
    token: str | None = None
    require_token: bool = False
    max_body: int = defaults.MAX_BODY_BYTES
    max_message: int = defaults.MAX_GRPC_MESSAGE_BYTES
    max_in_flight: int = defaults.MAX_IN_FLIGHT
    grace: float = defaults.GRACE_PERIOD
    siblings: tuple[str, ...] = ()


class Gateway:
    """A gateway on the running event loop. `start`, then `ended`; `drain` begins the end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._metrics = GatewayMetrics()
        processes = 1 + len(settings.siblings)
        slots = Slots(settings.routes.with_suffix(".slots"), processes) if settings.siblings else None
        self._payloads = Channel(settings.routes.with_name("payloads"))
        self.fleet = Fleet(self._metrics, settings.max_in_flight, slots, self._payloads)
        self._access = Access(settings.token, required=settings.require_token)
        self._scrape = Scrape(self._metrics, settings.siblings)
        self._proxy = Proxy(self.fleet, self._access, self._metrics, self._scrape)
        self._grpc = GrpcProxy(self.fleet, self._access, self._metrics, self._proxy.request_id, settings.max_message)
        ingress = Ingress(self._proxy, self._grpc)
        self._http = self._server(ingress, settings.tls)
        self._loopback = Loopback(ingress, self._server)
        self.fleet.on_swap = self._loopback.follow
        self._stats = Stats(self.fleet)
        doors = admin.Admin(self.fleet, self._metrics, self._stats, settings.routes, self._health, self.drain)
        self._admin = HttpServer(asynchronous(doors))
        self._offer = admin.SocketOffer(f"{settings.admin}.fds", self._offered)
        self._draining = asyncio.Event()
        self._ports: asyncio.Task[None] | None = None
        self.http_addresses = [_address(sock) for sock in settings.http]
        self.grpc_address = None if settings.grpc is None else _address(settings.grpc)

    async def start(self) -> None:
        """Load the kept routes and listen.

        Raises:
            OSError: a socket cannot be opened.
        """
        settings = self._settings
        self.fleet.swap(admin.load(settings.routes))
        self._ports = asyncio.create_task(self._loopback.run())
        for _, sock in self._offered():
            await self._http.listen_socket(sock)
        self._offer.open()
        await self._admin.listen_unix(settings.admin)

    def drain(self) -> None:
        """Begin the end: readiness is denied and nothing new is accepted."""
        self._proxy.draining = True
        self._grpc.drain()
        self._draining.set()

    async def ended(self) -> None:
        """Wait for `drain`, then until everything in flight has ended or the grace period is over."""
        await self._draining.wait()
        grace = self._settings.grace
        self._offer.close()
        asyncio.get_running_loop().call_later(_LAST_CHANCE * grace, self.fleet.give_up)
        await self._http.drain(grace)
        if self._ports is not None:
            self._ports.cancel()
        await self._loopback.close(_LOOPBACK_GRACE)  # what came by the public ports needed them until now
        await self._payloads.end(defaults.LOG_FLUSH)
        self.fleet.close()
        self._scrape.close()
        self._proxy.graphs.conditions.close()
        await self._admin.drain(1.0)

    def _server(self, app: App, context: ssl.SSLContext | None = None) -> HttpServer:
        """A server of all protocols for clients."""
        limits = Limits(body_bytes=self._settings.max_body)
        return HttpServer(app, limits=limits, ssl=context, dialects=[(http2.PREFACE, http2.Http2())])

    def _offered(self) -> list[tuple[str, socket.socket]]:
        settings = self._settings
        sockets = [("http", sock) for sock in settings.http]
        return sockets if settings.grpc is None else [*sockets, ("grpc", settings.grpc)]

    def _health(self) -> admin.Health:
        return admin.Health(
            pid=os.getpid(),
            version=self.fleet.table.version,
            active=self._proxy.in_flight + self._grpc.in_flight,
            draining=self._draining.is_set(),
            http=self.http_addresses,
            grpc=self.grpc_address,
        )


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return authority(host, port)
