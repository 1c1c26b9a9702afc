"""The client against servers that behave, that are foreign, and that misbehave byte by byte."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from colonnade.errors import BadUpstream, DeadlineExceeded, Unavailable
from colonnade.net import Address, Exchange, Header, HttpServer, Upstream

from .conftest import Serve
from .raw import echo, until

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Recorder:
    """Receiver that keeps what it was told."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: list[Header] = []
        self.parts: list[bytes] = []
        self.ended = 0
        self.failures: list[tuple[Exception, bool]] = []

    def head(self, status: int, headers: list[Header]) -> None:
        self.status, self.headers = status, headers

    def chunk(self, data: bytes) -> None:
        self.parts.append(data)

    def end(self, trailers: Sequence[Header] = ()) -> None:
        self.ended += 1

    def failed(self, error: Exception, sent: bool) -> None:
        self.failures.append((error, sent))

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    async def over(self) -> Recorder:
        await until(lambda: self.ended + len(self.failures) > 0)
        await asyncio.sleep(0)
        assert self.ended + len(self.failures) == 1
        return self


@pytest.fixture
async def scripted() -> AsyncIterator[Callable[[Peer], Awaitable[Upstream]]]:
    """An upstream whose peer is a coroutine of the test, one run per connection."""
    closing: list[tuple[asyncio.Server, Upstream]] = []

    async def start(peer: Peer) -> Upstream:
        async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await peer(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(run, "127.0.0.1", 0)
        upstream = Upstream(Address("127.0.0.1", server.sockets[0].getsockname()[1]))
        closing.append((server, upstream))
        return upstream

    yield start
    for server, upstream in closing:
        upstream.close()
        server.close()


def answering(*answers: bytes, requests: list[bytes] | None = None) -> Peer:
    """A peer that reads heads and gives these answers, then closes."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            head = await reader.readuntil(b"\r\n\r\n")
            if requests is not None:
                requests.append(head)
            writer.write(answer)
            await writer.drain()

    return peer


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

ANSWERS = [
    ("length", "GET", OK, 200, b"ok"),
    (
        "chunks",
        "GET",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1;a=b\r\nk\r\n0\r\nT: 1\r\n\r\n",
        200,
        b"ok",
    ),
    ("until close", "GET", b"HTTP/1.1 200 OK\r\n\r\nok", 200, b"ok"),
    ("http/1.0", "GET", b"HTTP/1.0 200 OK\r\n\r\nok", 200, b"ok"),
    (
        "informational",
        "GET",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK,
        200,
        b"ok",
    ),
    ("no content", "DELETE", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
    ("not modified", "GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    ("head", "HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, b""),
    ("head, chunked", "HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, b""),
    ("no reason phrase", "GET", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
]


@pytest.mark.parametrize(
    ("method", "answer", "status", "body"), [case[1:] for case in ANSWERS], ids=[case[0] for case in ANSWERS]
)
async def test_answers(
    scripted: Callable[[Peer], Awaitable[Upstream]], method: str, answer: bytes, status: int, body: bytes
) -> None:
    upstream = await scripted(answering(answer))
    response = await upstream.fetch(method, "/")
    assert (response.status, response.body) == (status, body)
    await until(lambda: upstream.open == 0)
    assert upstream.idle == 0


BROKEN = [
    ("closes at once", b""),
    ("half a head", b"HTTP/1.1 200 OK\r\nContent-"),
    ("half a body", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
    ("half a chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
    ("no last chunk", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"),
    ("not http", b"SSH-2.0-OpenSSH_9.0\r\n"),
    ("length and chunked", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("endless head", b"HTTP/1.1 200 OK\r\nA: " + b"b" * 1_000_000),
    ("endless fields", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 100_000),
    ("endless trailer", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"b" * 1_000_000),
    ("endless trailers", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 100_000),
    ("switches protocols", b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
]


@pytest.mark.parametrize("answer", [case[1] for case in BROKEN], ids=[case[0] for case in BROKEN])
async def test_broken_answers_fail(scripted: Callable[[Peer], Awaitable[Upstream]], answer: bytes) -> None:
    upstream = await scripted(answering(answer))
    recorder = Recorder()
    upstream.request(b"POST", b"/", (), b"x", receiver=recorder)
    [(error, sent)] = (await recorder.over()).failures
    assert isinstance(error, BadUpstream)
    assert sent
    assert upstream.open == 0


async def test_nobody_listens(socket_path: str) -> None:
    for address in (Address(path=socket_path), Address("127.0.0.1", 1)):
        upstream = Upstream(address)
        recorder = Recorder()
        upstream.request(b"GET", b"/", (), b"", receiver=recorder)
        [(error, sent)] = (await recorder.over()).failures
        assert isinstance(error, Unavailable)
        assert not sent
        assert socket_path not in str(error)
        upstream.close()


async def test_connections_are_reused(serve: Serve) -> None:
    upstream = Upstream(Address("127.0.0.1", await serve(echo)))
    for index in range(20):
        method = ("POST", "HEAD", "PUT")[index % 3]
        response = await upstream.fetch(method, f"/{index}", body=b"abc")
        assert response.body == (b"" if method == "HEAD" else b"abc")
        assert (b"x-seen", b"%b /%d?" % (method.encode(), index)) in response.headers
        assert (upstream.open, upstream.idle) == (1, 1)
    upstream.close()


async def test_the_pool_is_bounded(serve: Serve) -> None:
    upstream = Upstream(Address("127.0.0.1", await serve(echo)), max_idle=3)
    answers = await asyncio.gather(*(upstream.fetch("GET", "/") for _ in range(10)))
    assert [answer.status for answer in answers] == [200] * 10
    await until(lambda: upstream.open == 3)
    assert upstream.idle == 3
    upstream.close()
    await until(lambda: upstream.open == 0)


async def test_unused_connections_are_closed_after_a_while(serve: Serve) -> None:
    upstream = Upstream(Address("127.0.0.1", await serve(echo)), idle_timeout=0.05)
    await upstream.fetch("GET", "/")
    assert upstream.idle == 1
    await until(lambda: upstream.open == 0)
    upstream.close()


async def test_a_connection_that_the_peer_closes_leaves_the_pool(serve: Serve, servers: list[HttpServer]) -> None:
    upstream = Upstream(Address("127.0.0.1", await serve(echo)))
    await upstream.fetch("GET", "/")
    await servers[0].drain(1.0)
    await until(lambda: upstream.idle == 0)
    upstream.close()


def closing_on_second(requests: list[bytes]) -> Peer:
    """A peer that answers the first request of a connection and closes on the second one, unanswered."""

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        requests.append(await reader.readuntil(b"\r\n\r\n"))

    return peer


async def test_a_stale_connection_is_hidden_from_a_request_that_may_be_repeated(
    scripted: Callable[[Peer], Awaitable[Upstream]],
) -> None:
    requests: list[bytes] = []
    upstream = await scripted(closing_on_second(requests))
    for _ in range(3):
        assert (await upstream.fetch("GET", "/")).body == b"ok"
    assert len(requests) == 5
    upstream.close()


async def test_a_stale_connection_is_told_to_a_request_that_may_not_be_repeated(
    scripted: Callable[[Peer], Awaitable[Upstream]],
) -> None:
    requests: list[bytes] = []
    upstream = await scripted(closing_on_second(requests))
    await upstream.fetch("POST", "/")
    recorder = Recorder()
    upstream.request(b"POST", b"/", (), b"", receiver=recorder)
    [(error, sent)] = (await recorder.over()).failures
    assert isinstance(error, BadUpstream)
    assert sent
    assert len(requests) == 2
    upstream.close()


async def test_a_close_that_the_loop_has_not_seen_costs_no_request(
    scripted: Callable[[Peer], Awaitable[Upstream]],
) -> None:
    closed = asyncio.Event()
    close = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await close.wait()
        writer.transport.abort()
        await asyncio.sleep(0)
        closed.set()

    upstream = await scripted(peer)
    await upstream.fetch("POST", "/")
    close.set()
    await closed.wait()
    assert (await upstream.fetch("POST", "/")).body == b"ok"


async def test_a_peer_that_says_more_than_asked_is_not_reused(scripted: Callable[[Peer], Awaitable[Upstream]]) -> None:
    upstream = await scripted(answering(OK + OK, OK))
    recorder = Recorder()
    upstream.request(b"GET", b"/", (), b"", receiver=recorder)
    [(error, _)] = (await recorder.over()).failures
    assert isinstance(error, BadUpstream)
    assert upstream.open == 0


async def test_an_unasked_answer_closes_an_unused_connection(scripted: Callable[[Peer], Awaitable[Upstream]]) -> None:
    go = asyncio.Event()

    async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await go.wait()
        writer.write(OK)
        await reader.read()

    upstream = await scripted(peer)
    await upstream.fetch("GET", "/")
    assert upstream.idle == 1
    go.set()
    await until(lambda: upstream.open == 0)


@pytest.mark.parametrize("length", [True, False])
async def test_streamed_requests(serve: Serve, length: bool) -> None:
    upstream = Upstream(Address("127.0.0.1", await serve(echo)))
    recorder = Recorder()
    headers = [(b"content-length", b"6")] if length else []
    call = upstream.request(b"POST", b"/", headers, None, receiver=recorder)
    call.write(b"abc")
    await until(lambda: upstream.open == 1)
    call.write(b"def")
    call.finish()
    await recorder.over()
    assert (recorder.status, recorder.body, upstream.idle) == (200, b"abcdef", 1)
    upstream.close()


async def test_streamed_requests_feel_back_pressure(serve: Serve) -> None:
    exchanges: list[Exchange] = []
    upstream = Upstream(Address("127.0.0.1", await serve(exchanges.append)))
    recorder = Recorder()
    paused: list[bool] = []
    call = upstream.request(b"POST", b"/", (), None, receiver=recorder)
    call.on_writable(lambda: paused.append(True), paused.clear)
    sent = 0
    while sent < 50_000_000 and not (paused and exchanges):
        if not paused:
            call.write(bytes(100_000))
            sent += 100_000
        await asyncio.sleep(0)
    assert sent < 50_000_000
    exchanges[0].collect(lambda body: exchanges[0].reply(200, b"%d" % len(body)))
    await until(lambda: not paused)
    call.finish()
    assert (await recorder.over()).body == b"%d" % sent
    upstream.close()


async def test_reading_can_be_paused(serve: Serve) -> None:
    upstream = Upstream(Address("127.0.0.1", await serve(lambda exchange: exchange.reply(200, bytes(30_000_000)))))
    recorder = Recorder()
    call = upstream.request(b"GET", b"/", (), b"", receiver=recorder)
    call.pause()
    await until(lambda: upstream.open == 1)
    await asyncio.sleep(0.05)
    assert len(recorder.body) < 30_000_000
    call.resume()
    assert len((await recorder.over()).body) == 30_000_000
    upstream.close()


async def test_cancel_reaches_the_server_and_silences_the_receiver(serve: Serve) -> None:
    left: list[bool] = []
    upstream = Upstream(
        Address("127.0.0.1", await serve(lambda exchange: exchange.on_disconnect(lambda: left.append(True))))
    )
    recorder = Recorder()
    call = upstream.request(b"POST", b"/", (), b"", receiver=recorder)
    await until(lambda: upstream.open == 1)
    await asyncio.sleep(0.02)
    call.cancel()
    await until(lambda: left == [True])
    assert (recorder.ended, recorder.failures, upstream.open) == (0, [], 0)
    early = upstream.request(b"GET", b"/", (), b"", receiver=recorder)
    early.cancel()
    await until(lambda: upstream.idle == 1)
    assert (recorder.ended, recorder.failures) == (0, [])
    upstream.close()


async def test_fetch_times_out_and_frees_the_connection(serve: Serve) -> None:
    upstream = Upstream(Address("127.0.0.1", await serve(lambda exchange: None)))
    with pytest.raises(DeadlineExceeded, match=r"GET /slow within 0\.05 s"):
        await upstream.fetch("GET", "/slow", timeout=0.05)
    await until(lambda: upstream.open == 0)
    upstream.close()


async def test_closing_fails_calls_in_flight(serve: Serve) -> None:
    upstream = Upstream(Address("127.0.0.1", await serve(lambda exchange: None)))
    recorder, late = Recorder(), Recorder()
    upstream.request(b"POST", b"/", (), b"", receiver=recorder)
    await until(lambda: upstream.open == 1)
    upstream.close()
    assert (await recorder.over()).failures[0][1]
    upstream.request(b"GET", b"/", (), b"", receiver=late)
    assert not (await late.over()).failures[0][1]


async def test_the_request_as_sent(scripted: Callable[[Peer], Awaitable[Upstream]]) -> None:
    requests: list[bytes] = []
    upstream = await scripted(answering(OK, OK, requests=requests))
    fields = [
        (b"Host", b"a.b"),
        (b"Transfer-Encoding", b"x"),
        (b"Connection", b"x"),
        (b"Expect", b"100-continue"),
        (b"A", b"b"),
    ]
    await upstream.fetch("POST", "/a?b", fields, b"")
    await upstream.fetch("GET", "/")
    assert requests[0] == b"POST /a?b HTTP/1.1\r\nHost: a.b\r\nA: b\r\ncontent-length: 0\r\n\r\n"
    assert requests[1] == b"GET / HTTP/1.1\r\nhost: %b\r\n\r\n" % str(upstream.address).encode()


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        (b"GET", b"/a b", ()),
        (b"GET", b"/\r\nx: y", ()),
        (b"GE T", b"/", ()),
        (b"GET", b"", ()),
        (b"GET", b"/", [(b"a", b"b\nc")]),
    ],
)
async def test_request_injection_is_refused(method: bytes, target: bytes, headers: list[Header]) -> None:
    upstream = Upstream(Address("127.0.0.1", 1))
    with pytest.raises(ValueError):
        upstream.request(method, target, headers, b"", receiver=Recorder())


async def test_unix_socket(servers: list[HttpServer], socket_path: str) -> None:
    server = HttpServer(echo)
    servers.append(server)
    await server.listen_unix(socket_path)
    upstream = Upstream(Address.parse(f"unix:{socket_path}"))
    assert (await upstream.fetch("POST", "/", body=bytes(1_000_000))).body == bytes(1_000_000)
    upstream.close()


class Foreign(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"until close")
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


async def test_a_foreign_server() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            upstream = Upstream(Address("127.0.0.1", server.server_port))
            for _ in range(3):
                response = await upstream.fetch("POST", "/", body=b"abc" * 1000)
                assert (response.status, response.body, upstream.open) == (201, b"abc" * 1000, 1)
            assert (await upstream.fetch("GET", "/")).body == b"until close"
            upstream.close()
            await until(lambda: upstream.open == 0)
        finally:
            server.shutdown()
            thread.join()
