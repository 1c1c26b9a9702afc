"""The end of a server: nothing that was sent to it is lost, nobody is kept waiting for ever."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter

import pytest

from colonnade.net import Exchange, HttpServer
from colonnade.security.certificates import Certificates, server_context

from .conftest import Serve
from .raw import DEADLINE, Client, echo, until

CLIENTS = 20
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"


class Customer:
    """A client that posts in a closed loop on one connection, and on a new one when it was told or saw the end."""

    def __init__(self, port: int, pause: float) -> None:
        self.outcomes: Counter[str] = Counter()
        self._port = port
        self._pause = pause

    async def run(self) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                return  # nobody listens any more
            try:
                await self._visit(reader, writer)
            except (OSError, asyncio.IncompleteReadError) as error:
                self.outcomes[f"lost: {type(error).__name__}"] += 1
            finally:
                writer.transport.abort()

    async def _visit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not reader.at_eof():
            writer.write(POST)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(3) == b"abc"
            self.outcomes["answered"] += 1
            if b"connection: close" in head:
                self.outcomes["told"] += 1
                return
            await asyncio.sleep(self._pause)


def later(exchange: Exchange) -> None:
    exchange.collect(lambda body: asyncio.get_running_loop().call_later(0.002, exchange.reply, 200, body) and None)


@pytest.mark.parametrize("app", [echo, later], ids=["at once", "later"])
@pytest.mark.parametrize("pauses", [(0.0, 0.0), (0.0, 0.02), (0.1, 0.3)], ids=str)
async def test_drain_loses_no_request(
    serve: Serve, servers: list[HttpServer], app: object, pauses: tuple[float, float]
) -> None:
    port = await serve(app)
    low, high = pauses
    customers = [Customer(port, low + (high - low) * index / CLIENTS) for index in range(CLIENTS)]
    running = [asyncio.ensure_future(customer.run()) for customer in customers]
    await until(lambda: all(customer.outcomes["answered"] for customer in customers))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(DEADLINE):
        await servers[0].drain(DEADLINE)
        await asyncio.gather(*running)
    total = sum((customer.outcomes for customer in customers), Counter[str]())
    assert set(total) == {"answered", "told"}
    assert total["told"] >= CLIENTS  # who was told before the socket was closed could come back once
    assert (servers[0].connections, servers[0].active) == (0, 0)


async def test_drain_ends_what_is_in_flight_and_closes_the_rest(serve: Serve, servers: list[HttpServer]) -> None:
    exchanges: list[Exchange] = []
    port = await serve(exchanges.append)
    busy, streamed, idle, half = [await Client.connect(port) for _ in range(4)]
    busy.send(b"GET /busy HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: len(exchanges) == 1)
    streamed.send(b"GET /streamed HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: len(exchanges) == 2)
    exchanges[1].start(200, length=2)
    half.send(b"GET /half HTTP/1.1\r\n")
    await until(lambda: servers[0].connections == 4)
    await asyncio.sleep(0.02)
    draining = asyncio.ensure_future(servers[0].drain(DEADLINE))
    assert await idle.rest() == b""
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)
    exchanges[0].reply(200, b"done")
    answer = await busy.answer()
    assert (answer.body, answer.headers[b"connection"]) == (b"done", b"close")
    half.send(b"Host: x\r\n\r\n")
    await until(lambda: len(exchanges) == 3)
    exchanges[2].reply(200, b"half")
    assert (await half.answer()).body == b"half"
    # The head of this answer promised a connection that goes on, so the client may ask once more.
    exchanges[1].write(b"ab")
    exchanges[1].finish()
    assert (await streamed.answer()).body == b"ab"
    streamed.send(b"GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: len(exchanges) == 4)
    exchanges[3].reply(200, b"again")
    assert (await streamed.answer()).headers[b"connection"] == b"close"
    for client in (busy, half, streamed):
        assert await client.rest() == b""
        await client.close()
    await idle.close()
    async with asyncio.timeout(DEADLINE):
        await draining


async def test_drain_cuts_after_the_grace_period(serve: Serve, servers: list[HttpServer]) -> None:
    left: list[bool] = []
    exchanges: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        exchanges.append(exchange)
        exchange.on_disconnect(lambda: left.append(True))

    client = await Client.connect(await serve(app))
    client.send(POST)
    await until(lambda: bool(exchanges))
    began = time.monotonic()
    await servers[0].drain(0.05)
    assert time.monotonic() - began < 1.0
    assert left == [True]
    assert await client.rest() == b""
    await client.close()


async def test_drain_serves_connections_that_wait_to_be_accepted(servers: list[HttpServer]) -> None:
    server = HttpServer(echo)
    port = await server.listen_tcp("127.0.0.1", 0)
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CLIENTS)]
    for sock in clients:
        sock.sendall(POST)
    draining = asyncio.ensure_future(server.drain(DEADLINE))
    for sock in clients:
        sock.setblocking(False)
        async with asyncio.timeout(DEADLINE):
            data = await asyncio.get_running_loop().sock_recv(sock, 1000)
        assert data.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in data
        sock.close()
    await draining


@pytest.mark.parametrize("optional", [True, False])
async def test_drain_serves_encrypted_connections_that_wait_to_be_accepted(
    servers: list[HttpServer], certs: Certificates, trusting: ssl.SSLContext, optional: bool
) -> None:
    server = HttpServer(echo, ssl=server_context(certs), ssl_optional=optional)
    port = await server.listen_tcp("127.0.0.1", 0)
    waiting = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
    draining = asyncio.ensure_future(server.drain(DEADLINE))
    silent = waiting.pop()  # must not hold up the others
    for sock in waiting:
        reader, writer = await asyncio.open_connection(sock=sock, ssl=trusting, server_hostname="localhost")
        writer.write(POST)
        async with asyncio.timeout(DEADLINE):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
            assert await reader.read() == b"abc"
        writer.transport.abort()
    silent.close()
    async with asyncio.timeout(DEADLINE):
        await draining


async def test_silent_connections_do_not_hold_up_a_drain(
    serve: Serve, servers: list[HttpServer], certs: Certificates
) -> None:
    port = await serve(echo, ssl=server_context(certs), ssl_optional=True)
    silent = await Client.connect(port)
    served = await Client.connect(port)
    served.send(POST)
    assert (await served.answer()).status == 200
    await until(lambda: servers[0].connections == 1)
    began = time.monotonic()
    await servers[0].drain(DEADLINE)
    assert time.monotonic() - began < 2.0
    assert await silent.rest() == b""
    assert await served.rest() == b""
    await silent.close()
    await served.close()
