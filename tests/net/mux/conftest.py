"""Both ends of the multiplexed socket, on a real Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import pytest

from colonnade.net import Address, App, Header, HttpServer, Limits, mux
from colonnade.net.mux import AnswerHead, MuxUpstream
from colonnade.net.mux.frames import HEADER

from ..raw import until


class Recorder:
    """A receiver that keeps what it was told."""

    def __init__(self) -> None:
        self.status = 0
        self.fields: list[Header] = []
        self.parts: list[bytes] = []
        self.trailers: Sequence[Header] = ()
        self.failure: tuple[Exception, bool] | None = None
        self.in_one_piece = False
        self.over = 0

    def whole(self, head: AnswerHead, identity: bytes, body: bytes) -> None:
        self.in_one_piece = True
        self.head(head.status, [*head.fields, (b"x-request-id", identity)] if identity else list(head.fields))
        self.chunk(body)
        self.end(head.trailers)

    def head(self, status: int, fields: list[Header]) -> None:
        assert not self.status
        self.status, self.fields = status, fields

    def chunk(self, data: bytes) -> None:
        assert not self.over
        self.parts.append(data)

    def end(self, trailers: Sequence[Header] = ()) -> None:
        self.trailers = trailers
        self.over += 1

    def failed(self, error: Exception, sent: bool) -> None:
        self.failure = (error, sent)
        self.over += 1

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    async def done(self) -> Recorder:
        await until(lambda: self.over > 0)
        await asyncio.sleep(0)
        assert self.over == 1
        return self


class Peers:
    """A server on a Unix socket and a client for it."""

    def __init__(self, path: str, server: HttpServer, upstream: MuxUpstream) -> None:
        self.path = path
        self.server = server
        self.upstream = upstream

    def ask(
        self,
        body: bytes = b"",
        *,
        method: bytes = b"POST",
        target: bytes = b"/x?a=1",
        fields: Sequence[Header] = ((b"host", b"a.example.com"),),
        identity: bytes = b"id-1",
    ) -> Recorder:
        """Send a whole request."""
        receiver = Recorder()
        head = self.upstream.head(method, target, fields, len(body))
        self.upstream.send(method, head, identity, body, receiver=receiver)
        return receiver


Pair = Callable[..., Awaitable[Peers]]


@pytest.fixture
async def pair(socket_path: str) -> AsyncIterator[Pair]:
    """Starts a server for an application, and a client for it."""
    async with AsyncExitStack() as stack:

        async def start(app: App, limits: Limits | None = None) -> Peers:
            server = HttpServer(app, limits=limits, dialects=[(mux.PREFACE, mux.MuxConnection)])
            await server.listen_unix(socket_path)
            upstream = MuxUpstream(Address(path=socket_path))
            stack.push_async_callback(server.drain, 0.0)
            stack.callback(upstream.close)
            return Peers(socket_path, server, upstream)

        yield start


Frame = tuple[int, int, bytes]


async def read_frame(reader: asyncio.StreamReader) -> Frame:
    """Kind, stream and rest of the next frame that a peer of the test gets."""
    length, stream, kind, _, _ = HEADER.unpack(await reader.readexactly(HEADER.size))
    return kind, stream, await reader.readexactly(length)


Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Scripted = Callable[[Peer], Awaitable[MuxUpstream]]


@pytest.fixture
async def scripted(socket_path: str) -> AsyncIterator[Scripted]:
    """A client whose peer is a coroutine of the test, which runs when the preface has come."""
    async with AsyncExitStack() as stack:

        async def start(peer: Peer) -> MuxUpstream:
            async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                try:
                    assert await reader.readexactly(len(mux.PREFACE)) == mux.PREFACE
                    await peer(reader, writer)
                except (asyncio.IncompleteReadError, ConnectionError):
                    pass
                finally:
                    writer.close()

            server = await asyncio.start_unix_server(run, socket_path)
            stack.callback(server.close)
            upstream = MuxUpstream(Address(path=socket_path))
            stack.callback(upstream.close)
            return upstream

        yield start
