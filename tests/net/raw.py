"""A client that sends bytes as they are and reads answers with another project's parser (h11); all with deadlines."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

import h11

from colonnade.net import Exchange

DEADLINE = 5.0


@dataclass
class Answer:
    status: int
    headers: dict[bytes, bytes]
    body: bytes
    informational: list[int]


class Client:
    """One connection; `methods` tells the parser what was asked, as an answer to HEAD has no body."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._left = b""
        self._ended = False

    @classmethod
    async def connect(cls, port: int, receive_buffer: int | None = None) -> Client:
        sock = socket.socket()
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=sock, limit=1 << 26))

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self, method: str = "GET") -> Answer:
        """Read one answer."""
        connection = h11.Connection(h11.CLIENT)
        connection.send(h11.Request(method=method, target="/", headers=[("host", "x")]))
        connection.send(h11.EndOfMessage())
        if self._left:
            connection.receive_data(self._left)
        head: h11.Response | None = None
        informational: list[int] = []
        body = bytearray()
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                async with asyncio.timeout(DEADLINE):
                    connection.receive_data(await self.reader.read(1 << 16))
            elif isinstance(event, h11.InformationalResponse):
                informational.append(event.status_code)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                raise AssertionError(f"no answer: {event!r}")
        assert head is not None
        self._left = connection.trailing_data[0]
        return Answer(head.status_code, dict(head.headers), bytes(body), informational)

    async def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        async with asyncio.timeout(DEADLINE):
            try:
                return self._left + await self.reader.read()
            except ConnectionResetError:
                return b""

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except OSError:
            pass


async def ask(port: int, data: bytes, method: str = "GET") -> Answer:
    client = await Client.connect(port)
    try:
        client.send(data)
        return await client.answer(method)
    finally:
        await client.close()


async def until(condition: Callable[[], bool], what: str = "") -> None:
    """Wait for a condition."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


def echo(exchange: Exchange) -> None:
    """An application that answers with the body, and with what it saw of the head."""

    def done(body: bytes) -> None:
        exchange.reply(
            200, body, b"text/plain", [(b"x-seen", b"%b %b?%b" % (exchange.method, exchange.path, exchange.query))]
        )

    exchange.collect(done)
