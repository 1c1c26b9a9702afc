"""The payload log of gRPC calls and of binary tensors: bodies as they were on the wire."""

from __future__ import annotations

import grpc
import pytest

from colonnade.gateway.payloads.settings import Logging
from colonnade.gateway.routes import Backend
from colonnade.net import Exchange

from ..conftest import HOST, Running, iris, targets, until
from ..conftest import Serve as ServeApp
from ..test_grpc import INFER, Serve, channel, gateway, grpc_serve
from .conftest import Sink
from .test_posting import logged

__all__ = ["gateway", "grpc_serve"]


def framed(*messages: bytes) -> bytes:
    return b"".join(b"\x00" + len(message).to_bytes(4, "big") + message for message in messages)


async def route(gateway: Running, grpc_serve: Serve, sink: Sink) -> None:
    address, _ = await grpc_serve()
    found = targets(Backend("iris-0", "unix:/nowhere", address))
    gateway.route(iris(targets=found, logging=Logging(url=sink.url, headers=("x-tenant",))))


@pytest.mark.parametrize("by_host", [True, False])
async def test_a_unary_call(gateway: Running, grpc_serve: Serve, sink: Sink, by_host: bool) -> None:
    await route(gateway, grpc_serve, sink)
    message = b"\x0a\x04iris" + b"x" * 300
    async with channel(gateway, HOST if by_host else None) as clients:
        assert await clients.unary_unary(INFER)(message, metadata=(("x-tenant", "t"),)) == message
    await until(lambda: len(sink.got) == 2)
    (request,), (response,) = sink.of("request"), sink.of("response")
    assert request.body == response.body == framed(message)
    assert request.headers["content-type"] == response.headers["content-type"] == "application/grpc"
    assert response.headers["ce-grpcstatus"] == "OK"
    assert response.headers["ce-source"] == "iris-0"
    assert request.headers["ce-metadata"] == '{"X-Tenant":["t"]}'
    await until(lambda: logged(gateway) == {"written": 1})


async def test_a_stream(gateway: Running, grpc_serve: Serve, sink: Sink) -> None:
    await route(gateway, grpc_serve, sink)
    async with channel(gateway, HOST) as clients:
        call = clients.stream_stream("/x.Own/StreamAll")()
        for word in (b"one", b"two"):
            await call.write(word)
            assert await call.read() == b"r:" + word  # before the call has ended
        await call.done_writing()
        assert await call.read() is grpc.aio.EOF
    await until(lambda: len(sink.got) == 2)
    assert sink.of("request")[0].body == framed(b"one", b"two")
    assert sink.of("response")[0].body == framed(b"r:one", b"r:two")


async def test_a_call_that_fails_has_no_response_logged(gateway: Running, grpc_serve: Serve, sink: Sink) -> None:
    await route(gateway, grpc_serve, sink)
    async with channel(gateway, HOST) as clients:
        with pytest.raises(grpc.aio.AioRpcError):
            await clients.unary_unary(INFER)(b"refuse")
    await until(lambda: logged(gateway) == {"written": 1})
    assert [event.headers["ce-type"].rpartition(".")[2] for event in sink.got] == ["request"]


async def test_binary_tensors(running: Running, serve: ServeApp, sink: Sink) -> None:
    head = b'{"inputs":[]}'
    body = head + bytes(range(256))

    def app(exchange: Exchange) -> None:
        fields = [(b"inference-header-content-length", b"13")]
        exchange.collect(lambda got: exchange.reply(200, got, b"application/octet-stream", fields))

    running.route(iris(await serve(app), logging=Logging(url=sink.url)))
    answer = await running.fetch("POST", "/v2/models/iris/infer", body, inference_header_content_length="13")
    assert answer.body == body
    await until(lambda: len(sink.got) == 2)
    assert [event.body for event in sink.got] == [body, body]
