"""What the control plane hears of the gateway's work, from gateways that come, go and talk nonsense."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.routes import gateway_stats
from colonnade.control.routes.gateway_stats import listen
from colonnade.gateway.process import Gateway, Settings
from colonnade.gateway.routes import Hold, Route, RouteTable, Target
from colonnade.net import Address, Exchange, HttpServer, Upstream
from colonnade.net.address import bound_socket


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.fixture
def folder() -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


async def started(folder: Path) -> Gateway:
    sock = bound_socket("127.0.0.1", 0)
    gateway = Gateway(Settings(admin=str(folder / "a"), routes=folder / "routes", http=(sock,), grace=0.2))
    await gateway.start()
    return gateway


async def test_a_gateway_that_is_started_again_is_heard_again(folder: Path) -> None:
    heard: list[dict[str, Any]] = []
    listening = asyncio.create_task(listen(str(folder / "a"), heard.append))
    for turn in range(2):
        heard.clear()
        gateway = await started(folder)
        await until(lambda: {} in heard)
        route = Route("default", "iris", "iris", ("x",), (Target("r1"),), ready=True, hold=Hold())
        gateway.fleet.swap(RouteTable(turn, (route,)))
        host, _, port = gateway.http_addresses[0].rpartition(":")
        client = Upstream(Address(host=host, port=int(port)))
        asking = asyncio.create_task(client.fetch("POST", "/v1/models/iris:predict", [(b"host", b"x")], b"{}"))
        await until(lambda: any(line.get("held") for line in heard))
        line = next(line for line in heard if line)
        assert (line["namespace"], line["service"], line["component"]) == ("default", "iris", "predictor")
        assert (line["revision"], line["replicas"], line["requests"], line["held"]) == ("r1", 0, 1, 1)
        gateway.drain()
        await gateway.ended()
        assert (await asking).status == 503, "who waits is told before the gateway ends"
        client.close()
    listening.cancel()


async def test_lines_are_taken_whatever_their_parts_and_nonsense_is_left_out(folder: Path) -> None:
    heard: list[dict[str, Any]] = []

    def app(exchange: Exchange) -> None:
        exchange.start(200)
        for part in (b'{"revis', b'ion":"a"}\n{', b'}\nnonsense\n[1]\n{"revision":"b"}\n\n{"cut'):
            exchange.write(part)
        exchange.finish()

    server = HttpServer(app)
    await server.listen_unix(str(folder / "a"))
    listening = asyncio.create_task(listen(str(folder / "a"), heard.append))
    await until(lambda: len(heard) >= 6)  # it is asked again after the end
    assert heard[:6] == [{"revision": "a"}, {}, {"revision": "b"}] * 2
    listening.cancel()
    await server.drain(0.1)


async def test_a_listener_that_fails_or_a_gateway_that_is_silent_does_not_end_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_stats, "SILENCE", 0.05)
    asked = 0

    def app(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        exchange.start(200)
        exchange.write(b"{}\n")

    def fail(line: dict[str, Any]) -> None:
        raise RuntimeError

    server = HttpServer(app)
    await server.listen_unix(str(folder / "a"))
    listening = asyncio.create_task(listen(str(folder / "a"), fail))
    await until(lambda: asked >= 3)
    listening.cancel()
    await server.drain(0.1)
