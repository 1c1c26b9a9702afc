"""Heads that come again: what is remembered must be what the parser says, in every case."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.errors import BadUpstream
from colonnade.net import Address, Exchange, Upstream
from colonnade.net.head_parse import RequestHead
from colonnade.net.known_heads import KnownHeads
from colonnade.net.limits import Limits
from colonnade.net.reader import RequestReader

from .conftest import Serve
from .raw import Client

HEAD = b"POST /a?q=1 HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nContent-Length: %d\r\n%b\r\n"


class Recorded:
    """Stands where the connection is: keeps what the reader makes of the bytes."""

    deaf = False
    begun = seen = 0.0

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.bodies: list[bytes] = []

    def arrived(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        self.bodies.append(b"")

    def body_part(self, exchange: Exchange, part: bytes) -> None:
        self.bodies[-1] += part

    def body_end(self, exchange: Exchange) -> None:
        exchange.received = True


def parsed(data: bytes, known: KnownHeads[RequestHead]) -> dict[str, Any]:
    """One request as the parser reads it; the head is learnt."""
    connection: Any = Recorded()
    RequestReader(connection, Limits(), known).read(data)
    (exchange,) = connection.exchanges
    return {**said(exchange), "body": connection.bodies[0]}


def said(exchange: Exchange) -> dict[str, Any]:
    names = ("method", "target", "path", "query", "headers", "raw_headers", "keep_alive", "length", "received")
    return {name: getattr(exchange, name) for name in names}


def remembered(data: bytes, known: KnownHeads[RequestHead]) -> dict[str, Any] | None:
    connection: Any = Recorded()
    exchange = RequestReader(connection, Limits(), known).known(data)
    if exchange is None:
        return None
    bodies: list[bytes] = []
    exchange.collect(bodies.append)
    return {**said(exchange), "body": bodies[0]}


def request(body: bytes, fields: bytes = b"") -> bytes:
    return HEAD % (len(body), fields) + body


NAMES = st.sampled_from([b"X-Request-ID", b"x-request-id", b"Accept", b"Connection", b"Cookie", b"X-B", b"Expect"])
VALUES = st.sampled_from([b"a-1", b"b2", b"", b"close", b"keep-alive", b"100-continue", b"x y", b" z", b"\xe4"])
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(
    lambda fields: b"".join(b"%b: %b\r\n" % field for field in fields)
)
BODIES = st.sampled_from([b"", b"{}", b"\r\n\r\n", b"x-request-id: 7\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"])


@settings(max_examples=300)
@given(FIELDS, FIELDS, BODIES, BODIES)
def test_the_memory_never_says_what_the_parser_would_not(first: bytes, second: bytes, one: bytes, two: bytes) -> None:
    known: KnownHeads[RequestHead] = KnownHeads()
    fresh: KnownHeads[RequestHead] = KnownHeads()
    try:
        parsed(request(one, first), known)
        expected = parsed(request(two, second), fresh)
    except Exception:
        return  # refused; what is known of other heads does not matter
    found = remembered(request(two, second), known)
    assert found is None or found == expected


@pytest.mark.parametrize("fields", [b"", b"x-request-id: abc-1\r\n", b"Connection: close\r\n"])
def test_a_head_that_comes_again_is_known(fields: bytes) -> None:
    known: KnownHeads[RequestHead] = KnownHeads()
    parsed(request(b"{}", fields), known)
    again = request(b"[]", fields.replace(b"abc-1", b"xyz-2"))
    assert remembered(again, known) == parsed(again, KnownHeads())


@pytest.mark.parametrize(
    "again",
    [
        request(b"{}")[:-1],  # the body is not complete
        request(b"{}") + b"G",  # the next request has begun
        request(b"{}")[:30],
        b"\r\n" + request(b"{}"),
        request(b"{}", b"x-request-id: a b\r\n"),
        request(b"{}", b"x-request-id: \r\n"),
        request(b"{}", b"x-request-id: a\r\nx: b\r\n"),
        request(b"{}", b"X-Request-ID: a\r\n"),
    ],
)
def test_all_that_is_partial_or_unusual_goes_to_the_parser(again: bytes) -> None:
    known: KnownHeads[RequestHead] = KnownHeads()
    parsed(request(b"{}"), known)
    assert remembered(request(b"{}"), known) is not None
    assert remembered(again, known) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n" + request(b"{}"),
        HEAD.replace(b"Content-Length: %d", b"Transfer-Encoding: chunked") % b"" + b"0\r\n\r\n",
        request(b"{}", b"Expect: 100-continue\r\n"),
        request(b"{}", b"X-Long: %b\r\n" % (b"a" * 3000)),
        request(b"{}", b"x-request-id: a\r\nx-request-id: b\r\n"),
    ],
)
def test_unusual_heads_are_not_remembered(data: bytes) -> None:
    known: KnownHeads[RequestHead] = KnownHeads()
    parsed(data, known)
    assert remembered(data, known) is None


def test_the_memory_is_bounded() -> None:
    known: KnownHeads[RequestHead] = KnownHeads()
    for number in range(3000):
        parsed(request(b"{}", b"X-N: %d\r\n" % number), known)
    assert len(known._heads) <= 1024


async def test_bodies_connections_and_ids_stay_apart(serve: Serve) -> None:
    """The same head many times over several connections, in one piece, in two, and pipelined."""

    def app(exchange: Exchange) -> None:
        headers = [(b"x-request-id", exchange.headers.get(b"x-request-id", b"none"))]
        exchange.collect(lambda body: exchange.reply(200, body, headers=headers))

    port = await serve(app)
    clients = [await Client.connect(port) for _ in range(3)]
    for turn in range(20):
        for number, client in enumerate(clients):
            body = b"%d-%d" % (number, turn % 10)
            data = request(body, b"x-request-id: id-%d-%d\r\n" % (number, turn))
            cut = len(data) // 2 if turn % 3 == 1 else len(data)
            client.send(data[:cut])
            client.send(data[cut:])
            if turn % 5 == 4:
                client.send(request(b"second"))
            answer = await client.answer("POST")
            assert (answer.status, answer.body) == (200, body)
            assert answer.headers[b"x-request-id"] == b"id-%d-%d" % (number, turn)
            if turn % 5 == 4:
                assert (await client.answer("POST")).body == b"second"


async def test_a_known_head_that_says_close_closes(serve: Serve) -> None:
    port = await serve(lambda exchange: exchange.collect(lambda body: exchange.reply(200, body)))
    for _ in range(3):
        client = await Client.connect(port)
        client.send(request(b"{}", b"Connection: close\r\n"))
        answer = await client.answer("POST")
        assert (answer.body, answer.headers[b"connection"]) == (b"{}", b"close")
        assert await client.reader.read() == b""


async def test_answers_with_known_heads_keep_their_bodies_and_ids(serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        headers = [(b"x-request-id", exchange.headers.get(b"x-request-id", b"none"))]
        status = 404 if exchange.path == b"/absent" else 200
        exchange.collect(lambda body: exchange.reply(status, body, headers=headers))

    upstream = Upstream(Address("127.0.0.1", await serve(app), None))
    try:
        for turn in range(30):
            identity = b"id-%d" % turn
            path, method = ("/absent" if turn % 3 == 0 else "/"), ("HEAD" if turn % 4 == 1 else "POST")
            answer = await upstream.fetch(method, path, [(b"x-request-id", identity)], b"%02d" % turn)
            assert answer.status == (404 if turn % 3 == 0 else 200)
            assert answer.body == (b"" if method == "HEAD" else b"%02d" % turn)
            fields = dict(answer.headers)
            assert (fields[b"x-request-id"], fields[b"content-length"]) == (identity, b"2")
        assert upstream.open == 1, "every answer left the connection usable"
    finally:
        upstream.close()


async def test_an_answer_with_a_known_head_and_bytes_behind_it_is_refused(serve: Serve) -> None:
    """What the peer sends beyond its answer must not become the next one."""
    answers = [b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok%b" % extra for extra in (b"", b"", b"HTTP/1.1 200 OK")]

    class Peer(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(answers.pop(0))

    server = await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", 0)
    upstream = Upstream(Address("127.0.0.1", server.sockets[0].getsockname()[1], None))
    try:
        for _ in range(2):
            assert (await upstream.fetch("GET", "/")).body == b"ok"
        with pytest.raises(BadUpstream):
            await upstream.fetch("GET", "/")
    finally:
        upstream.close()
        server.close()
