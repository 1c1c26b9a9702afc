"""How calls and connections end: cancelled, broken off, drained, killed; and what the receiver is told of it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from colonnade.errors import BadUpstream, Unavailable
from colonnade.net import Address, Exchange, HttpServer, Limits, mux
from colonnade.net.mux import MuxUpstream
from colonnade.net.mux.frames import (
    ANSWER,
    BEGIN,
    BODY,
    CANCEL,
    CREDIT,
    END,
    GOODBYE,
    HEAD,
    HEADER,
    LENGTH,
    MAX_FRAME,
    OPEN,
    REQUEST,
    UNKNOWN,
    frame,
)
from colonnade.net.mux.heads import pack_answer, pack_request

from ..raw import until
from .conftest import Pair, Recorder, Scripted, read_frame

OK = frame(HEAD, 0, pack_answer(200, b"", (), ()), 0)


def send(upstream: MuxUpstream, receiver: Recorder, body: bytes = b"b") -> mux.MuxCall:
    head = upstream.head(b"POST", b"/", [(b"host", b"a")], len(body))
    return upstream.send(b"POST", head, b"id", body, receiver=receiver)


async def test_a_cancelled_call_leaves_the_application_and_frees_its_place(pair: Pair) -> None:
    held: list[Exchange] = []
    left: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        held.append(exchange)
        exchange.on_disconnect(lambda: left.append(exchange))

    peers = await pair(app)
    receivers = [Recorder(), Recorder()]
    calls = [send(peers.upstream, receiver) for receiver in receivers]
    await until(lambda: len(held) == 2)
    calls[0].cancel()
    calls[0].cancel()
    await until(lambda: left == [held[0]])
    assert peers.server.active == 1
    held[0].reply(200, b"nobody waits")
    held[1].reply(200, b"yes")
    assert (await receivers[1].done()).body == b"yes"
    assert not receivers[0].over


async def test_a_call_that_is_cancelled_before_it_left(pair: Pair) -> None:
    seen: list[Exchange] = []
    peers = await pair(seen.append)
    receiver = Recorder()
    send(peers.upstream, receiver).cancel()
    await until(lambda: len(seen) == 1 and seen[0].closed)
    assert not receiver.over


async def test_an_application_that_breaks_off_cuts_one_answer(pair: Pair) -> None:
    def app(exchange: Exchange) -> None:
        if exchange.path == b"/cut":
            exchange.start(200)
            exchange.write(b"some")
            exchange.abort()
            exchange.write(b"more")
            exchange.finish()
        else:
            exchange.reply(200, b"whole")

    peers = await pair(app)
    cut, whole = peers.ask(target=b"/cut"), peers.ask()
    await cut.done()
    assert cut.body == b"some"
    assert cut.failure is not None
    assert isinstance(cut.failure[0], BadUpstream)
    assert cut.failure[1] is True
    assert (await whole.done()).body == b"whole"


async def test_nobody_listens(socket_path: str) -> None:
    upstream = MuxUpstream(Address(path=socket_path))
    receivers = [Recorder(), Recorder()]
    for receiver in receivers:
        send(upstream, receiver)
    for receiver in receivers:
        error, sent = (await receiver.done()).failure or (None, None)
        assert isinstance(error, Unavailable)
        assert sent is False
    assert upstream.open == 0


async def test_a_closed_client(pair: Pair) -> None:
    peers = await pair(lambda exchange: None)
    sent = Recorder()
    send(peers.upstream, sent)
    await until(lambda: peers.server.active == 1)
    peers.upstream.close()
    assert (await sent.done()).failure is not None
    late = Recorder()
    send(peers.upstream, late)
    assert (await late.done()).failure is not None
    assert late.failure is not None
    assert late.failure[1] is False
    await until(lambda: peers.server.active == 0)


async def test_a_server_that_drains_answers_what_it_has_and_takes_no_more(pair: Pair) -> None:
    held: list[Exchange] = []
    peers = await pair(held.append)
    before = Recorder()
    send(peers.upstream, before)
    await until(lambda: len(held) == 1)
    drained = asyncio.create_task(peers.server.drain(5.0))
    await asyncio.sleep(0)  # the server has begun to drain
    assert peers.server.draining
    on_its_way = Recorder()
    send(peers.upstream, on_its_way)  # the client has not read the GOODBYE yet
    await until(lambda: len(held) == 2)
    late = Recorder()
    send(peers.upstream, late)
    assert (await late.done()).failure is not None
    assert late.failure is not None
    assert late.failure[1] is False
    for exchange in held:
        exchange.reply(200, b"answered")
    assert (await before.done()).body == (await on_its_way.done()).body == b"answered"
    await drained
    assert peers.server.connections == 0
    assert peers.upstream.open == 0


async def test_after_a_loss_the_next_call_connects_again(socket_path: str) -> None:
    upstream = MuxUpstream(Address(path=socket_path))
    for number in range(3):
        server = HttpServer(
            lambda exchange, number=number: exchange.reply(200, b"%d" % number),  # type: ignore[misc]
            dialects=[(mux.PREFACE, mux.MuxConnection)],
        )
        await server.listen_unix(socket_path)
        receiver = Recorder()
        send(upstream, receiver)
        assert (await receiver.done()).body == b"%d" % number
        await server.drain(0.0)
        await until(lambda: upstream.open == 0)


VICTIM = """
import asyncio, sys
from colonnade.net import HttpServer, mux

async def main():
    server = HttpServer(lambda exchange: None, dialects=[(mux.PREFACE, mux.MuxConnection)])
    await server.listen_unix(sys.argv[1])
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_killed_peer_fails_what_it_had(socket_path: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", VICTIM, socket_path], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == b"ready\n"
        upstream = MuxUpstream(Address(path=socket_path))
        receivers = [Recorder() for _ in range(20)]
        for receiver in receivers:
            send(upstream, receiver)
        await until(lambda: upstream.open == 1)
        await asyncio.sleep(0)
        os.kill(process.pid, signal.SIGKILL)
        for receiver in receivers:
            assert (await receiver.done()).failure is not None
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


async def test_a_peer_that_stops_reading_gets_no_new_request(scripted: Scripted) -> None:
    ended = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()

    upstream = await scripted(mute)
    receivers: list[Recorder] = []
    for _ in range(2000):
        receivers.append(Recorder())
        send(upstream, receivers[-1], b"x" * (64 << 10))
        await asyncio.sleep(0)
        if receivers[-1].failure is not None:
            break
    await until(lambda: any(receiver.failure for receiver in receivers))
    error, sent = next(receiver.failure for receiver in receivers if receiver.failure)
    assert isinstance(error, Unavailable)
    assert sent is False
    assert upstream.open == 1
    ended.set()


async def test_a_server_cuts_who_does_not_read(pair: Pair) -> None:
    peers = await pair(lambda exchange: exchange.reply(200, b"a" * 60_000), Limits(read_timeout=0.2))
    _, writer = await asyncio.open_unix_connection(peers.path)
    writer.transport.pause_reading()
    head = frame(HEAD, 0, b"\0\0\0\4POST\0\0\0\1/", 0)
    writer.write(mux.PREFACE + head + b"".join(frame(REQUEST, number + 1) for number in range(300)))
    await until(lambda: peers.server.connections == 1)
    await until(lambda: peers.server.connections == 0)
    writer.close()


async def test_a_server_cuts_who_stops_in_the_middle_of_a_frame(pair: Pair) -> None:
    peers = await pair(lambda exchange: None, Limits(read_timeout=0.2))
    _, writer = await asyncio.open_unix_connection(peers.path)
    writer.write(mux.PREFACE + HEADER.pack(100, 1, REQUEST, 0, 0) + b"half")
    await until(lambda: peers.server.connections == 1)
    await until(lambda: peers.server.connections == 0)
    writer.close()


@pytest.mark.parametrize("length", [UNKNOWN - 1, -(1 << 63)])
async def test_a_server_cuts_who_announces_a_negative_length(pair: Pair, length: int) -> None:
    seen: list[Exchange] = []
    peers = await pair(seen.append)
    reader, writer = await asyncio.open_unix_connection(peers.path)
    writer.write(mux.PREFACE + frame(HEAD, 0, pack_request(b"POST", b"/", []), 0))
    writer.write(frame(OPEN, 1, LENGTH.pack(length)))
    async with asyncio.timeout(5):
        await reader.read()
    await until(lambda: peers.server.connections == 0)
    assert not seen
    writer.close()


ANSWERED = HEADER.pack(2, 1, ANSWER, 0, 0) + b"ok"
BEGUN = frame(BEGIN, 1, LENGTH.pack(UNKNOWN))


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        HEADER.pack(MAX_FRAME + 1, 1, ANSWER, 0, 0),
        frame(99, 1),
        frame(REQUEST, 1),
        frame(ANSWER, 1, b"", 7),
        frame(HEAD, 0, b"\0\0\0\3200", 0),
        frame(HEAD, 0, b"\0\0\0\xff200", 0),
        frame(HEAD, 0, pack_answer(200, b"", (), ()), 5),
        OK + frame(BEGIN, 1),
        OK + BEGUN + BEGUN,
        OK + frame(BODY, 1, b"x"),
        OK + frame(END, 1),
        OK + BEGUN + frame(END, 1, b"\0\0\0\1a"),
        OK + BEGUN + b"".join(frame(BODY, 1, b"x" * (64 << 10)) for _ in range(5)),
        OK + HEADER.pack(1, 1, ANSWER, 5, 0) + b"x",
        frame(CREDIT, 1, b"\0"),
        b"",
    ],
)
async def test_a_server_that_does_not_keep_to_the_protocol(scripted: Scripted, said: bytes) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_frame(reader)
        kind, stream, _ = await read_frame(reader)
        assert (kind, stream) == (REQUEST, 1)
        writer.write(said)
        await writer.drain()
        if said:
            assert await reader.read() == b""

    upstream = await scripted(peer)
    receiver = Recorder()
    call = send(upstream, receiver)
    call.pause()
    error, sent = (await receiver.done()).failure or (None, None)
    assert isinstance(error, BadUpstream)
    assert sent is True
    assert upstream.open == 0


@pytest.mark.parametrize("late", [ANSWERED, BEGUN + frame(BODY, 1, b"x") + frame(END, 1), frame(CANCEL, 1)])
async def test_what_comes_for_a_cancelled_call_is_dropped(scripted: Scripted, late: bytes) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            kind, stream, _ = await read_frame(reader)
            if kind == CANCEL:
                writer.write(OK + late)
            elif kind == REQUEST and stream == 2:
                writer.write(HEADER.pack(2, 2, ANSWER, 0, 0) + b"ok")

    upstream = await scripted(peer)
    first, second = Recorder(), Recorder()
    send(upstream, first).cancel()
    send(upstream, second)
    assert (await second.done()).body == b"ok"
    assert not first.over


async def test_goodbye_without_calls_closes(scripted: Scripted) -> None:
    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await read_frame(reader))[0] != REQUEST:
            pass
        writer.write(OK + ANSWERED + frame(GOODBYE, 0))
        assert await reader.read() == b""

    upstream = await scripted(peer)
    receiver = Recorder()
    send(upstream, receiver)
    assert (await receiver.done()).body == b"ok"
    await until(lambda: upstream.open == 0)
