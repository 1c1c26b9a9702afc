"""The proxy between real clients and a real server, held against each fault of KServe's batcher."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from colonnade.net import Address, HttpServer, Request, Response, Upstream, asynchronous
from colonnade.platforms.ports import free_port
from colonnade.server.batchproxy.__main__ import application
from colonnade.server.batchproxy.line import Line, meaning

MOST = 4


class Server:
    """A V1 server that doubles rows, one request after `release` each, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[Any], dict[bytes, bytes]]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.under_way = self.most = 0

    async def handle(self, request: Request) -> Response:
        if request.method == "GET":
            return Response(stream=self._events(), content_type="text/event-stream")
        try:
            rows = json.loads(request.body)["instances"]
        except (ValueError, KeyError, TypeError):
            return Response(400, b'{"error":"its own words"}')
        self.asked.append((request.path, rows, dict(request.headers)))
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.gate.wait()
        finally:
            self.under_way -= 1
        if "busy" in request.path:
            return Response(503, b'{"error":"later"}', headers=[(b"retry-after", b"7")])
        if any(row == "bad" for row in rows):
            return Response(422, b'{"error":"a bad row"}')
        if "sum" in request.path:
            return Response(200, json.dumps({"predictions": [sum(rows)]}).encode())
        answer = {"predictions": [row * 2 for row in rows]}
        return Response(200, json.dumps(answer).encode(), headers=[(b"x-server", b"s")])

    async def _events(self) -> AsyncIterator[bytes]:
        yield b"data: 1\n\n"
        await self.gate.wait()
        yield b"data: 2\n\n"

    def sizes(self) -> list[int]:
        return [len(rows) for _, rows, _ in self.asked]


Ask = Callable[..., Awaitable[httpx.Response]]


class Proxied:
    """The server, and a client of the proxy before it."""

    def __init__(self, server: Server, client: httpx.AsyncClient) -> None:
        self.server = server
        self.client = client

    async def ask(self, *rows: Any, model: str = "m", **headers: str) -> httpx.Response:
        body = {"instances": list(rows)}
        return await self.client.post(f"/v1/models/{model}:predict", json=body, headers=headers)

    async def held(self, count: int) -> list[asyncio.Task[httpx.Response]]:
        """Requests that keep the server busy until its gate opens, so that what follows waits in the line."""
        self.server.gate.clear()
        tasks = []
        for number in range(count):
            tasks.append(asyncio.create_task(self.ask(number, model=f"held{number}")))
            await until(lambda wanted=number + 1: self.server.under_way == wanted)  # type: ignore[misc]
        return tasks


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
async def proxied() -> AsyncIterator[Proxied]:
    async for found in proxy(calls=1):
        yield found


async def proxy(calls: int, latency: float = 0.0) -> AsyncIterator[Proxied]:
    server = Server()
    behind = HttpServer(asynchronous(server.handle))
    port = await behind.listen_tcp("127.0.0.1", 0)
    upstream = Upstream(Address.parse(f"127.0.0.1:{port}"))
    line = Line(upstream, MOST, latency, calls)
    front = HttpServer(application(upstream, line))
    own = await front.listen_tcp("127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{own}", timeout=20) as client:
        try:
            yield Proxied(server, client)
        finally:
            server.gate.set()
            await front.drain(2.0)
            upstream.close()
            await behind.drain(2.0)


async def test_what_waits_is_one_request_of_at_most_so_many_rows(proxied: Proxied) -> None:
    """KServe's batch may exceed its size."""
    held = await proxied.held(1)
    tasks = [asyncio.create_task(proxied.ask(number, number)) for number in range(6)]
    await waiting(proxied, tasks)
    proxied.server.gate.set()
    answers = await asyncio.gather(*tasks)
    assert [each.json() for each in answers] == [{"predictions": [number * 2] * 2} for number in range(6)]
    assert all(each.headers["x-server"] == "s" for each in answers)
    assert proxied.server.sizes() == [1, 4, 4, 4]
    await asyncio.gather(*held)


async def waiting(proxied: Proxied, tasks: list[asyncio.Task[Any]]) -> None:
    """All of them have been sent: the proxy has answered a later request that passes."""
    for _ in range(3):
        await asyncio.sleep(0)
        assert (await proxied.client.post("/v1/models/m:predict", content=b"{")).status_code == 400
    assert not any(task.done() for task in tasks)


async def test_a_lone_request_does_not_wait() -> None:
    """KServe's waits its latency for others."""
    async for proxied in proxy(calls=4, latency=1000.0):
        assert (await proxied.ask(1)).json() == {"predictions": [2]}


async def test_rows_wait_for_others_while_there_is_load() -> None:
    async for proxied in proxy(calls=4, latency=1000.0):
        held = await proxied.held(1)
        tasks = [asyncio.create_task(proxied.ask(number)) for number in range(MOST)]
        await until(lambda proxied=proxied: proxied.server.sizes() == [1, MOST])  # type: ignore[misc]
        proxied.server.gate.set()
        await asyncio.gather(*tasks, *held)


async def test_several_are_under_way_at_once() -> None:
    """KServe's are strictly serial."""
    async for proxied in proxy(calls=3):
        held = await proxied.held(3)
        assert proxied.server.most == 3
        proxied.server.gate.set()
        await asyncio.gather(*held)


async def test_models_do_not_mix(proxied: Proxied) -> None:
    """KServe's has one queue, and the last path wins."""
    held = await proxied.held(1)
    tasks = [asyncio.create_task(proxied.ask(number, model=f"m{number % 2}")) for number in range(4)]
    await waiting(proxied, tasks)
    proxied.server.gate.set()
    await asyncio.gather(*tasks, *held)
    assert {(path, tuple(rows)) for path, rows, _ in proxied.server.asked[1:]} == {
        ("/v1/models/m0:predict", (0, 2)),
        ("/v1/models/m1:predict", (1, 3)),
    }


async def test_headers_reach_the_server_and_others_are_not_joined(proxied: Proxied) -> None:
    """KServe drops them all."""
    held = await proxied.held(1)
    users = ("a", "b", "a")
    tasks = [asyncio.create_task(proxied.ask(n, authorization=user)) for n, user in enumerate(users)]
    await waiting(proxied, tasks)
    proxied.server.gate.set()
    await asyncio.gather(*tasks, *held)
    assert sorted((headers[b"authorization"], rows) for _, rows, headers in proxied.server.asked[1:]) == [
        (b"a", [0, 2]),
        (b"b", [1]),
    ]


def test_fields_of_a_requests_way_mean_nothing() -> None:
    own = [(b"x-request-id", b"1"), (b"x-forwarded-for", b"a"), (b"content-length", b"3"), (b"connection", b"close")]
    assert meaning([*own, (b"x-tenant", b"t")]) == ((b"x-tenant", b"t"),)


async def test_an_error_is_told_to_whom_it_belongs_with_its_status(proxied: Proxied) -> None:
    """KServe answers 200 with a message, to all of the batch."""
    held = await proxied.held(1)
    tasks = [asyncio.create_task(proxied.ask("bad" if number == 2 else number)) for number in range(MOST)]
    await waiting(proxied, tasks)
    proxied.server.gate.set()
    answers = await asyncio.gather(*tasks)
    assert [each.status_code for each in answers] == [200, 200, 422, 200]
    assert answers[2].json() == {"error": "a bad row"}
    assert answers[3].json() == {"predictions": [6]}
    await asyncio.gather(*held)


async def test_a_server_that_does_not_answer_by_rows_gets_each_alone(proxied: Proxied) -> None:
    """KServe tells all of the batch that the sizes differ."""
    for joined in (True, False):
        before = len(proxied.server.asked)
        held = await proxied.held(1)
        tasks = [asyncio.create_task(proxied.ask(number, number, model="sum")) for number in range(2)]
        if joined:
            await waiting(proxied, tasks)
        proxied.server.gate.set()
        answers = await asyncio.gather(*tasks)
        assert [each.json() for each in answers] == [{"predictions": [0]}, {"predictions": [2]}]
        sizes = [len(rows) for path, rows, _ in proxied.server.asked[before:] if "sum" in path]
        assert sizes == ([4, 2, 2] if joined else [2, 2])
        await asyncio.gather(*held)


async def test_a_server_that_is_busy_is_not_asked_again(proxied: Proxied) -> None:
    held = await proxied.held(1)
    tasks = [asyncio.create_task(proxied.ask(number, model="busy")) for number in range(MOST)]
    await waiting(proxied, tasks)
    proxied.server.gate.set()
    answers = await asyncio.gather(*tasks)
    assert {(each.status_code, each.headers["retry-after"]) for each in answers} == {(503, "7")}
    assert proxied.server.sizes() == [1, MOST]
    await asyncio.gather(*held)


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"other":[]}'])
async def test_what_is_malformed_is_refused_by_the_server_itself(proxied: Proxied, body: bytes) -> None:
    answer = await proxied.client.post("/v1/models/m:predict", content=body)
    assert (answer.status_code, answer.json()) == (400, {"error": "its own words"})


async def test_a_client_that_leaves_is_not_waited_for(proxied: Proxied) -> None:
    """KServe does not see that."""
    held = await proxied.held(1)
    gone = asyncio.create_task(proxied.ask(1))
    stays = asyncio.create_task(proxied.ask(2))
    await waiting(proxied, [gone, stays])
    gone.cancel()
    await asyncio.wait([gone])
    await waiting(proxied, [stays])
    proxied.server.gate.set()
    assert (await stays).json() == {"predictions": [4]}
    assert proxied.server.asked[-1][1] == [2]
    await asyncio.gather(*held)


async def test_when_all_have_left_the_server_is_free_again(proxied: Proxied) -> None:
    held = await proxied.held(1)
    tasks = [asyncio.create_task(proxied.ask(number)) for number in range(2)]
    await waiting(proxied, tasks)
    for task in (*tasks, *held):
        task.cancel()
    await asyncio.wait([*tasks, *held])
    await until(lambda: proxied.server.under_way == 0)
    proxied.server.gate.set()
    assert (await proxied.ask(5)).json() == {"predictions": [10]}


async def test_a_stream_passes_part_by_part(proxied: Proxied) -> None:
    proxied.server.gate.clear()
    async with proxied.client.stream("GET", "/events?x=1") as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        parts = answer.aiter_text()
        assert await anext(parts) == "data: 1\n\n"
        proxied.server.gate.set()
        assert await anext(parts) == "data: 2\n\n"


async def test_without_a_server_each_hears_so() -> None:
    upstream = Upstream(Address.parse(f"127.0.0.1:{free_port()}"))
    front = HttpServer(application(upstream, Line(upstream, MOST)))
    port = await front.listen_tcp("127.0.0.1", 0)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        proxied = Proxied(Server(), client)
        answers = await asyncio.gather(*(proxied.ask(number) for number in range(3)), client.get("/"))
    assert {each.status_code for each in answers} == {503}
    await front.drain(2.0)
    upstream.close()
