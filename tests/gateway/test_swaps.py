"""A swap of the route table fails no request: not one that is on its way, not one whose body is still to come."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

import pytest
from grpc import aio

from colonnade.net import Exchange

from .conftest import HOST, Running, Serve, Start, iris, until
from .test_faults import refusing
from .test_grpc import INFER, channel, grpc_serve, infer

__all__ = ["grpc_serve"]

HEAD = f"POST /x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 2\r\n\r\n".encode()


def named(name: bytes) -> object:
    def app(exchange: Exchange) -> None:
        exchange.collect(lambda body: exchange.reply(200, name + body))

    return app


async def half_sent(running: Running) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection whose request has been matched and whose body is missing."""
    reader, writer = await running.connect()
    in_flight = running.gateway._proxy.in_flight
    writer.write(HEAD)
    await until(lambda: running.gateway._proxy.in_flight == in_flight + 1)
    return reader, writer


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
    return int(lines[0].split()[1]), await reader.readexactly(length)


async def test_a_body_that_comes_after_the_swap_goes_to_the_new_replica(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(named(b"old "))))
    reader, writer = await half_sent(running)
    running.route(iris(await serve(named(b"new "))))
    writer.write(b"{}")
    assert await answered(reader) == (200, b"new {}")
    writer.close()


@pytest.mark.parametrize("changes", [{"targets": ()}, {"ready": False}, None])
async def test_a_service_that_goes_meanwhile_is_named(
    running: Running, serve: Serve, changes: dict[str, object] | None
) -> None:
    address = await serve(named(b"old "))
    running.route(iris(address))
    reader, writer = await half_sent(running)
    running.route(*([] if changes is None else [iris(address, **changes, reason="it is stopped")]))
    writer.write(b"{}")
    status, body = await answered(reader)
    assert status == 503
    message = json.loads(body)["error"]
    assert message == f"Service default/iris is not ready: {'it was deleted' if changes is None else 'it is stopped'}"
    assert running.gateway._proxy.in_flight == 0
    writer.close()


async def test_a_second_attempt_knows_the_new_replicas(running: Running, serve: Serve) -> None:
    held: list[Exchange] = []
    running.route(iris(await serve(held.append)))
    answer = asyncio.create_task(running.fetch("GET", "/x"))
    await until(lambda: bool(held))
    running.route(iris(await serve(named(b"new "))))
    held[0].abort()
    assert (await answer).body == b"new "


async def test_hundreds_of_swaps_under_load_fail_nothing(running: Running, serve: Serve) -> None:
    tables = [iris(await serve(named(b"%d " % number))) for number in range(3)]
    running.route(tables[0])
    outcomes: Counter[tuple[int, bytes]] = Counter()
    stopped = False

    async def client() -> None:
        reader, writer = await running.connect()
        while not stopped:
            writer.write(HEAD)
            await asyncio.sleep(0)  # the loop may swap between the head and the body
            writer.write(b"{}")
            outcomes[await answered(reader)] += 1
        writer.close()

    clients = [asyncio.create_task(client()) for _ in range(16)]
    for number in range(600):
        running.route(tables[number % 3])
        await asyncio.sleep(0.001)
    stopped = True
    await asyncio.gather(*clients)
    assert {status for status, _ in outcomes} == {200}, outcomes
    assert {body for _, body in outcomes} == {b"0 {}", b"1 {}", b"2 {}"}
    assert all(one.load.outstanding == 0 for one in running.gateway.fleet._replicas.values())


async def test_grpc_calls_outlive_swaps(start: Start, grpc_serve: Serve) -> None:
    running = await start(grpc=True, grace=0.3)
    addresses = [(await grpc_serve(str(number)))[0] for number in range(2)]
    tables = [iris("unix:/no", grpc=address) for address in addresses]
    running.route(tables[0])
    done = 0
    stopped = False

    async def client(multi: aio.UnaryUnaryMultiCallable) -> None:
        nonlocal done
        while not stopped:
            await multi(infer("iris", b"1"), timeout=10)
            done += 1

    async with channel(running) as connection:
        clients = [asyncio.create_task(client(connection.unary_unary(INFER))) for _ in range(8)]
        for number in range(100):
            running.route(tables[number % 2])
            await asyncio.sleep(0.005)
        stopped = True
        await asyncio.gather(*clients)
    assert done > 50


async def test_a_grpc_call_that_reached_nobody_is_tried_on_the_new_replicas(start: Start, grpc_serve: Serve) -> None:
    running = await start(grpc=True, grace=0.3)
    address, _ = await grpc_serve()
    running.route(iris("unix:/no", grpc=refusing()))
    (old,) = running.revision.grpc_balancer.members
    async with channel(running) as connection:
        asked = connection.unary_unary(INFER)(infer("iris", b"1"), timeout=10)
        while not old.load.outstanding:
            await asyncio.sleep(0)
        running.route(iris("unix:/no", grpc=address))
        assert old.load.outstanding, "the first attempt ended before the swap"
        assert await asked == infer("iris", b"1")
