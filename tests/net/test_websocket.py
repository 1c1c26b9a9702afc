"""The server's end of a WebSocket: what it owes any peer, however that behaves. By two other projects' libraries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from wsproto.frame_protocol import FrameProtocol, Opcode

from colonnade.net import Exchange, HttpServer, Limits
from colonnade.net.handshake import accepted, offers_websocket
from colonnade.net.websocket import GOING_AWAY, WebSocket

from .conftest import Serve

DEADLINE = 5.0
LIMIT = 1000
HANDSHAKE = (
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
CLOSE_OF = {code: code.to_bytes(2, "big") for code in (1000, 1001, 1002, 1003, 1007, 1009, 1011)}


class Echo:
    """Sends back what comes, and fails at `fail`."""

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.heard: list[Any] = []
        self.left = 0

    def message(self, text: bytes) -> None:
        if text == b"fail":
            raise RuntimeError
        if text == b"hold":
            self.socket.hold(True)
        self.socket.send(text)

    def keeps_up(self, yes: bool) -> None:
        self.heard.append(yes)

    def stop(self) -> None:
        self.socket.send(b"last")
        self.socket.close(GOING_AWAY, "the server ends")

    def leave(self) -> None:
        self.left += 1


class Sockets:
    """The application, and the sockets that it has opened."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit = limit
        self.open: list[Echo] = []

    def __call__(self, exchange: Exchange) -> None:
        assert offers_websocket(exchange)
        exchange.upgrade(accepted(exchange), self._make)

    def _make(self, server: HttpServer) -> WebSocket:
        socket = WebSocket(server, self.limit)
        echo = Echo(socket)
        self.open.append(echo)
        socket.listen(echo)
        return socket


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.005)


def opened(port: int, **options: Any) -> connect:
    return connect(f"ws://127.0.0.1:{port}/", proxy=None, **options)


async def raw(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection behind its handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HANDSHAKE)
    async with asyncio.timeout(DEADLINE):
        head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head, "as RFC 6455, section 1.3 has it"
    return reader, writer


async def rest(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(DEADLINE):
        return await reader.read()


async def test_messages_of_all_lengths_whole_and_in_fragments(serve: Serve) -> None:
    async with opened(await serve(Sockets(limit=1 << 20))) as socket:
        for text in ("", "x" * 125, "y" * 126, "é" * 70_000, "z" * (1 << 20)):
            await socket.send(text)
            assert await socket.recv() == text
        await socket.send(["a", "b", "c"])
        assert await socket.recv() == "abc"
    assert socket.close_code == 1000


async def test_pieces_of_any_size_and_messages_right_behind_the_handshake(serve: Serve) -> None:
    client = FrameProtocol(client=True, extensions=[])
    sent = bytes(client.send_data("one") + client.ping(b"p") + client.send_data("two") + client.close(1000))
    reader, writer = await asyncio.open_connection("127.0.0.1", await serve(Sockets()))
    for byte in HANDSHAKE + sent:
        writer.write(bytes([byte]))
        await asyncio.sleep(0)
    data = (await rest(reader)).partition(b"\r\n\r\n")[2]
    client.receive_bytes(data)
    frames = [(frame.opcode, frame.payload) for frame in client.received_frames()]
    assert [opcode for opcode, _ in frames] == [Opcode.TEXT, Opcode.PONG, Opcode.TEXT, Opcode.CLOSE]
    assert frames[0][1] == "one"
    writer.close()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x81\x03one", 1002),  # without a mask
        (b"\xf1\x80\0\0\0\0", 1002),  # reserved bits
        (b"\x83\x80\0\0\0\0", 1002),  # an opcode that there is not
        (b"\x80\x81\0\0\0\0x", 1002),  # goes on with nothing
        (b"\x89\xfe\x00\x80\0\0\0\0", 1002),  # a ping of 128 bytes
        (b"\x81\x81\0\0\0\0\xff", 1007),  # no UTF-8
        (b"\x82\x81\0\0\0\0x", 1003),
        (b"\x81\xfe\x03\xe9\0\0\0\0" + b"x" * 1001, 1009),
        (b"\x01\xfe\x02\x00\0\0\0\0" + b"x" * 512 + b"\x80\xfe\x02\x00\0\0\0\0" + b"x" * 512, 1009),
        (b"\x81\x84\0\0\0\0fail", 1011),
    ],
)
async def test_what_breaks_the_protocol_or_a_limit_closes_with_its_code(serve: Serve, frames: bytes, code: int) -> None:
    sockets = Sockets()
    reader, writer = await raw(await serve(sockets, limits=Limits(read_timeout=0.3)))
    writer.write(frames)
    got = await rest(reader)
    assert got[0] == 0x88
    assert got[2:4] == CLOSE_OF[code]
    writer.close()
    await until(lambda: sockets.open[0].left == 1)


async def test_a_message_over_the_limit_is_refused_before_it_is_whole(serve: Serve) -> None:
    reader, writer = await raw(await serve(Sockets()))
    writer.write(b"\x81\xff\0\0\0\0\x40\0\0\0\0\0\0\0" + b"x" * 2000)  # announces a gigabyte
    async with asyncio.timeout(DEADLINE):
        assert (await reader.readexactly(4))[2:] == CLOSE_OF[1009]
    writer.close()


async def test_a_peer_that_is_silent_is_asked_and_then_cut(serve: Serve) -> None:
    sockets = Sockets()
    port = await serve(sockets, limits=Limits(idle_timeout=0.2, read_timeout=0.2))
    async with opened(port) as live:
        reader, writer = await raw(port)  # answers no ping
        assert await rest(reader) == b"\x89\x00"
        writer.close()
        await until(lambda: sockets.open[1].left == 1)
        await live.send("here")
        assert await live.recv() == "here"
    assert sockets.open[0].left == 1


async def test_a_peer_that_does_not_read_is_told_of_and_then_cut(serve: Serve) -> None:
    sockets = Sockets(limit=8 << 20)
    port = await serve(sockets, limits=Limits(read_timeout=0.3))
    _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
    writer.write(HANDSHAKE)
    await until(lambda: bool(sockets.open))
    socket = sockets.open[0].socket
    for _ in range(16):
        socket.send(b"x" * (1 << 20))
    assert sockets.open[0].heard == [False]
    waits = asyncio.ensure_future(socket.drain())
    await until(lambda: sockets.open[0].left == 1)
    async with asyncio.timeout(DEADLINE):
        await waits
    writer.close()


async def test_one_that_catches_up_goes_on(serve: Serve) -> None:
    sockets = Sockets()
    async with opened(await serve(sockets), max_size=None) as client:
        socket = sockets.open[0].socket
        for _ in range(16):
            socket.send(b"x" * (1 << 20))
        assert sockets.open[0].heard == [False]
        waits = asyncio.ensure_future(socket.drain())
        for _ in range(16):
            assert len(await client.recv()) == 1 << 20
        async with asyncio.timeout(DEADLINE):
            await waits
        assert sockets.open[0].heard == [False, True]


async def test_reading_can_be_stopped(serve: Serve) -> None:
    sockets = Sockets()
    async with opened(await serve(sockets, limits=Limits(idle_timeout=0.1, read_timeout=0.1))) as client:
        await client.send("hold")
        assert await client.recv() == "hold"
        await client.send("more")
        answer = asyncio.ensure_future(client.recv())
        await asyncio.wait([answer], timeout=0.5)  # several looks at silent peers
        assert not answer.done()
        sockets.open[0].socket.hold(False)
        assert await answer == "more"


async def test_a_drain_lets_the_listener_end_it(servers: list[HttpServer], serve: Serve) -> None:
    sockets = Sockets()
    port = await serve(sockets)

    async with opened(port) as client:
        reader, writer = await raw(port)  # never says its own word
        heard = asyncio.ensure_future(_until_closed(client))
        async with asyncio.timeout(DEADLINE):
            await servers[0].drain(2.0)
        assert await heard == (["last"], GOING_AWAY)
        assert await rest(reader) == b"\x81\x04last\x88\x11\x03\xe9the server ends"
        writer.close()


async def _until_closed(client: ClientConnection) -> tuple[list[Any], int | None]:
    messages = [message async for message in _messages(client)]
    return messages, client.close_code


async def _messages(client: ClientConnection) -> AsyncIterator[Any]:
    with suppress(ConnectionClosed):
        while True:
            yield await client.recv()
