"""The HTTP/2 client against our own server and against peers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial

import pytest

from colonnade.net import Address, Exchange, Header, HttpServer
from colonnade.net.http2 import Http2Upstream
from colonnade.net.http2.connection import MAX_STREAMS

from ..conftest import Serve
from ..raw import echo, until


class Recorder:
    """A receiver that keeps what it was told."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.body = b""
        self.trailers: Sequence[Header] | None = None
        self.error: Exception | None = None
        self.sent: bool | None = None

    @property
    def over(self) -> bool:
        return self.trailers is not None or self.error is not None

    def head(self, status: int, headers: list[Header]) -> None:
        self.status, self.headers = status, headers

    def chunk(self, data: bytes) -> None:
        self.body += data

    def end(self, trailers: Sequence[Header] = ()) -> None:
        self.trailers = trailers

    def failed(self, error: Exception, sent: bool) -> None:
        self.error, self.sent = error, sent


@pytest.fixture
async def upstreams() -> AsyncIterator[list[Http2Upstream]]:
    made: list[Http2Upstream] = []
    yield made
    for upstream in made:
        upstream.close()


def to(port: int, upstreams: list[Http2Upstream]) -> Http2Upstream:
    upstreams.append(Http2Upstream(Address("127.0.0.1", port)))
    return upstreams[-1]


def post(upstream: Http2Upstream, body: bytes, path: bytes = b"/p") -> Recorder:
    recorder = Recorder()
    head = upstream.head(b"POST", path, [(b"host", b"svc"), (b"a", b"b")], None)
    upstream.send(b"POST", head, b"id-1", body, receiver=recorder)
    return recorder


@pytest.mark.parametrize("size", [0, 10, 3_000_000])
async def test_whole_requests(serve2: Serve, upstreams: list[Http2Upstream], size: int) -> None:
    upstream = to(await serve2(echo), upstreams)
    answers = [post(upstream, b"x" * size) for _ in range(3)]
    await until(lambda: all(answer.over for answer in answers))
    for answer in answers:
        assert (answer.status, len(answer.body), answer.error) == (200, size, None)
        assert dict(answer.headers)[b"x-seen"] == b"POST /p?"


async def test_streams_both_ways_with_trailers(serve2: Serve, upstreams: list[Http2Upstream]) -> None:
    def app(exchange: Exchange) -> None:
        assert exchange.headers[b"host"] == b"svc"
        assert exchange.headers[b"x-request-id"] == b"id"
        exchange.start(200)
        exchange.stream(exchange.write, lambda: exchange.finish([(b"grpc-status", b"0")]))

    upstream = to(await serve2(app), upstreams)
    recorder = Recorder()
    head = upstream.head(b"POST", b"/", [(b"host", b"svc")], None)
    call = upstream.begin(b"POST", head, b"id", None, receiver=recorder)
    call.write(b"early")  # before the connection is there
    await until(lambda: recorder.body == b"early")
    call.write(b",late")
    await until(lambda: recorder.body == b"early,late")
    call.finish()
    await until(lambda: recorder.over)
    assert recorder.trailers == [(b"grpc-status", b"0")]


@pytest.mark.parametrize("body", [b"", b"x" * 10, b"x" * 3_000_000])
async def test_trailers_of_a_request(serve2: Serve, upstreams: list[Http2Upstream], body: bytes) -> None:
    def app(exchange: Exchange) -> None:
        exchange.collect(lambda came: exchange.reply(200, b"%d" % len(came), headers=exchange.trailers))

    upstream = to(await serve2(app), upstreams)
    early, later = Recorder(), Recorder()  # before there is a connection, and on it
    for recorder in (early, later):
        call = upstream.begin(b"POST", upstream.head(b"POST", b"/", [], None), b"i", None, receiver=recorder)
        call.write(body)
        call.finish([(b"x-sum", b"9"), (b"X-More", b"a")])
        await until(partial(getattr, recorder, "over"))
        assert recorder.body == b"%d" % len(body)
        assert {(b"x-sum", b"9"), (b"x-more", b"a")} <= set(recorder.headers)


async def test_back_pressure_on_the_request(serve2: Serve, upstreams: list[Http2Upstream]) -> None:
    seen: list[Exchange] = []
    upstream = to(await serve2(seen.append), upstreams)
    told: list[str] = []
    recorder = Recorder()
    call = upstream.begin(b"POST", upstream.head(b"POST", b"/", [], None), b"i", None, receiver=recorder)
    call.on_writable(lambda: told.append("pause"), lambda: told.append("resume"))
    for _ in range(40):
        call.write(b"x" * 100_000)
    await until(lambda: bool(seen) and told == ["pause"])
    sizes: list[int] = []
    seen[0].stream(lambda part: sizes.append(len(part)), lambda: seen[0].reply(200, b"ok"))
    await until(lambda: told == ["pause", "resume"])
    call.finish()
    await until(lambda: recorder.over)
    assert sum(sizes) == 4_000_000


async def test_back_pressure_on_the_answer(serve2: Serve, upstreams: list[Http2Upstream]) -> None:
    upstream = to(await serve2(lambda exchange: exchange.reply(200, b"x" * 5_000_000)), upstreams)
    recorder = Recorder()
    call = upstream.send(b"GET", upstream.head(b"GET", b"/", [], 0), b"i", b"", receiver=recorder)
    call.pause()
    await until(lambda: len(recorder.body) >= 1 << 20)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(recorder.body) < 2 << 20
    call.resume()
    await until(lambda: recorder.over)
    assert len(recorder.body) == 5_000_000


async def test_cancel_reaches_the_server(serve2: Serve, upstreams: list[Http2Upstream]) -> None:
    seen: list[Exchange] = []
    left: list[int] = []

    def app(exchange: Exchange) -> None:
        seen.append(exchange)
        exchange.on_disconnect(lambda: left.append(1))

    upstream = to(await serve2(app), upstreams)
    recorder = Recorder()
    call = upstream.send(b"GET", upstream.head(b"GET", b"/", [], 0), b"i", b"", receiver=recorder)
    await until(lambda: len(seen) == 1)
    call.cancel()
    await until(lambda: left == [1])
    assert not recorder.over


async def test_what_the_peer_does_not_take_yet_waits(serve2: Serve, upstreams: list[Http2Upstream]) -> None:
    seen: list[Exchange] = []
    upstream = to(await serve2(seen.append), upstreams)
    answers = [post(upstream, b"%d" % i) for i in range(MAX_STREAMS + 50)]
    await until(lambda: len(seen) == MAX_STREAMS)
    for exchange in list(seen):
        exchange.reply(200, b"ok")
    await until(lambda: len(seen) == MAX_STREAMS + 50)
    for exchange in seen[MAX_STREAMS:]:
        exchange.reply(200, b"ok")
    await until(lambda: all(answer.over for answer in answers))
    assert {answer.status for answer in answers} == {200}


async def test_a_peer_that_drains_and_one_that_is_gone(
    serve2: Serve, servers: list[HttpServer], upstreams: list[Http2Upstream]
) -> None:
    seen: list[Exchange] = []
    upstream = to(await serve2(seen.append), upstreams)
    first = post(upstream, b"")
    await until(lambda: len(seen) == 1)
    ending = asyncio.create_task(servers[0].drain(5.0))
    await until(lambda: servers[0].draining)
    seen[0].reply(200, b"last")
    await until(lambda: first.over)
    await ending
    assert first.body == b"last"
    late = post(upstream, b"")
    await until(lambda: late.over)
    assert late.error is not None
    assert late.sent is False


async def test_a_peer_that_breaks_off(serve2: Serve, servers: list[HttpServer], upstreams: list[Http2Upstream]) -> None:
    def app(exchange: Exchange) -> None:
        if exchange.path == b"/half":
            exchange.start(200)
            exchange.write(b"half")
        exchange.abort()

    upstream = to(await serve2(app), upstreams)
    half, none = post(upstream, b"", b"/half"), post(upstream, b"")
    await until(lambda: half.over and none.over)
    assert "broke off its answer" in str(half.error)
    assert (half.sent, none.sent) == (True, True)


async def test_a_peer_that_speaks_no_http2(serve: Serve, upstreams: list[Http2Upstream]) -> None:
    answer = post(to(await serve(echo), upstreams), b"")
    await until(lambda: answer.over)
    assert answer.error is not None
