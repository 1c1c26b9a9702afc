"""Bodies that go on behind their answer, bodies that hardly come, and how the server words its own refusals."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import time

import pytest

from colonnade.errors import Error
from colonnade.net import Exchange, HttpServer, Limits
from colonnade.security.certificates import Certificates, server_context

from .conftest import Serve
from .raw import DEADLINE, Client, ask, echo, until

CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
ENDLESS = [
    ("chunked", CHUNKED, b"10000\r\n" + bytes(1 << 16) + b"\r\n"),
    ("announced", LENGTH % (200 << 20), bytes(1 << 16)),
    ("announced and refused", LENGTH % (1 << 40), bytes(1 << 16)),
]
IN_SOCKETS = 16 << 20  # what the kernel's buffers of both sides may hold
BRIEF = Limits(discard_timeout=0.3)
QUICK = Limits(read_timeout=0.15, idle_timeout=0.15)


def refuse(exchange: Exchange) -> None:
    exchange.reply(404, b"no")


@pytest.mark.parametrize(("head", "more"), [case[1:] for case in ENDLESS], ids=[case[0] for case in ENDLESS])
async def test_a_body_that_goes_on_behind_its_answer_is_cut(
    serve: Serve, servers: list[HttpServer], head: bytes, more: bytes
) -> None:
    port = await serve(refuse, limits=BRIEF)
    loop = asyncio.get_running_loop()
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setblocking(False)
        began = time.monotonic()
        await loop.sock_sendall(sock, head)
        answer = await loop.sock_recv(sock, 1000)
        sent = 0
        async with asyncio.timeout(DEADLINE):
            try:
                while True:
                    await loop.sock_sendall(sock, more)
                    sent += len(more)
            except OSError:
                pass
        assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 413"))
        assert sent < IN_SOCKETS
        assert time.monotonic() - began < 3.0
    await until(lambda: servers[0].connections == 0)


async def test_an_encrypted_body_that_goes_on_behind_its_answer_is_cut(
    serve: Serve, servers: list[HttpServer], certs: Certificates, trusting: ssl.SSLContext
) -> None:
    port = await serve(refuse, limits=BRIEF, ssl=server_context(certs))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting, server_hostname="localhost")
    _, head, more = ENDLESS[0]
    writer.write(head)
    assert (await reader.readuntil(b"\r\n\r\nno")).startswith(b"HTTP/1.1 404")
    sent = 0
    async with asyncio.timeout(DEADLINE):
        while servers[0].connections:
            try:
                writer.write(more)
                await writer.drain()
            except OSError:
                break
            sent += len(more)
            await asyncio.sleep(0)
    await until(lambda: servers[0].connections == 0)
    assert sent < IN_SOCKETS
    writer.transport.abort()


@pytest.mark.parametrize(
    ("head", "drip"), [(CHUNKED, b"1\r\na\r\n"), (LENGTH % 100_000, b"a")], ids=["chunked", "length"]
)
async def test_a_body_that_drips_behind_its_answer_is_cut(
    serve: Serve, servers: list[HttpServer], head: bytes, drip: bytes
) -> None:
    client = await Client.connect(await serve(refuse, limits=BRIEF))
    client.send(head)
    assert (await client.answer()).status == 404
    async with asyncio.timeout(DEADLINE):
        while servers[0].connections:
            client.send(drip)
            await asyncio.sleep(0.01)
    client.writer.transport.abort()


async def test_a_connection_outlives_the_bodies_that_were_dropped(serve: Serve) -> None:
    client = await Client.connect(await serve(refuse, limits=Limits(discard_timeout=0.05, discard_bytes=10)))
    for _ in range(3):
        client.send(LENGTH % 9)
        assert (await client.answer()).status == 404
        client.send(b"123456789")
        await asyncio.sleep(0.07)
    client.send(CHUNKED)
    assert (await client.answer()).status == 404
    client.send(b"9\r\n123456789\r\n0\r\n\r\n" + LENGTH % 0)
    assert (await client.answer()).status == 404
    await client.close()


async def test_a_long_answer_behind_a_refused_body_arrives_whole(serve: Serve) -> None:
    body = bytes(8 << 20)
    client = await Client.connect(
        await serve(lambda exchange: exchange.reply(404, body), limits=BRIEF), receive_buffer=8192
    )
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(LENGTH % (10 << 20))
    await asyncio.sleep(BRIEF.discard_timeout * 2)
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert (await client.answer()).body == body
    await client.close()


def take_parts(exchange: Exchange) -> None:
    sizes: list[int] = []
    exchange.stream(lambda part: sizes.append(len(part)), lambda: exchange.reply(200, b"%d" % sum(sizes)))


@pytest.mark.parametrize("app", [echo, take_parts], ids=["collected", "streamed"])
@pytest.mark.parametrize("burst", [1, 200_000])
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_hardly_comes_is_refused(serve: Serve, app: object, burst: int, chunked: bool) -> None:
    client = await Client.connect(await serve(app, limits=QUICK))
    client.send(CHUNKED + b"%x\r\n%b\r\n" % (burst, bytes(burst)) if chunked else LENGTH % (1 << 20) + bytes(burst))
    answered = asyncio.ensure_future(client.answer())
    for _ in range(300):
        if answered.done():
            break
        client.send(b"1\r\na\r\n" if chunked else b"a")
        await asyncio.sleep(0.01)
    answer = await answered
    assert answer.status == 408
    assert b"1024 bytes per second" in answer.body
    await client.close()


async def test_a_body_that_waits_for_the_application_is_not_slow(serve: Serve) -> None:
    exchanges: list[Exchange] = []
    sizes: list[int] = []

    def app(exchange: Exchange) -> None:
        exchanges.append(exchange)
        exchange.stream(lambda part: sizes.append(len(part)), lambda: exchange.reply(200, b"%d" % sum(sizes)))
        exchange.pause()

    client = await Client.connect(await serve(app, limits=QUICK))
    client.send(LENGTH % 3)
    await until(lambda: bool(exchanges))
    await asyncio.sleep(QUICK.read_timeout * 3)
    exchanges[0].resume()
    await asyncio.sleep(QUICK.read_timeout / 2)
    client.send(b"abc")
    assert (await client.answer()).body == b"3"
    await client.close()


@pytest.mark.parametrize(
    ("sent", "status", "reason"),
    [
        (b"BROKEN\r\n\r\n", 400, "BadRequest"),
        (LENGTH % 2000, 413, "RequestEntityTooLarge"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 3000 + b"\r\n\r\n", 431, "RequestHeaderFieldsTooLarge"),
        (b"GET / HTTP/1.1\r\nHo", 408, "RequestTimeout"),
        (b"GET /fails HTTP/1.1\r\nHost: x\r\n\r\n", 500, "InternalError"),
    ],
)
async def test_refusals_can_be_worded_otherwise(serve: Serve, sent: bytes, status: int, reason: str) -> None:
    def worded(error: Error) -> tuple[bytes, bytes]:
        return json.dumps({"code": error.status, "reason": error.reason, "message": error.message}).encode(), b"a/b"

    def app(exchange: Exchange) -> None:
        raise KeyError("secret")

    limits = Limits(header_bytes=2000, body_bytes=1000, read_timeout=0.15)
    answer = await ask(await serve(app, limits=limits, refusal=worded), sent)
    assert (answer.status, answer.headers[b"content-type"]) == (status, b"a/b")
    said = json.loads(answer.body)
    assert (said["code"], said["reason"]) == (status, reason)
    assert "secret" not in said["message"]
