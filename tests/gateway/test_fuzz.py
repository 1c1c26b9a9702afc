"""Bytes that no client should send: every one is answered or cut, in time, and never with a 500."""

from __future__ import annotations

import asyncio
import random
import string

from colonnade.net import Exchange

from .conftest import HOST, Running, Serve, iris

GOOD = [
    f"GET /v1/models/iris HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode(),
    f"POST /v2/models/iris/infer HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 5\r\n\r\nhello".encode(),
    b"POST /serving/default/iris/x HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b'POST /v2/repository/index HTTP/1.1\r\nhost: a\r\ncontent-length: 14\r\n\r\n{"ready":true}',
    b"GET /v2/models/zz HTTP/1.0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    f"GET http://{HOST}/x?y HTTP/1.1\r\nhost: {HOST}\r\nconnection: x-a, close\r\nx-a: 1\r\n\r\n".encode(),
    f"HEAD / HTTP/1.1\r\nhost: {HOST}\r\nupgrade: x\r\nconnection: upgrade\r\nexpect: 100-continue\r\n\r\n".encode(),
]
SPICE = [
    b"\r\n",
    b"\0",
    b"\xff",
    b" ",
    b":",
    b"%",
    b"%2f",
    b"%ff",
    b"/",
    b"//",
    b"..",
    b"\r",
    b"\n",
    b"0",
    b"-1",
    b";",
    b"\t",
]


def mutated(rng: random.Random) -> bytes:
    data = bytearray(b"".join(rng.choice(GOOD) for _ in range(rng.randint(1, 3))))
    for _ in range(rng.randint(0, 6)):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at:at] = rng.choice(SPICE)
        elif kind == 1:
            del data[at : at + rng.randint(1, 8)]
        elif kind == 2 and at < len(data):
            data[at] = rng.randrange(256)
        else:
            data[at:at] = rng.choice(string.printable).encode() * rng.randint(1, 40)
    return bytes(data)


async def talk(running: Running, data: bytes) -> bytes:
    reader, writer = await running.connect()
    writer.write(data)
    writer.write_eof()
    try:
        async with asyncio.timeout(10):
            return await reader.read()
    except ConnectionResetError:
        return b""
    finally:
        writer.close()


async def test_mutated_requests(running: Running, serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        exchange.collect(lambda body: exchange.reply(200, b"fine"))

    running.route(iris(await serve(app)))
    rng = random.Random(20261123)
    for _ in range(60):
        batch = [mutated(rng) for _ in range(20)]
        for data, answer in zip(batch, await asyncio.gather(*(talk(running, one) for one in batch)), strict=True):
            assert b"HTTP/1.1 500" not in answer, data
            assert b"Internal error" not in answer, data
            assert b"Error:" not in answer, data
    assert (await running.fetch("GET", "/x")).body == b"fine"
    members = running.revision.balancer.members
    assert [member.load.outstanding for member in members] == [0]
    assert (await running.metrics())['colonnade_gateway_in_flight{protocol="http"}'] == 0


async def test_tables_and_bodies_of_the_index(running: Running) -> None:
    rng = random.Random(7)
    for _ in range(100):
        body = bytes(rng.randrange(256) for _ in range(rng.randint(0, 40)))
        assert (await running.admin_client.fetch("PUT", "/routes", body=body)).status == 400
        answer = await running.fetch("POST", "/v2/repository/index", body, host="x")
        assert answer.status in (200, 400)
