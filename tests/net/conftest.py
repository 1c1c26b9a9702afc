"""Each test of this room runs on uvloop, which the product uses, and on plain asyncio, which users' scripts may use."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from colonnade.net import App, HttpServer
from colonnade.security import certificates

Serve = Callable[..., Awaitable[int]]


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


@pytest.fixture
async def servers() -> AsyncIterator[list[HttpServer]]:
    started: list[HttpServer] = []
    yield started
    for server in started:
        await server.drain(0.0)


@pytest.fixture
def serve(servers: list[HttpServer]) -> Serve:
    """Start a server for an application; returns its port."""

    async def start(app: App, **options: Any) -> int:
        server = HttpServer(app, **options)
        servers.append(server)
        return await server.listen_tcp("127.0.0.1", 0)

    return start


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> certificates.Certificates:
    return certificates.ensure(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def trusting(certs: certificates.Certificates) -> ssl.SSLContext:
    """A client's settings that trust only our authority."""
    return ssl.create_default_context(cadata=certs.ca_pem.decode())


@pytest.fixture
def socket_path(tmp_path: Path) -> str:
    return str(tmp_path / "s.sock")
