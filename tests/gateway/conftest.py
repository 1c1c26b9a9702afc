"""A gateway in this event loop, and small real upstreams behind it."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvloop

from colonnade.gateway.process import Gateway, Settings
from colonnade.gateway.revision import Revision
from colonnade.gateway.routes import Backend, Route, RouteTable, Target
from colonnade.net import Address, App, FetchedResponse, HttpServer, Upstream, mux

HOST = "iris-default.example.com"
REVISION = "iris-predictor-00001"
LABELS = f'namespace="default",service="iris",component="predictor",revision="{REVISION}"'  # of `iris`, in metrics
MUX = ".mux"  # ends the addresses of upstreams that are spoken to in frames


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, Any]:
    """The loop that the gateway runs on."""
    return {"uvloop": uvloop.new_event_loop}


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait until a condition holds; fail if it does not in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def bound() -> socket.socket:
    """A socket bound to a free port of the loopback."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


def targets(*backends: Backend) -> tuple[Target, ...]:
    """One revision that has these replicas."""
    return (Target(REVISION, backends=backends),)


def iris(*addresses: str, grpc: str | None = None, **changes: Any) -> Route:
    """The route of a ready service `default/iris` with these backends; see `serve` for how they are spoken to."""
    backends = tuple(
        Backend(f"iris-{i}", address, grpc, mux=address.endswith(MUX)) for i, address in enumerate(addresses)
    )
    route = Route("default", "iris", "iris", (HOST, "iris.default.example.com"), targets(*backends), ready=True)
    return msgspec.structs.replace(route, **changes)


class Running:
    """A gateway that runs, with a client for it."""

    def __init__(self, gateway: Gateway, admin: Path, routes_file: Path) -> None:
        self.gateway = gateway
        self.admin = admin
        self.routes_file = routes_file
        host, _, port = gateway.http_addresses[0].rpartition(":")
        self.host, self.port = host, int(port)
        self.client = Upstream(Address(host=host, port=self.port))
        self.admin_client = Upstream(Address(path=str(admin)))
        self._ending: asyncio.Task[None] | None = None

    async def end(self) -> None:
        """Drain the gateway and wait for its end."""
        self.gateway.drain()
        if self._ending is None:
            self._ending = asyncio.create_task(self.gateway.ended())
        await asyncio.shield(self._ending)
        self.client.close()
        self.admin_client.close()

    @property
    def revision(self) -> Revision:
        """The only one of the first service."""
        (service, *_) = self.gateway.fleet.services
        assert service.sole is not None
        return service.sole

    def route(self, *routes: Route, version: int = 1) -> None:
        self.gateway.fleet.swap(RouteTable(version, routes))

    async def fetch(
        self, method: str, path: str, body: bytes = b"", host: str = HOST, **headers: str
    ) -> FetchedResponse:
        fields = [(b"host", host.encode())] + [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]
        return await self.client.fetch(method, path, fields, body, timeout=10.0)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self.host, self.port)

    async def metrics(self) -> dict[str, float]:
        text = (await self.fetch("GET", "/metrics", host="x")).body.decode()
        pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts gateways; takes the fields of `Settings` that differ from the default."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))

        async def starter(**changes: Any) -> Running:
            grpc = bound() if changes.pop("grpc", False) else None
            settings = Settings(
                admin=str(folder / "a.sock"), routes=folder / "routes.json", http=(bound(),), grpc=grpc, **changes
            )
            gateway = Gateway(settings)
            await gateway.start()
            running = Running(gateway, folder / "a.sock", folder / "routes.json")

            stack.push_async_callback(running.end)
            return running

        yield starter


@pytest.fixture
async def running(start: Start) -> Running:
    """A gateway with default settings and a short grace."""
    return await start(grace=0.3)


Serve = Callable[[App], Awaitable[str]]


@pytest.fixture(params=["", MUX], ids=["http", "mux"])
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Serve]:
    """Starts upstreams on Unix sockets; gives their addresses. Who uses it is run with HTTP/1.1 and with frames."""
    async with serving(request.param) as starter:
        yield starter


@asynccontextmanager
async def serving(suffix: str) -> AsyncIterator[Serve]:
    """Starts upstreams on Unix sockets with this at the end of their addresses."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        counter = iter(range(1000))

        async def starter(app: App) -> str:
            path = f"{folder}/{next(counter)}{suffix}"
            server = HttpServer(app, dialects=[(mux.PREFACE, mux.MuxConnection)])
            await server.listen_unix(path)
            stack.push_async_callback(server.drain, 0.1)
            return f"unix:{path}"

        yield starter
