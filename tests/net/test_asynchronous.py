"""Coroutines as applications: answers, errors, streams and cancellation, seen by a foreign client (httpx)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from colonnade.errors import NotFound, Overloaded
from colonnade.net import Request, Response, asynchronous

from .conftest import Serve
from .raw import Client, until


async def test_request_and_answer(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        await asyncio.sleep(0)
        text = f"{request.method} {request.path} {request.query} {request.headers[b'x-a'].decode()}".encode()
        return Response(201, text + request.body, "text/plain", [(b"x-b", b"c")])

    port = await serve(asynchronous(handler))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        for size in (0, 1, 1_000_000):
            answer = await client.post("/a%20b?c=d", content=b"x" * size, headers={"x-a": "y"})
            assert answer.status_code == 201
            assert answer.headers["x-b"] == "c"
            assert answer.headers["content-type"] == "text/plain"
            assert answer.content == b"POST /a%20b c=d y" + b"x" * size


async def test_errors(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Response:
        if request.path == "/missing":
            raise NotFound("No such thing.")
        if request.path == "/busy":
            raise Overloaded("Too much.", retry_after=1.5)
        raise RuntimeError("secret")

    port = await serve(asynchronous(handler))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/missing")
        assert (answer.status_code, answer.json()) == (404, {"error": "No such thing."})
        answer = await client.get("/busy")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")
        answer = await client.get("/bug")
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "RuntimeError" not in answer.text
        assert answer.json()["error"].rpartition(" ")[2] in caplog.text


class Stream:
    """An endless stream that notes its end."""

    def __init__(self, fail_at: int = -1, end_at: int = -1) -> None:
        self.count = 0
        self.closed = 0
        self.fail_at = fail_at
        self.end_at = end_at

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        self.count += 1
        if self.count == self.fail_at:
            raise RuntimeError("broken")
        if self.count == self.end_at:
            raise StopAsyncIteration
        return b"x" * 10_000

    async def aclose(self) -> None:
        self.closed += 1


async def test_streams(serve: Serve) -> None:
    stream = Stream(end_at=101)

    async def handler(request: Request) -> Response:
        return Response(body=b"first", stream=stream)

    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{await serve(asynchronous(handler))}/")
    assert answer.content == b"first" + b"x" * 1_000_000
    assert stream.closed == 1


async def test_a_stream_is_closed_when_the_client_leaves(serve: Serve) -> None:
    stream = Stream()

    async def handler(request: Request) -> Response:
        return Response(stream=stream)

    client = await Client.connect(await serve(asynchronous(handler)), receive_buffer=8192)
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: stream.count > 5)
    client.writer.transport.abort()
    await until(lambda: stream.closed == 1)


async def test_a_stream_that_fails_cuts_the_answer(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    stream = Stream(fail_at=3)

    async def handler(request: Request) -> Response:
        return Response(stream=stream)

    port = await serve(asynchronous(handler))
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://127.0.0.1:{port}/")
    assert stream.closed == 1
    assert "broken" in caplog.text


async def test_a_slow_reader_slows_the_stream(serve: Serve) -> None:
    stream = Stream()

    async def handler(request: Request) -> Response:
        return Response(stream=stream)

    client = await Client.connect(await serve(asynchronous(handler)), receive_buffer=8192)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    counts: list[int] = []

    def stalled() -> bool:
        counts.append(stream.count)
        return len(counts) > 20 and counts[-1] == counts[-20] > 0

    await until(stalled)
    client.writer.transport.abort()
    await until(lambda: stream.closed == 1)


async def test_the_handler_is_cancelled_when_the_client_leaves(serve: Serve) -> None:
    events: list[str] = []

    async def handler(request: Request) -> Response:
        events.append("started")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            events.append("cancelled")
            raise
        raise AssertionError

    client = await Client.connect(await serve(asynchronous(handler)))
    client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await until(lambda: events == ["started"])
    await client.close()
    await until(lambda: events == ["started", "cancelled"])
