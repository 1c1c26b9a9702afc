"""Bodies in shared memory: whole, not mixed up, given back when nobody looks at them any more, and done without."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import Callable
from functools import partial

import pytest

from colonnade.net import Exchange
from colonnade.net.mux.frames import (
    COUNT,
    MAPPED,
    MAPPING,
    RELEASE,
    REQUEST_AT,
    SLOT,
    SLOTS,
    WHOLE,
    WINDOW,
    Malformed,
    frame,
)
from colonnade.net.mux.mapping import Mapping

from ..raw import until
from .conftest import Pair, Peers, Recorder, Scripted, read_frame
from .test_exchanges import echo

LARGE = 5 * WHOLE


async def shared(peers: Peers) -> None:
    """Ask until the two ends share memory."""
    for _ in range(2):
        answer = await peers.ask(b"s" * LARGE).done()
        assert answer.failure is None


def places(peers: Peers) -> int:
    """Free slots for requests."""
    (link,) = peers.upstream._links
    assert link.mapping is not None
    return len(link.mapping._free)


async def test_large_bodies_of_both_ways(pair: Pair) -> None:
    seen: list[type] = []

    def app(exchange: Exchange) -> None:
        exchange.collect_view(lambda body: (seen.append(type(body)), exchange.reply(200, body))[1])

    peers = await pair(app)
    await shared(peers)
    for size in (WHOLE + 1, LARGE, SLOT, SLOT + 1, 3 * SLOT):
        body = os.urandom(size)
        answer = await peers.ask(body).done()
        assert answer.body == body
        assert answer.in_one_piece is (size <= SLOT)
    assert seen[1:] == [memoryview, memoryview, memoryview, memoryview, bytes, bytes]


async def test_more_at_once_than_there_are_slots(pair: Pair) -> None:
    held: list[Callable[[], None]] = []

    def app(exchange: Exchange) -> None:
        exchange.collect_view(lambda body: held.append(partial(exchange.reply, 200, body)))

    peers = await pair(app)
    for _ in range(2):
        sharing = peers.ask(b"s" * LARGE)
        await until(lambda: len(held) == 1)
        held.pop()()
        await sharing.done()
    bodies = [bytes([number]) * LARGE for number in range(SLOTS)]
    asked = [peers.ask(body) for body in bodies]
    await until(lambda: len(held) == SLOTS)
    while held:
        held.pop()()
    for body, receiver in zip(bodies, asked, strict=True):
        assert (await receiver.done()).body == body


async def test_a_slot_is_kept_while_anything_looks_at_it(pair: Pair) -> None:
    kept: list[memoryview] = []

    def app(exchange: Exchange) -> None:
        exchange.collect_view(lambda body: kept.append(memoryview(body)[10:20]))
        exchange.reply(200, b"answered")

    peers = await pair(app)
    await shared(peers)
    kept.clear()
    await until(lambda: places(peers) == SLOTS // 2)
    await peers.ask(b"k" * LARGE).done()
    assert places(peers) == SLOTS // 2 - 1
    await peers.ask(b"l" * LARGE).done()
    assert kept == [b"k" * 10, b"l" * 10]
    worker = threading.Thread(target=kept.clear)  # as a model's own thread may do it
    worker.start()
    worker.join()
    await until(lambda: places(peers) == SLOTS // 2)


async def test_a_cancelled_call_gives_its_slot_back(pair: Pair) -> None:
    peers = await pair(lambda exchange: exchange.reply(200) if exchange.path == b"/x" else None)
    await shared(peers)
    await until(lambda: places(peers) == SLOTS // 2)
    head = peers.upstream.head(b"POST", b"/held", [], LARGE)
    call = peers.upstream.send(b"POST", head, b"", b"c" * LARGE, receiver=Recorder())
    assert places(peers) == SLOTS // 2 - 1
    call.cancel()
    await until(lambda: places(peers) == SLOTS // 2)


async def test_an_answer_for_a_cancelled_call_gives_its_slot_back(pair: Pair) -> None:
    held: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        if exchange.path == b"/held":
            held.append(exchange)
        else:
            exchange.collect(partial(exchange.reply, 200))

    peers = await pair(app)
    await shared(peers)
    for _ in range(SLOTS):
        head = peers.upstream.head(b"POST", b"/held", [], 0)
        call = peers.upstream.send(b"POST", head, b"", b"", receiver=Recorder())
        await until(lambda: bool(held))
        held.pop().reply(200, b"a" * LARGE)
        call.cancel()
    assert (await peers.ask(b"b" * LARGE).done()).in_one_piece


async def test_a_server_that_cannot_open_it(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(process: int, descriptor: int) -> Mapping:
        raise PermissionError("not yours")

    monkeypatch.setattr(Mapping, "open", refuse)
    peers = await pair(echo)
    for _ in range(3):
        assert (await peers.ask(b"f" * LARGE).done()).body == b"f" * LARGE
    (link,) = peers.upstream._links
    assert link.mapping is None


async def test_descriptors_do_not_pile_up(pair: Pair) -> None:
    peers = await pair(echo)
    await shared(peers)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        for link in list(peers.upstream._links):
            link.abort()
        await until(lambda: peers.upstream.open == 0)
        await shared(peers)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before + 1


async def test_slots_that_cannot_be(scripted: Scripted) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (kind := (await read_frame(reader))[0]) != REQUEST_AT:
            if kind == MAPPING:
                writer.write(frame(MAPPED, 0))
        writer.write(frame(RELEASE, 0, COUNT.pack(5 * SLOT)))
        assert await reader.read() == b""

    upstream = await scripted(peer)
    receivers = []
    for _ in range(2):
        receivers.append(Recorder())
        head = upstream.head(b"POST", b"/", [], WINDOW)
        upstream.send(b"POST", head, b"", b"b" * WINDOW, receiver=receivers[-1])
        await until(lambda: any(link.mapping for link in upstream._links))
    assert (await receivers[-1].done()).failure is not None


def test_only_sealed_memory_of_the_right_size_is_opened() -> None:
    plain = os.memfd_create("x")
    with pytest.raises(OSError, match="another size"):
        Mapping.open(os.getpid(), plain)
    os.close(plain)


def test_ends_fill_their_own_half_only() -> None:
    client, descriptor = Mapping.create()
    server = Mapping.open(os.getpid(), descriptor)
    os.close(descriptor)
    offset = client.fill([b"abc", memoryview(b"def")])
    assert offset == 0
    released: list[int] = []
    view = server.borrow(offset, 6, released.append)
    assert bytes(view) == b"abcdef"
    for bad in (offset, (SLOTS - 1) * SLOT, SLOTS * SLOT, 2 * SLOT - 5):
        with pytest.raises(Malformed):
            server.borrow(bad, 6, released.append)
    del view
    assert released == [offset]
    client.free(offset)
    for never in (offset, SLOTS - 1):
        with pytest.raises(Malformed):
            client.free(never)
    assert client.fill([bytes(SLOT), b"x"]) is None
    assert [client.fill([b"x"]) for _ in range(SLOTS // 2 + 1)][-1] is None


def test_a_room_is_free_again_when_both_ends_are_done_with_it() -> None:
    client, descriptor = Mapping.create()
    server = Mapping.open(os.getpid(), descriptor)
    os.close(descriptor)

    def free() -> int:
        rooms = [client.room(1, 0) for _ in range(SLOTS)]
        return sum(room is not None for room in rooms)

    half = SLOTS // 2
    room = client.room(100, 7)
    assert room is not None
    assert room.offset % SLOT == 9
    room.view[:] = bytes(range(100))
    assert free() == half - 1
    client.lend(room)
    given = server.borrow(room.offset, 100, client.free)
    assert bytes(given) == bytes(range(100))
    part = room.view[1:2]
    del room
    assert free() == half - 1
    del part  # the client's last look
    assert free() == half - 1
    del given
    assert free() == half
    room = client.room(1, 0)
    assert room is not None
    client.lend(room)
    given = server.borrow(room.offset, 1, client.free)
    del given
    assert free() == half - 1
    del room
    assert free() == half
