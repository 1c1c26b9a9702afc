"""Servers that speak HTTP/2, and clients that are closed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from colonnade.net import App
from colonnade.net.http2 import PREFACE, Http2

from ..conftest import Serve
from .raw import Client

Connect = Callable[..., Awaitable[Client]]


@pytest.fixture
def serve2(serve: Serve) -> Serve:
    """`serve` with HTTP/2 by prior knowledge."""

    async def start(app: App, **options: Any) -> int:
        return await serve(app, dialects=[(PREFACE, Http2())], **options)

    return start


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects raw clients."""
    clients: list[Client] = []

    async def start(port: int, settings: dict[int, int] | None = None) -> Client:
        client = await Client.connect(port, settings)
        clients.append(client)
        return client

    yield start
    for client in clients:
        await client.close()
