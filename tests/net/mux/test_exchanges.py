"""Requests and answers over the multiplexed socket: the same exchanges as over HTTP/1.1, many at once."""

from __future__ import annotations

import asyncio
import json
from functools import partial

import pytest

from colonnade.net import Exchange, Header, Limits
from colonnade.net.mux.frames import WHOLE, WINDOW

from ..raw import until
from .conftest import Pair, Peers, Recorder

SIZES = [0, 1, WHOLE, WHOLE + 1, WINDOW, WINDOW + 1, 5 * WINDOW + 7]


def echo(exchange: Exchange) -> None:
    """Answer with the body; what came with it is told in fields."""

    def answer(body: bytes) -> None:
        seen = json.dumps({name.decode(): value.decode() for name, value in exchange.headers.items()})
        told = [(b"x-seen", seen.encode()), (b"x-target", exchange.target)]
        identity = exchange.headers.get(b"x-request-id")
        exchange.reply(200, body, b"text/plain", told if identity is None else [*told, (b"x-request-id", identity)])

    exchange.collect(answer)


async def test_a_request_and_its_answer(pair: Pair) -> None:
    peers = await pair(echo)
    answer = await peers.ask(b"body", fields=[(b"Host", b"a"), (b"x-b", b"1"), (b"x-b", b"2")]).done()
    fields = dict(answer.fields)
    assert (answer.status, answer.body, answer.in_one_piece) == (200, b"body", True)
    assert fields[b"content-type"] == b"text/plain"
    assert fields[b"x-request-id"] == b"id-1"
    assert fields[b"x-target"] == b"/x?a=1"
    assert json.loads(fields[b"x-seen"]) == {
        "host": "a",
        "x-b": "1, 2",
        "x-request-id": "id-1",
        "content-length": "4",
    }


async def test_the_exchange_says_what_it_does_over_http(pair: Pair) -> None:
    seen: list[Exchange] = []
    peers = await pair(lambda exchange: (seen.append(exchange), exchange.reply(204))[1])
    await peers.ask(method=b"GET").done()
    (exchange,) = seen
    assert (exchange.method, exchange.path, exchange.query) == (b"GET", b"/x", b"a=1")
    assert list(exchange.raw_headers) == [(b"host", b"a.example.com"), (b"x-request-id", b"id-1")]
    assert (exchange.peer, exchange.secure, exchange.length) == (None, False, 0)


@pytest.mark.parametrize("size", SIZES)
async def test_bodies_of_all_sizes_both_ways(pair: Pair, size: int) -> None:
    peers = await pair(echo)
    body = bytes(range(256)) * (size // 256 + 1)
    answer = await peers.ask(body[:size]).done()
    assert answer.body == body[:size]
    assert json.loads(dict(answer.fields)[b"x-seen"])["content-length"] == str(size)


@pytest.mark.parametrize("length", [None, 3 * WINDOW])
async def test_streamed_both_ways(pair: Pair, length: int | None) -> None:
    def app(exchange: Exchange) -> None:
        exchange.start(200, length=exchange.length)
        exchange.stream(exchange.write, lambda: exchange.finish([(b"x-sum", b"7")]))

    peers = await pair(app)
    receiver = Recorder()
    head = peers.upstream.head(b"POST", b"/", [], length)
    call = peers.upstream.begin(b"POST", head, b"id", length, receiver=receiver)
    for part in range(3):
        call.write(bytes([part]) * WINDOW)
        await until(lambda part=part: len(receiver.body) == WINDOW * (part + 1))  # type: ignore[misc]
    call.finish()
    await receiver.done()
    assert receiver.body == b"".join(bytes([part]) * WINDOW for part in range(3))
    assert dict(receiver.fields).get(b"content-length") == (None if length is None else b"%d" % length)
    assert list(receiver.trailers) == [(b"x-sum", b"7")]


async def test_trailers_of_a_whole_answer_come_with_it(pair: Pair) -> None:
    peers = await pair(lambda exchange: exchange.reply(200, b"m", b"application/grpc", (), [(b"grpc-status", b"0")]))
    for _ in range(2):
        answer = await peers.ask(b"q").done()
        assert answer.in_one_piece
        assert list(answer.trailers) == [(b"grpc-status", b"0")]
        assert answer.fields == [(b"content-type", b"application/grpc")]


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
async def test_answers_without_a_body(pair: Pair, method: bytes, status: int) -> None:
    peers = await pair(lambda exchange: exchange.reply(status, b"12345"))
    answer = await peers.ask(method=method).done()
    assert (answer.status, answer.body) == (status, b"")
    assert dict(answer.fields).get(b"content-length") == (b"5" if method == b"HEAD" else None)


async def test_a_thousand_at_once_come_back_to_whom_they_belong(pair: Pair) -> None:
    held: list[Exchange] = []
    peers = await pair(held.append)
    asked = [peers.ask(b"%d" % number, identity=b"i%d" % number) for number in range(1000)]
    await until(lambda: len(held) == 1000)
    assert peers.server.connections == 1
    for exchange in reversed(held):
        exchange.collect(partial(exchange.reply, 200))
    for number, receiver in enumerate(asked):
        assert (await receiver.done()).body == b"%d" % number
    assert peers.server.active == 0


async def test_more_heads_than_are_remembered(pair: Pair) -> None:
    peers = await pair(echo)
    for _ in range(2):
        asked = [(number, peers.ask(target=b"/%d" % number)) for number in range(1500)]
        for number, receiver in asked:
            assert dict((await receiver.done()).fields)[b"x-target"] == b"/%d" % number


async def test_an_id_that_is_too_long_to_travel_apart(pair: Pair) -> None:
    peers = await pair(echo)
    answer = await peers.ask(b"", identity=b"i" * 1000).done()
    assert dict(answer.fields)[b"x-request-id"] == b"i" * 1000


async def test_a_memo_stays_with_the_head(pair: Pair) -> None:
    made: list[int] = []

    def app(exchange: Exchange) -> None:
        if exchange.memo is None:
            made.append(1)
            exchange.memo = b"kept"
        exchange.reply(200, exchange.memo)

    peers = await pair(app)
    for number in range(3):
        assert (await peers.ask(b"%d" % number, identity=b"%d" % number).done()).body == b"kept"
    assert made == [1]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_over_the_limit(pair: Pair, announced: bool) -> None:
    left: list[str] = []
    peers = await pair(lambda exchange: exchange.on_disconnect(lambda: left.append("x")), Limits(body_bytes=100_000))
    receiver = Recorder()
    length = 100_001 if announced else None
    call = peers.upstream.begin(b"POST", peers.upstream.head(b"POST", b"/", [], length), b"", length, receiver=receiver)
    call.write(b"x" * 100_001)
    await receiver.done()
    assert receiver.status == 413
    assert b"100000" in receiver.body
    assert left == ([] if announced else ["x"])
    await until(lambda: peers.server.active == 0)


async def test_an_application_that_raises(pair: Pair) -> None:
    def app(exchange: Exchange) -> None:
        if exchange.path == b"/started":
            exchange.start(200)
        raise RuntimeError("secret")

    peers = await pair(app)
    answer = await peers.ask().done()
    assert answer.status == 500
    assert b"secret" not in answer.body
    cut = await peers.ask(target=b"/started").done()
    assert cut.failure is not None
    assert peers.server.active == 0


@pytest.mark.parametrize("field", [(b"x", b"a\r\nb"), (b"x\n", b"a"), (b"x", b"\0")])
async def test_no_field_ends_early(pair: Pair, field: Header) -> None:
    errors: list[Exception] = []

    def app(exchange: Exchange) -> None:
        try:
            exchange.reply(200, b"", headers=[field])
        except ValueError as error:
            errors.append(error)
            exchange.reply(200, b"second")

    peers = await pair(app)
    assert (await peers.ask().done()).body == b"second"
    assert errors
    with pytest.raises(ValueError, match="CR, LF and NUL"):
        peers.ask(fields=[field])


async def test_a_short_answer_is_never_taken_for_a_whole_one(pair: Pair) -> None:
    def app(exchange: Exchange) -> None:
        exchange.start(200, length=10)
        exchange.write(b"12345")
        exchange.finish()

    peers = await pair(app)
    answer = await peers.ask().done()
    assert answer.failure is not None
    assert answer.failure[1] is True


async def test_http_goes_on_beside_it(pair: Pair) -> None:
    peers = await pair(echo)
    reader, writer = await asyncio.open_unix_connection(peers.path)
    writer.write(b"POST /h HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nab")
    assert (await peers.ask(b"framed").done()).body == b"framed"
    assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
    writer.close()


async def slowly_read(peers: Peers) -> tuple[Recorder, Recorder]:
    """One call that is paused, and one after it."""
    first = Recorder()
    head = peers.upstream.head(b"GET", b"/big", [], 0)
    call = peers.upstream.send(b"GET", head, b"", b"", receiver=first)
    call.pause()
    await until(lambda: len(first.body) >= WINDOW)
    second = await peers.ask(b"quick").done()
    assert len(first.body) == WINDOW
    call.resume()
    return first, second


async def test_a_slow_reader_stops_its_own_answer_only(pair: Pair) -> None:
    flow: list[str] = []

    def app(exchange: Exchange) -> None:
        if exchange.path == b"/big":
            exchange.on_writable(lambda: flow.append("pause"), lambda: flow.append("resume"))
            exchange.reply(200, b"b" * (4 * WINDOW))
        else:
            exchange.collect(partial(exchange.reply, 200))

    peers = await pair(app)
    first, second = await slowly_read(peers)
    assert second.body == b"quick"
    await first.done()
    assert first.body == b"b" * (4 * WINDOW)


async def test_drain_waits_for_the_reader(pair: Pair) -> None:
    written: list[int] = []

    async def produce(exchange: Exchange) -> None:
        exchange.start(200)
        for number in range(16):
            exchange.write(b"p" * (WINDOW // 4))
            await exchange.drain()
            written.append(number)
        exchange.finish()

    tasks: list[asyncio.Task[None]] = []

    def app(exchange: Exchange) -> None:
        if exchange.path == b"/big":
            tasks.append(asyncio.get_running_loop().create_task(produce(exchange)))
        else:
            exchange.collect(partial(exchange.reply, 200))

    peers = await pair(app)
    first, _ = await slowly_read(peers)
    assert len((await first.done()).body) == 4 * WINDOW
    assert written == list(range(16))


async def test_a_slow_application_stops_its_own_request_only(pair: Pair) -> None:
    held: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        if exchange.path == b"/slow":
            held.append(exchange)
        else:
            exchange.collect(partial(exchange.reply, 200))

    peers = await pair(app)
    receiver = Recorder()
    flow: list[str] = []
    head = peers.upstream.head(b"POST", b"/slow", [], None)
    call = peers.upstream.begin(b"POST", head, b"", None, receiver=receiver)
    call.on_writable(lambda: flow.append("pause"), lambda: flow.append("resume"))
    for _ in range(8):
        call.write(b"w" * (WINDOW // 2))
    assert flow == ["pause"]
    assert (await peers.ask(b"quick").done()).body == b"quick"
    assert held[0].size <= WINDOW
    held[0].collect(lambda body: held[0].reply(200, b"%d" % len(body)))
    await until(lambda: flow == ["pause", "resume"])
    call.finish()
    assert (await receiver.done()).body == b"%d" % (4 * WINDOW)
