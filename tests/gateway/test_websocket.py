"""WebSocket through the gateway, spoken at both ends by another project's library (wsproto)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from time import monotonic

import pytest
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    RejectConnection,
    Request,
    TextMessage,
)

from colonnade.gateway.balance import Balancer
from colonnade.gateway.breaker import State
from colonnade.gateway.guard import Policy
from colonnade.net import Exchange

from .conftest import HOST, LABELS, Running, Serve, iris, until

DEADLINE = 5.0


class Socket:
    """One end of a WebSocket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kind: ConnectionType) -> None:
        self.reader = reader
        self.writer = writer
        self.connection = WSConnection(kind)
        self.events: list[Event] = []

    def send(self, event: Event) -> None:
        self.writer.write(self.connection.send(event))

    async def event(self) -> Event:
        while not self.events:
            async with asyncio.timeout(DEADLINE):
                data = await self.reader.read(65536)
            if not data:
                raise ConnectionResetError
            self.connection.receive_data(data)
            self.events.extend(self.connection.events())
        return self.events.pop(0)

    async def rest(self) -> int:
        """Bytes of the messages up to the end of the connection."""
        size = 0
        try:
            while True:
                event = await self.event()
                size += len(event.data) if isinstance(event, (BytesMessage, TextMessage)) else 0
        except ConnectionError:
            return size


class Upstream:
    """A foreign server: echoes messages, and refuses at `/no`."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.ended = 0
        self.reading = asyncio.Event()
        self.reading.set()
        self.tasks: set[asyncio.Task[None]] = set()

    def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.create_task(self._serve(Socket(reader, writer, ConnectionType.SERVER))))

    async def _serve(self, ws: Socket) -> None:
        try:
            while True:
                await self.reading.wait()
                match await ws.event():
                    case Request() as request:
                        self.asked.append(request)
                        if request.target.endswith("/no"):
                            ws.send(RejectConnection(status_code=403, headers=[(b"x-why", b"no")]))
                            break
                        ws.send(AcceptConnection(subprotocol="chat"))
                        ws.send(TextMessage("hello"))  # right behind the handshake
                    case TextMessage(data=data):
                        ws.send(TextMessage(data.upper()))
                    case BytesMessage(data=data):
                        ws.send(BytesMessage(bytes(data)))
                        await ws.writer.drain()
                    case CloseConnection() as close:
                        ws.send(close.response())
                        break
        except ConnectionError:
            pass
        finally:
            self.ended += 1
            ws.writer.close()


@pytest.fixture
async def upstream(running: Running) -> AsyncIterator[Upstream]:
    upstream = Upstream()
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.start_unix_server(upstream, f"{folder}/s")
        running.route(iris(f"unix:{folder}/s"))
        yield upstream
        server.close()
        for task in upstream.tasks:
            task.cancel()


async def open_socket(running: Running, path: str = "/chat?x=1") -> Socket:
    ws = Socket(*await running.connect(), ConnectionType.CLIENT)
    ws.send(Request(host=HOST, target=path, subprotocols=["chat"], extra_headers=[(b"x-mine", b"1")]))
    return ws


async def test_messages_pass_both_ways(running: Running, upstream: Upstream) -> None:
    ws = await open_socket(running)
    accepted = await ws.event()
    assert isinstance(accepted, AcceptConnection)
    assert accepted.subprotocol == "chat"
    assert (await ws.event()).data == "hello"
    for text in ("one", "two"):
        ws.send(TextMessage(text))
        assert (await ws.event()).data == text.upper()
    assert running.revision.balancer.members[0].load.outstanding == 1
    ws.send(CloseConnection(code=1000))
    assert isinstance(await ws.event(), CloseConnection)
    await until(lambda: upstream.ended == 1)
    await until(lambda: running.revision.balancer.members[0].load.outstanding == 0)
    (request,) = upstream.asked
    assert request.target == "/chat?x=1"
    headers = dict(request.extra_headers)
    assert headers[b"x-mine"] == b"1"
    assert headers[b"x-forwarded-for"] == b"127.0.0.1"
    assert b"x-request-id" in headers
    numbers = await running.metrics()
    assert numbers['colonnade_gateway_in_flight{protocol="http"}'] == 0


async def test_messages_may_come_right_behind_the_handshake(running: Running, upstream: Upstream) -> None:
    ws = Socket(*await running.connect(), ConnectionType.CLIENT)
    handshake = ws.connection.send(Request(host=HOST, target="/chat", subprotocols=["chat"]))
    early = b"\x81\x85\0\0\0\0early"  # the library would wait for the answer
    ws.writer.write(handshake + early)
    await asyncio.sleep(0)
    ws.writer.write(early)
    assert isinstance(await ws.event(), AcceptConnection)
    assert [(await ws.event()).data for _ in range(3)] == ["hello", "EARLY", "EARLY"]
    ws.writer.transport.abort()
    await until(lambda: upstream.ended == 1)


async def test_a_refusal_comes_back(running: Running, upstream: Upstream) -> None:
    ws = await open_socket(running, "/no")
    refused = await ws.event()
    assert isinstance(refused, RejectConnection)
    assert refused.status_code == 403
    assert (b"x-why", b"no") in refused.headers


async def test_either_side_that_leaves_ends_the_other(running: Running, upstream: Upstream) -> None:
    ws = await open_socket(running)
    await ws.event()
    ws.writer.transport.abort()
    await until(lambda: upstream.ended == 1)
    ws = await open_socket(running)
    await ws.event()
    for task in upstream.tasks:
        task.cancel()
    assert await ws.rest() == len("hello")


async def test_a_client_that_leaves_during_the_handshake(running: Running, upstream: Upstream) -> None:
    upstream.reading.clear()
    ws = await open_socket(running)
    member = running.revision.balancer.members[0]
    await until(lambda: member.load.outstanding == 1)
    ws.writer.transport.abort()
    await until(lambda: member.load.outstanding == 0)


async def test_a_handshake_has_the_route_s_time(running: Running, upstream: Upstream) -> None:
    revision = running.revision
    running.route(iris(revision.route.backends[0].http, timeout=0.2))
    upstream.reading.clear()
    refused = await (await open_socket(running)).event()
    assert isinstance(refused, RejectConnection)
    assert refused.status_code == 504
    assert revision.balancer.members[0].load.outstanding == 0


async def test_a_side_that_does_not_read_stops_the_other(running: Running, upstream: Upstream) -> None:
    ws = await open_socket(running)
    await ws.event()
    await ws.event()
    upstream.reading.clear()
    message = b"x" * (1 << 20)
    for _ in range(64):
        ws.send(BytesMessage(message))
    left: list[int] = []

    def settled() -> bool:
        left.append(ws.writer.transport.get_write_buffer_size())
        return len(left) > 20 and len(set(left[-20:])) == 1

    await until(settled)
    assert left[-1] > 32 << 20, "the rest waits at the client"
    upstream.reading.set()
    received = 0
    while received < 64 << 20:
        received += len((await ws.event()).data)


async def test_no_server_there(running: Running) -> None:
    running.route(iris("unix:/nowhere/s"))
    ws = await open_socket(running)
    refused = await ws.event()
    assert isinstance(refused, RejectConnection)
    assert refused.status_code == 502


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_what_is_no_handshake_is_forwarded(running: Running, serve: Serve, method: str) -> None:
    """Other upgrades are declined: the answer comes in HTTP/1.1 and the connection goes on."""

    def app(exchange: Exchange) -> None:
        exchange.collect(lambda body: exchange.reply(200, exchange.method + body))

    running.route(iris(await serve(app)))
    reader, writer = await running.connect()
    token = "h2c" if method == "GET" else "websocket"
    body = b"" if method == "GET" else b"abc"
    for _ in range(2):
        head = f"{method} / HTTP/1.1\r\nhost: {HOST}\r\nconnection: upgrade\r\nupgrade: {token}\r\n"
        writer.write(head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body))
        async with asyncio.timeout(DEADLINE):
            answer = await reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert await reader.readexactly(len(method) + len(body)) == method.encode() + body
    writer.close()


async def test_the_guard_hears_of_handshakes(running: Running, upstream: Upstream) -> None:
    revision = running.revision
    good = revision.route.backends[0].http
    running.route(iris("unix:/nowhere/s", policy=Policy(breaker_after=2)))
    for _ in range(2):
        await (await open_socket(running)).event()
    assert revision.guard.state is State.OPEN
    refused = await (await open_socket(running)).event()
    assert isinstance(refused, RejectConnection)
    assert refused.status_code == 503
    running.route(iris(good, policy=Policy(breaker_after=2)))
    revision.guard.gave_up(monotonic())
    ws = await open_socket(running)
    assert isinstance(await ws.event(), AcceptConnection)
    revision.guard.gave_up(monotonic())
    assert revision.guard.state is State.CLOSED, "the failures are not in a row"


async def test_a_handshake_without_a_replica_is_counted(running: Running, upstream: Upstream) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Balancer, "pick", lambda *_: None)
        refused = await (await open_socket(running)).event()
    assert isinstance(refused, RejectConnection)
    assert refused.status_code == 503
    labels = f'{LABELS},protocol="http",code="5xx"'
    assert (await running.metrics())[f"colonnade_gateway_requests_total{{{labels}}}"] == 1
