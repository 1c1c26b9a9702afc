"""Large bodies that are received in place: whole whatever the pieces, and nothing lost before or behind them."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable

import numpy as np
import pytest

from colonnade.net import Exchange, Limits, buffers

from .conftest import Serve
from .raw import DEADLINE, Client, until

SIZE = 700_000
QUICK = Limits(read_timeout=0.2, idle_timeout=5.0)


def body(seed: int, size: int = SIZE) -> bytes:
    return random.Random(seed).randbytes(size)


def post(content: bytes, *fields: bytes) -> bytes:
    lines = b"".join(b"%b\r\n" % field for field in (b"Host: x", *fields, b"Content-Length: %d" % len(content)))
    return b"POST / HTTP/1.1\r\n%b\r\n%b" % (lines, content)


def digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def in_place(kinds: list[type], aligned: int = 0) -> Callable[[Exchange], None]:
    """An application that answers with a digest of what it got, and notes in what form that came."""

    def app(exchange: Exchange) -> None:
        def done(content: bytes | memoryview) -> None:
            kinds.append(type(content))
            exchange.reply(200, digest(bytes(content)), b"text/plain")

        exchange.collect_view(done, aligned)

    return app


async def test_bodies_of_many_sizes_on_one_connection(serve: Serve) -> None:
    kinds: list[type] = []
    client = await Client.connect(await serve(in_place(kinds)))
    sizes = [SIZE, SIZE, SIZE, 10, SIZE, 0, SIZE + 1, 1 << 16, 3 << 20, 3 << 20, SIZE, SIZE]
    for seed, size in enumerate(sizes):
        content = body(seed, size)
        client.send(post(content))
        assert (await client.answer()).body == digest(content)
    assert kinds.count(memoryview) >= 6
    await client.close()


@pytest.mark.parametrize("fields", [(), (b"X-Request-ID: a7",), (b"Expect: 100-continue",)])
async def test_the_same_head_again_and_again(serve: Serve, fields: tuple[bytes, ...]) -> None:
    kinds: list[type] = []
    client = await Client.connect(await serve(in_place(kinds)))
    for seed in range(6):
        content = body(seed)
        client.send(post(content, *fields))
        assert (await client.answer()).body == digest(content)
    assert kinds == [memoryview] * 6
    await client.close()


async def test_a_body_in_many_pieces(serve: Serve) -> None:
    kinds: list[type] = []
    client = await Client.connect(await serve(in_place(kinds)))
    for seed in range(3):
        content = body(seed)
        data = post(content)
        cuts = sorted(random.Random(seed).sample(range(1, len(data)), 40))
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            client.send(data[begin:end])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.answer()).body == digest(content)
    await client.close()


async def test_requests_behind_a_large_body_are_answered_in_order(serve: Serve) -> None:
    client = await Client.connect(await serve(in_place([])))
    contents = [body(1), b"small", body(2), body(3), b"", body(4, 70_000), body(5)]
    for _ in range(3):
        client.send(b"".join(map(post, contents)))
        for content in contents:
            assert (await client.answer()).body == digest(content)
    await client.close()


async def test_what_looks_like_the_same_head_and_is_not(serve: Serve) -> None:
    client = await Client.connect(await serve(in_place([])))
    first = body(1)
    for content in (first, first, body(2, SIZE - 1), body(3, 20), first):
        client.send(post(content))
        assert (await client.answer()).body == digest(content)
    client.send(b"GARBAGE / HTTP/1.1\r\n\r\n")
    assert (await client.answer()).status == 400
    await client.close()


async def test_a_client_that_stalls_within_a_large_body_is_told(serve: Serve) -> None:
    client = await Client.connect(await serve(in_place([]), limits=QUICK))
    for _ in range(2):
        client.send(post(body(1)))
        assert (await client.answer()).status == 200
    client.send(post(body(2))[: SIZE // 2])
    assert (await client.answer()).status == 408
    assert await client.rest() == b""
    await client.close()


@pytest.mark.parametrize("before", [0, 2])
async def test_a_client_that_leaves_within_a_large_body(serve: Serve, before: int) -> None:
    left: list[bool] = []
    answer = in_place([])

    def app(exchange: Exchange) -> None:
        answer(exchange)
        exchange.on_disconnect(lambda: left.append(True))

    client = await Client.connect(await serve(app))
    for _ in range(before):
        client.send(post(body(1)))
        await client.answer()
    client.send(post(body(2))[: SIZE // 2])
    await client.writer.drain()
    client.writer.transport.abort()
    await until(lambda: left == [True])


@pytest.mark.parametrize("before", [0, 2])
async def test_an_answer_before_the_end_of_the_body(serve: Serve, before: int) -> None:
    exchanges: list[Exchange] = []
    plain = in_place([])

    def app(exchange: Exchange) -> None:
        exchanges.append(exchange)
        plain(exchange)

    limits = Limits(discard_bytes=4 << 20)
    client = await Client.connect(await serve(app, limits=limits))
    for _ in range(before):
        client.send(post(body(1)))
        await client.answer()
    data = post(body(2))
    client.send(data[: SIZE // 2])
    await until(lambda: len(exchanges) > before and exchanges[-1].size > SIZE // 4)
    exchanges[-1].reply(503, b"busy")
    assert (await client.answer()).status == 503
    client.send(data[SIZE // 2 :] + post(b"next"))
    assert (await client.answer()).body == digest(b"next")
    client.send(post(body(3)))
    assert (await client.answer()).body == digest(body(3))
    await client.close()


async def test_an_application_that_streams_what_came_under_a_known_head(serve: Serve) -> None:
    turns = iter([True, True, False, True, False])
    kinds: list[type] = []
    whole = in_place(kinds)

    def app(exchange: Exchange) -> None:
        if next(turns):
            whole(exchange)
            return
        parts: list[bytes] = []
        exchange.stream(parts.append, lambda: exchange.reply(200, digest(b"".join(parts)), b"text/plain"))

    client = await Client.connect(await serve(app))
    for seed in range(5):
        content = body(seed)
        client.send(post(content))
        assert (await client.answer()).body == digest(content)
    assert kinds == [memoryview] * 3
    await client.close()


async def test_memory_that_the_application_gives(serve: Serve) -> None:
    given: list[bytearray] = []

    def allocate(size: int) -> memoryview:
        given.append(bytearray(size))
        return memoryview(given[-1])

    def app(exchange: Exchange) -> None:
        exchange.collect_into(allocate, lambda content: exchange.reply(200, digest(bytes(content)), b"text/plain"))

    client = await Client.connect(await serve(app))
    for seed in range(3):
        client.send(post(body(seed)))
        assert (await client.answer()).body == digest(body(seed))
    assert [bytes(memory) for memory in given] == [body(seed) for seed in range(3)]
    client.send(post(b"small"))
    assert (await client.answer()).body == digest(b"small")
    assert len(given) == 3
    await client.close()


async def test_a_body_that_is_kept_is_not_written_over(serve: Serve) -> None:
    kept: list[bytes | memoryview] = []

    def app(exchange: Exchange) -> None:
        def done(content: bytes | memoryview) -> None:
            kept.append(content)
            exchange.reply(200, b"ok")

        exchange.collect_view(done)

    port = await serve(app)
    clients = [await Client.connect(port) for _ in range(3)]
    for seed in range(9):
        client = clients[seed % 3]
        client.send(post(body(seed)))
        async with asyncio.timeout(DEADLINE):
            await client.answer()
    assert [bytes(content) for content in kept] == [body(seed) for seed in range(9)]
    for client in clients:
        await client.close()


def test_a_buffer_serves_again_when_its_last_view_is_gone() -> None:
    first = buffers.take(100_000)
    part = first[10:20]
    owner = id(first.obj)
    del first
    second = buffers.take(100_000)
    assert id(second.obj) != owner
    del part
    third = buffers.take(100_000)
    assert id(third.obj) == owner
    assert len(third) == 100_000


@pytest.mark.parametrize("aligned", [0, 1, 15, 16, 113])
def test_the_place_that_shall_be_aligned(aligned: int) -> None:
    view = buffers.take(1000, aligned)
    assert len(view) == 1000
    assert np.frombuffer(view, np.uint8)[aligned:].ctypes.data % 16 == 0


def test_more_than_is_kept_is_still_served() -> None:
    taken = [buffers.take(8 << 20) for _ in range(8)]
    assert all(len(view) == 8 << 20 for view in taken)
    assert len({id(view.obj) for view in taken}) == 8
