"""What breaks on either side of the gateway, and who notices."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from colonnade.errors import BadUpstream
from colonnade.gateway.way import Way
from colonnade.net import Exchange

from .conftest import HOST, LABELS, MUX, Running, Serve, iris, until

REPLICA = """
import asyncio, sys
from colonnade.net import HttpServer
def app(exchange):
    if exchange.path == b"/hold":
        open(sys.argv[1] + ".held", "w").close()
    elif exchange.path == b"/some":
        exchange.start(200); exchange.write(b"some")
    elif exchange.path == b"/short":
        exchange.start(200, length=1000); exchange.write(b"short")
    else:
        exchange.reply(200, sys.argv[1].encode())
async def main():
    await HttpServer(app).listen_unix(sys.argv[1])
    await asyncio.Event().wait()
asyncio.run(main())
"""


class Replica:
    """An upstream in a process of its own, to be killed."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.address = f"unix:{path}"
        self.process = subprocess.Popen([sys.executable, "-c", REPLICA, path])

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def holds(self) -> bool:
        return Path(self.path + ".held").exists()


Spawn = Callable[[], Replica]


@pytest.fixture
async def spawn() -> AsyncIterator[Spawn]:
    with tempfile.TemporaryDirectory() as folder:
        replicas: list[Replica] = []

        def starter() -> Replica:
            replicas.append(Replica(f"{folder}/{len(replicas)}"))
            return replicas[-1]

        yield starter
        for replica in replicas:
            replica.kill()


async def listening(*replicas: Replica) -> None:
    async with asyncio.timeout(10):
        for replica in replicas:
            while True:
                try:
                    _, writer = await asyncio.open_unix_connection(replica.path)
                    writer.close()
                    break
                except OSError:
                    await asyncio.sleep(0.01)


def refusing() -> str:
    """An address that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("size", [2, 3_000_000])
async def test_refused_connect_goes_to_another_replica(running: Running, serve: Serve, method: str, size: int) -> None:
    def app(exchange: Exchange) -> None:
        exchange.collect(lambda body: exchange.reply(200, b"%d" % len(body)))

    running.route(iris(refusing(), "unix:/nowhere/at/all", await serve(app)))
    for _ in range(3):
        answer = await running.fetch(method, "/x", b"x" * size)
        assert (answer.status, answer.body) == (200, b"%d" % size)
    numbers = await running.metrics()
    assert numbers[f"colonnade_gateway_retries_total{{{LABELS}}}"] >= 2


async def test_all_refuse(running: Running) -> None:
    running.route(iris(refusing(), refusing()))
    answer = await running.fetch("POST", "/x", b"{}")
    assert answer.status == 503
    assert dict(answer.headers)[b"retry-after"] == b"1"
    assert "safe to send it again" in json.loads(answer.body)["error"]
    assert "refused" not in json.loads(answer.body)["error"]


async def test_killed_replica_costs_the_post_on_it_and_no_get(running: Running, spawn: Spawn) -> None:
    first, second = spawn(), spawn()
    await listening(first, second)
    running.route(iris(first.address))
    post = asyncio.create_task(running.fetch("POST", "/hold", b"{}"))
    await until(lambda: first.holds)
    first.kill()
    answer = await post
    assert answer.status == 502
    assert "may have been executed" in json.loads(answer.body)["error"]
    running.route(iris(first.address, second.address))
    for _ in range(10):
        assert (await running.fetch("POST", "/x", b"{}")).body == second.path.encode()


async def test_get_in_flight_on_a_killed_replica_is_asked_of_another(running: Running, spawn: Spawn) -> None:
    first, second = spawn(), spawn()
    await listening(first, second)
    running.route(iris(first.address, second.address))
    gets = [asyncio.create_task(running.fetch("GET", "/hold")) for _ in range(2)]
    await until(lambda: first.holds and second.holds)
    first.kill()
    await until(lambda: running.revision.balancer.members[1].load.outstanding == 2)
    assert not any(get.done() for get in gets)
    second.kill()  # nobody is left
    assert [answer.status for answer in await asyncio.gather(*gets)] == [502, 502]


@pytest.mark.parametrize("path", ["/some", "/short"])
async def test_answer_that_breaks_off_never_looks_whole(running: Running, spawn: Spawn, path: str) -> None:
    replica = spawn()
    await listening(replica)
    running.route(iris(replica.address))
    reader, writer = await running.connect()
    writer.write(f"POST {path} HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
    if path == "/some":
        await reader.readuntil(b"some")
    else:
        await until(lambda: running.revision.balancer.members[0].load.outstanding == 1)
    replica.kill()
    rest = b""
    try:
        rest = await reader.read()
    except ConnectionResetError:
        pass
    if path == "/some":
        assert not rest.endswith(b"0\r\n\r\n")
    else:
        assert rest.startswith(b"HTTP/1.1 502"), "not a byte had been passed on, so the answer can still be honest"
    writer.close()


async def test_client_that_leaves_takes_its_request_along(running: Running, serve: Serve) -> None:
    held: list[Exchange] = []
    left: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        held.append(exchange)
        exchange.on_disconnect(lambda: left.append(exchange))
        if exchange.path == b"/started":
            exchange.start(200)
            exchange.write(b"some")

    running.route(iris(await serve(app)))
    for path in ("/waiting", "/started"):
        _, writer = await running.connect()
        writer.write(f"GET {path} HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
        await until(lambda: len(held) == len(left) + 1)
        writer.close()
        await until(lambda: len(held) == len(left))
    _, writer = await running.connect()
    writer.write(f"POST /upload HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 9000000\r\n\r\nabc".encode())
    await until(lambda: len(held) == 3)
    writer.close()
    await until(lambda: len(left) == 3)
    await until(lambda: running.revision.balancer.members[0].load.outstanding == 0)
    numbers = await running.metrics()
    assert numbers['colonnade_gateway_in_flight{protocol="http"}'] == 0
    assert numbers[f'colonnade_gateway_requests_total{{{LABELS},protocol="http",code="4xx"}}'] == 3


async def test_slow_reader_stops_the_replica(running: Running, serve: Serve) -> None:
    """What the client has not read waits in the replica, not here."""
    total = 200 << 20
    written = 0
    ended = asyncio.Event()

    def app(exchange: Exchange) -> None:
        async def produce() -> None:
            nonlocal written
            exchange.start(200, length=total)
            while written < total:
                exchange.write(b"x" * 65536)
                written += 65536
                await exchange.drain()
            exchange.finish()
            ended.set()

        tasks.append(asyncio.create_task(produce()))

    tasks: list[asyncio.Task[None]] = []
    running.route(iris(await serve(app)))
    reader, writer = await asyncio.open_connection(running.host, running.port, limit=1 << 16)
    writer.write(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    before = -1
    while before != written:  # until nothing moves any more
        before = written
        for _ in range(20):
            await asyncio.sleep(0.005)
    assert written < 40 << 20, "the answer piles up somewhere"
    received = 0
    while received < total:
        received += len(await reader.read(1 << 20))
    await ended.wait()
    writer.close()


async def test_slow_replica_stops_the_client(running: Running, serve: Serve) -> None:
    held: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        exchange.pause()
        exchange.stream(lambda part: None, lambda: exchange.reply(200, b"all"))
        exchange.pause()
        held.append(exchange)

    running.route(iris(await serve(app)))
    reader, writer = await running.connect()
    total = 200 << 20
    writer.write(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {total}\r\n\r\n".encode())
    sent = 0

    async def send() -> None:
        nonlocal sent
        while sent < total:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    sending = asyncio.create_task(send())
    await until(lambda: bool(held))
    before = -1
    while before != sent:
        before = sent
        for _ in range(20):
            await asyncio.sleep(0.005)
    assert sent < 40 << 20, "the request piles up somewhere"
    held[0].resume()
    await sending
    assert (await reader.readuntil(b"all")).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"",
    ],
)
async def test_replica_that_speaks_nonsense(running: Running, answer: bytes) -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = await asyncio.start_unix_server(client, f"{folder}/s")
        stack.callback(server.close)
        running.route(iris(f"unix:{folder}/s"))
        reader, writer = await running.connect()
        writer.write(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        async with asyncio.timeout(5):
            try:
                got = await reader.read()
            except ConnectionResetError:
                got = b""
        assert got == b"" or got.split()[1] in (b"502", b"999") or not got.endswith(b"0\r\n\r\n")
        writer.close()
    await until(lambda: running.revision.balancer.members[0].load.outstanding == 0)


@pytest.mark.parametrize("size", [0, 3, 602_112, 3_000_000])
async def test_what_fails_here_holds_no_place(
    running: Running, serve: Serve, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    running.route(iris(await serve(lambda exchange: exchange.reply(200))))
    revision = running.revision

    def fail(*_: object) -> bytes:
        raise RuntimeError

    monkeypatch.setattr(Way, "head", fail)
    assert (await running.fetch("POST", "/x", bytes(size))).status == 500
    assert revision.guard.in_flight == 0
    assert revision.balancer.members[0].load.outstanding == 0
    labels = f'{LABELS},protocol="http",code="5xx"'
    assert (await running.metrics())[f"colonnade_gateway_requests_total{{{labels}}}"] == 1


@pytest.mark.parametrize("serve", [MUX], indirect=True)
@pytest.mark.parametrize("passed_on", ["relay", "finish"])  # by the gateway: the replica's exchange has its own
async def test_an_answer_that_cannot_be_passed_on_costs_its_own_client_only(
    running: Running, serve: Serve, monkeypatch: pytest.MonkeyPatch, passed_on: str
) -> None:
    held: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        if exchange.path == b"/held":
            held.append(exchange)
        elif passed_on == "relay":
            exchange.reply(200, b"bad")
        else:
            exchange.start(200)
            exchange.write(b"bad")
            exchange.finish()

    def fail(*_: object) -> None:
        raise RuntimeError

    running.route(iris(await serve(app)))
    revision = running.revision
    waiting = asyncio.create_task(running.fetch("POST", "/held"))
    await until(lambda: bool(held))
    with monkeypatch.context() as patch:
        patch.setattr(Exchange, passed_on, fail)
        with pytest.raises(BadUpstream):
            await running.fetch("POST", "/bad")
    held[0].reply(200, b"well")
    assert (await waiting).body == b"well"
    assert revision.guard.in_flight == 0
