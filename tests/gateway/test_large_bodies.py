"""Bodies of half a megabyte through the gateway: not sent to a replica of this product, but shared with it."""

from __future__ import annotations

import asyncio
import gc
import os
from functools import partial

import pytest

from colonnade.gateway.forward import WHOLE_REQUEST
from colonnade.net import Exchange
from colonnade.net.mux.frames import SLOT, SLOTS

from .conftest import HOST, MUX, Running, Serve, iris, until

SIZE = 602_112


async def test_a_body_is_received_where_the_replica_reads_it(running: Running, serve: Serve) -> None:
    seen: list[type] = []

    def app(exchange: Exchange) -> None:
        exchange.collect_view(lambda body: (seen.append(type(body)), exchange.reply(200, body))[1])

    address = await serve(app)
    running.route(iris(address))
    for size in (SIZE, SIZE, SIZE, WHOLE_REQUEST + 1, SLOT):
        body = os.urandom(size)
        assert (await running.fetch("POST", "/x", body)).body == body
    if address.endswith(MUX):
        assert seen[2:] == [memoryview] * 3


async def test_the_memory_is_free_again_at_the_end_of_a_request(running: Running, serve: Serve) -> None:
    """By reference counts alone: what waits for the garbage collector would hold the shared memory for long."""
    seen: list[type] = []

    def app(exchange: Exchange) -> None:
        exchange.collect_view(lambda body: (seen.append(type(body)), exchange.reply(200))[1])

    address = await serve(app)
    running.route(iris(address))
    await running.fetch("POST", "/x", bytes(SIZE))
    gc.disable()
    try:
        for _ in range(2 * SLOTS):
            await running.fetch("POST", "/x", bytes(SIZE))
    finally:
        gc.enable()
    if address.endswith(MUX):
        assert set(seen[2:]) == {memoryview}


async def test_many_at_once_are_not_mixed_up(running: Running, serve: Serve) -> None:
    held: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        exchange.collect(partial(exchange.reply, 200))
        held.append(exchange)

    running.route(iris(await serve(app)))
    await running.fetch("POST", "/x", bytes(SIZE))
    for _ in range(2):
        bodies = [os.urandom(SIZE) for _ in range(80)]  # more than the shared memory takes
        answers = await asyncio.gather(*[running.fetch("POST", "/x", body) for body in bodies])
        assert [answer.body for answer in answers] == bodies


async def test_a_body_goes_to_another_replica_if_the_first_is_gone(running: Running, serve: Serve) -> None:
    """It was received into memory that is shared with the one that was killed."""
    asked: list[Exchange] = []

    def first(exchange: Exchange) -> None:
        asked.append(exchange)
        exchange.collect(lambda body: exchange.reply(200, b"first"))

    one, two = await serve(first), await serve(lambda exchange: exchange.collect(partial(exchange.reply, 200)))
    running.route(iris(one))
    for _ in range(2):
        assert (await running.fetch("PUT", "/x", bytes(SIZE))).body == b"first"
    reader, writer = await running.connect()
    body = os.urandom(SIZE)
    head = f"PUT /x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {SIZE}\r\n\r\n"
    writer.write(head.encode() + body[: SIZE // 2])
    await writer.drain()
    await until(lambda: running.revision.guard.in_flight == 1)
    running.route(iris(two), version=2)
    writer.write(body[SIZE // 2 :])
    await writer.drain()
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(SIZE) == body
    writer.close()


@pytest.mark.parametrize("size", [SIZE, WHOLE_REQUEST, WHOLE_REQUEST + 1])
async def test_a_client_that_leaves_in_the_middle_leaves_no_trace(running: Running, serve: Serve, size: int) -> None:
    running.route(iris(await serve(lambda exchange: exchange.collect(partial(exchange.reply, 200)))))
    for _ in range(2):
        await running.fetch("POST", "/x", bytes(size))
    for _ in range(70):
        _, writer = await running.connect()
        writer.write(f"POST /x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {size}\r\n\r\n".encode() + b"x" * 1000)
        await writer.drain()
        writer.close()
    guard = running.revision.guard
    await until(lambda: guard.in_flight == 0)
    body = os.urandom(size)
    assert (await running.fetch("POST", "/x", body)).body == body


async def test_late_bytes_of_a_body_that_timed_out_reach_nobody_else(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(lambda exchange: exchange.collect(partial(exchange.reply, 200))), timeout=0.1))
    for _ in range(2):
        await running.fetch("POST", "/x", bytes(SIZE))
    reader, writer = await running.connect()
    writer.write(f"POST /x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {SIZE}\r\n\r\n".encode() + b"x" * 70_000)
    assert (await reader.readline()).startswith(b"HTTP/1.1 504")
    bodies = [os.urandom(SIZE) for _ in range(3)]
    asked = [asyncio.create_task(running.fetch("POST", "/x", body)) for body in bodies]
    writer.write(b"y" * (SIZE - 70_000))
    for task, body in zip(asked, bodies, strict=True):
        answer = await task
        assert answer.status == 504 or answer.body == body
    writer.close()


async def test_a_length_of_json_that_no_body_has_is_passed_over(running: Running, serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        exchange.collect_view(lambda body: exchange.reply(200, body))

    running.route(iris(await serve(app)))
    body = os.urandom(SIZE)
    for _ in range(3):  # memory is shared from the second one on
        answer = await running.fetch("POST", "/x", body, inference_header_content_length="9" * 5000)
        assert (answer.status, answer.body) == (200, body)
    assert running.revision.guard.in_flight == 0
