"""Requests wait in the gateway: for a revision that has no replica yet, and for a replica that is busy."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from grpc import StatusCode, aio

from colonnade.gateway.routes import Hold, Route
from colonnade.net import Exchange

from .conftest import HOST, LABELS, Running, Serve, Start, iris, until
from .test_revisions import named, target

PREDICT = "/v1/models/iris:predict"


def asleep(**changes: Any) -> Route:
    """A revision that was scaled to zero."""
    return iris(**{"hold": Hold(), **changes})


def ask(running: Running, number: int = 0, **headers: str) -> asyncio.Task[Any]:
    return asyncio.create_task(running.fetch("POST", PREDICT, b"%d" % number, **headers))


async def held(running: Running, count: int) -> None:
    await until(lambda: len(running.revision.waiting) == count)


def numbered(order: list[int]) -> Any:
    def app(exchange: Exchange) -> None:
        def done(body: bytes) -> None:
            order.append(int(body))
            exchange.reply(200, body)

        exchange.collect(done)

    return app


async def test_held_requests_go_on_in_their_order_the_moment_a_replica_is_ready(running: Running, serve: Serve) -> None:
    order: list[int] = []
    address = await serve(numbered(order))
    running.route(asleep())
    waiting = []
    for number in range(20):
        waiting.append(ask(running, number))
        await held(running, number + 1)
    running.route(asleep(reason="still loading"))
    assert len(running.revision.waiting) == 20, "a table that brings no replica releases nobody"
    running.route(iris(address, hold=Hold()))
    answers = await asyncio.gather(*waiting)
    assert [int(answer.body) for answer in answers] == list(range(20))
    assert sorted(order) == list(range(20))
    assert running.revision.guard.in_flight == 0
    assert len(running.revision.waiting) == 0
    assert (await running.fetch("POST", PREDICT, b"7")).body == b"7"


@pytest.mark.parametrize("size", [3, 300_000, 3_000_000])
async def test_bodies_of_all_sizes_are_held(running: Running, serve: Serve, size: int) -> None:
    def app(exchange: Exchange) -> None:
        exchange.collect(lambda body: exchange.reply(200, b"%d" % len(body)))

    address = await serve(app)
    running.route(asleep())
    waiting = asyncio.create_task(running.fetch("POST", PREDICT, bytes(size)))
    await held(running, 1)
    running.route(iris(address))
    assert (await waiting).body == b"%d" % size


async def test_a_held_stream_is_read_no_further_than_it_must(running: Running, serve: Serve) -> None:
    address = await serve(lambda exchange: exchange.collect(lambda body: exchange.reply(200, b"%d" % len(body))))
    running.route(asleep())
    reader, writer = await running.connect()
    writer.write(f"POST {PREDICT} HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n".encode())
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    sent = 0
    try:
        async with asyncio.timeout(0.5):
            while True:
                writer.write(chunk)
                sent += 1
                await writer.drain()
    except TimeoutError:
        pass
    assert sent < 400, "the client is stopped"
    running.route(iris(address))
    writer.write(b"0\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert int(await reader.read(20)) == sent * 0x10000
    writer.close()


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"hold": Hold(seconds=0.1), "reason": "it is queued"}, 503, "within 0 s: it is queued. Nothing was executed"),
        ({"hold": Hold(), "timeout": 0.1}, 504, "within 0.1 s, the route's limit"),
    ],
)
async def test_a_held_request_gets_an_answer_in_time(
    running: Running, changes: dict[str, Any], status: int, words: str
) -> None:
    running.route(asleep(**changes))
    answer = await running.fetch("POST", PREDICT, b"1")
    assert answer.status == status
    assert words in json.loads(answer.body)["error"]
    assert (b"retry-after" in dict(answer.headers)) == (status == 503)
    assert running.revision.guard.in_flight == len(running.revision.waiting) == 0


async def test_the_callers_own_deadline_ends_the_wait(running: Running) -> None:
    running.route(asleep())
    answer = await running.fetch("POST", PREDICT, b"1", x_envoy_upstream_rq_timeout_ms="80")
    assert answer.status == 504
    assert "the caller's limit" in json.loads(answer.body)["error"]


async def test_swaps_do_not_make_the_wait_longer(running: Running) -> None:
    running.route(asleep(hold=Hold(seconds=0.3)))
    waiting = ask(running)
    await held(running, 1)
    while not waiting.done():  # each one sends it round, as another revision takes the traffic
        running.route(asleep(hold=Hold(seconds=0.3), targets=(target("one", 1), target("two", 0))))
        running.route(asleep(hold=Hold(seconds=0.3), targets=(target("one", 0), target("two", 1))))
        await asyncio.sleep(0.02)
    assert (await waiting).status == 503


@pytest.mark.parametrize("bound", [Hold(requests=3), Hold(bytes=3)])
async def test_the_queue_is_bounded(running: Running, serve: Serve, bound: Hold) -> None:
    running.route(asleep(hold=bound))
    waiting = [ask(running) for _ in range(3)]
    await held(running, 3)
    refused = await ask(running)
    assert refused.status == 503
    assert b"retry-after" in dict(refused.headers)
    assert "too many requests wait" in json.loads(refused.body)["error"]
    assert (await running.metrics())[f'colonnade_gateway_shed_total{{{LABELS},reason="queue"}}'] == 1
    running.route(iris(await serve(named("ok"))))
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}


async def test_a_client_that_leaves_frees_its_place(running: Running, serve: Serve) -> None:
    running.route(asleep(hold=Hold(requests=1)))
    reader, writer = await running.connect()
    writer.write(f"POST {PREDICT} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 1\r\n\r\n1".encode())
    await held(running, 1)
    writer.transport.abort()
    await held(running, 0)
    assert running.revision.guard.in_flight == 0
    waiting = ask(running)
    await held(running, 1)
    running.route(iris(await serve(named("ok"))))
    assert (await waiting).status == 200
    del reader


async def test_a_service_that_is_deleted_or_stopped_lets_its_waiters_go(running: Running) -> None:
    for table, words in (((), "it was deleted"), ((iris(ready=False, reason="it is stopped"),), "it is stopped")):
        running.route(asleep())
        waiting = ask(running)
        await held(running, 1)
        running.route(*table)
        answer = await waiting
        assert answer.status == 503
        assert words in json.loads(answer.body)["error"]


async def test_who_waits_for_a_revision_that_goes_gets_the_next_one(running: Running, serve: Serve) -> None:
    running.route(asleep())
    old = running.revision
    waiting = ask(running)
    await held(running, 1)
    running.route(asleep(targets=(target("two", 100),)))
    assert running.revision is not old
    await held(running, 1)
    assert old.guard.in_flight == 0
    running.route(iris(targets=(target("two", 100, await serve(named("two"))),)))
    assert (await waiting).body == b"two"
    assert running.revision.guard.in_flight == 0


async def test_each_revision_is_woken_by_its_own_requests(running: Running, serve: Serve) -> None:
    """A canary at zero keeps its share: the requests that the split gives it wait for it."""
    woken = []
    running.gateway.fleet.on_held = lambda revision: woken.append(revision.name)
    stable = await serve(named("stable"))
    running.route(iris(hold=Hold(), targets=(target("one", 50, stable), target("two", 50))))
    waiting = [ask(running) for _ in range(4)]
    await until(lambda: sum(task.done() for task in waiting) == 2)
    assert woken == ["two"]
    canary = await serve(named("canary"))
    running.route(iris(hold=Hold(), targets=(target("one", 50, stable), target("two", 50, canary))))
    assert sorted([(await task).body for task in waiting]) == [b"canary", b"canary", b"stable", b"stable"]


async def test_grpc_is_held_too(start: Start, serve: Serve) -> None:
    running = await start(grpc=True, grace=0.3)

    def app(exchange: Exchange) -> None:
        exchange.collect(
            lambda body: exchange.reply(200, b"\0\0\0\0\x02ok", b"application/grpc", trailers=[(b"grpc-status", b"0")])
        )

    address = await serve(app)
    if not iris(address).backends[0].mux:
        pytest.skip("HTTP/1.1 upstreams speak no gRPC")
    running.route(asleep())
    options = [("grpc.default_authority", HOST)]
    async with aio.insecure_channel(running.gateway.grpc_address or "", options=options) as channel:
        unary = channel.unary_unary("/any.Service/Method")
        small, large = unary(b"1"), unary(bytes(3_000_000))
        await held(running, 2)
        running.route(iris(address))
        assert [await small, await large] == [b"ok", b"ok"]
        running.route(asleep(hold=Hold(seconds=0.1)))
        with pytest.raises(aio.AioRpcError) as caught:
            await unary(b"1")
        assert caught.value.code() is StatusCode.UNAVAILABLE
        with pytest.raises(aio.AioRpcError) as caught:
            await unary(b"1", timeout=0.08)
        assert caught.value.code() is StatusCode.DEADLINE_EXCEEDED
    await until(lambda: running.revision.guard.in_flight == 0)
    assert len(running.revision.waiting) == 0


async def test_a_replica_never_has_more_than_its_limit(running: Running, serve: Serve) -> None:
    open_now, most, order = 0, 0, []

    def app(exchange: Exchange) -> None:
        def done(body: bytes) -> None:
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)
            order.append(int(body))
            asyncio.get_running_loop().call_later(0.005, answer)

        def answer() -> None:
            nonlocal open_now
            open_now -= 1
            exchange.reply(200)

        exchange.collect(done)

    running.route(iris(await serve(app), concurrency=2))
    answers = await asyncio.gather(*(ask(running, number) for number in range(40)))
    assert {answer.status for answer in answers} == {200}
    assert most == 2
    assert sorted(order) == list(range(40))
    assert running.revision.guard.in_flight == 0


async def test_who_waits_for_a_busy_replica_goes_in_order_and_a_new_replica_helps(
    running: Running, serve: Serve
) -> None:
    first: list[Exchange] = []
    second: list[Exchange] = []
    one, two = await serve(first.append), await serve(second.append)
    running.route(iris(one, concurrency=1))
    waiting = []
    for number in range(4):
        waiting.append(ask(running, number))
        await until(lambda number=number: running.revision.guard.in_flight == number + 1)  # type: ignore[misc]
    await until(lambda: len(first) == 1)
    await held(running, 3)
    running.route(iris(one, two, concurrency=1))
    await until(lambda: len(second) == 1)
    assert len(running.revision.waiting) == 2
    first.pop().reply(200, b"first")
    await until(lambda: len(first) == 1)
    assert (await waiting[0]).body == b"first"
    running.route(iris(one, two))
    await until(lambda: len(first) + len(second) == 3)
    for exchange in first + second:
        exchange.reply(200)
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}


async def test_a_replica_that_dies_with_its_limit_full_lets_the_others_go(running: Running, serve: Serve) -> None:
    first: list[Exchange] = []
    one = await serve(first.append)
    running.route(iris(one, concurrency=1))
    waiting = [ask(running) for _ in range(3)]
    await until(lambda: len(first) == 1)
    await held(running, 2)
    running.route(iris(await serve(named("ok")), concurrency=1))
    assert sorted([answer.body for answer in await asyncio.gather(*waiting[1:])]) == [b"ok", b"ok"]
    first[0].reply(200, b"late")
    assert (await waiting[0]).body == b"late"


async def test_a_websocket_waits_as_well(running: Running, serve: Serve) -> None:
    running.route(asleep(hold=Hold(seconds=0.1)))
    handshake = f"GET /ws HTTP/1.1\r\nhost: {HOST}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n".encode()
    reader, writer = await running.connect()
    writer.write(handshake)
    await held(running, 1)
    assert (await reader.readline()).startswith(b"HTTP/1.1 503")
    writer.close()
    assert running.revision.guard.in_flight == 0
    running.route(asleep())
    reader, writer = await running.connect()
    writer.write(handshake)
    await held(running, 1)
    running.route(iris(await serve(named("plain"))))
    assert (await reader.readline()).startswith(b"HTTP/1.1 200"), "a server that does not upgrade answers"
    writer.close()
    running.route(asleep())
    reader, writer = await running.connect()
    writer.write(handshake)
    await held(running, 1)
    writer.transport.abort()
    await held(running, 0)
    await until(lambda: running.revision.guard.in_flight == 0)
