"""What flows: server-sent events reach the client as they are written, over each version of HTTP, and messages of gRPC
pass both ways over the socket to our own replicas."""

from __future__ import annotations

import asyncio

import grpc
import httpx
import pytest
from grpc import aio

from colonnade.net import Exchange
from colonnade.net import grpc as calls
from colonnade.net.grpc import CallHead
from colonnade.wire import openinference_pb2 as oip

from .conftest import HOST, LABELS, MUX, Running, Serve, Start, iris, until

INFER = "/inference.GRPCInferenceService/ModelInfer"


@pytest.mark.parametrize("http2", [False, True])
async def test_server_sent_events_flush_at_once(running: Running, serve: Serve, http2: bool) -> None:
    exchanges: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        exchanges.append(exchange)
        exchange.start(200, content_type=b"text/event-stream")
        exchange.write(b"data: 0\n\n")

    running.route(iris(await serve(app)))
    async with httpx.AsyncClient(http1=not http2, http2=http2, trust_env=False) as client:
        url = f"http://{running.host}:{running.port}/stream"
        async with client.stream("GET", url, headers={"host": HOST}) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            parts = answer.aiter_raw()
            for i in range(4):
                assert await anext(parts) == b"data: %d\n\n" % i  # the next is written only after this one was read
                exchanges[0].write(b"data: %d\n\n" % (i + 1))
            exchanges[0].finish()
            assert [part async for part in parts] == [b"data: 4\n\n"]


async def test_a_client_that_leaves_a_stream_ends_it(running: Running, serve: Serve) -> None:
    left: list[bool] = []

    def app(exchange: Exchange) -> None:
        exchange.on_disconnect(lambda: left.append(True))
        exchange.start(200, content_type=b"text/event-stream")
        exchange.write(b"data: 0\n\n")

    running.route(iris(await serve(app)))
    async with httpx.AsyncClient(http1=False, http2=True, trust_env=False) as client:
        url = f"http://{running.host}:{running.port}/stream"
        async with client.stream("GET", url, headers={"host": HOST}) as answer:
            await anext(answer.aiter_raw())
    await until(lambda: left == [True])


class Replica:
    """A gRPC server on the socket of frames: one method of each form."""

    def __init__(self) -> None:
        self.cancelled = 0

    def __call__(self, exchange: Exchange) -> None:
        if exchange.path == INFER.encode():
            exchange.collect(lambda body: self._unary(exchange, body))
            return
        exchange.on_disconnect(self._left)
        calls.stream(
            exchange,
            CallHead.read(exchange.headers),
            1 << 20,
            lambda message: (calls.start(exchange), calls.write(exchange, message.upper()))[0],
            lambda: calls.finish(exchange),
        )

    def _unary(self, exchange: Exchange, body: bytes) -> None:
        if b"refuse" in body:
            exchange.reply(
                200,
                b"",
                b"application/grpc",
                trailers=[(b"grpc-status", b"3"), (b"grpc-message", b"bad"), (b"grpc-status-details-bin", b"CAM")],
            )
        else:
            calls.reply(exchange, body[5:], [(b"seen", exchange.headers[b"x-forwarded-for"])])

    def _left(self) -> None:
        self.cancelled += 1


@pytest.mark.parametrize("serve", [MUX], indirect=True)
async def test_grpc_to_our_own_replica(start: Start, serve: Serve) -> None:
    running = await start(grpc=True, grace=0.3)
    replica = Replica()
    running.route(iris(await serve(replica)))
    async with aio.insecure_channel(running.gateway.http_addresses[0]) as channel:
        infer = channel.unary_unary(INFER)
        sent = [oip.ModelInferRequest(model_name="iris", id=str(i)).SerializeToString() for i in range(100)]
        assert await asyncio.gather(*map(infer, sent)) == sent
        large = oip.ModelInferRequest(model_name="iris", id="x" * 3_000_000).SerializeToString()
        call = infer(large)
        assert await call == large
        assert ("seen", "127.0.0.1") in tuple(await call.trailing_metadata())
        with pytest.raises(aio.AioRpcError) as caught:
            await infer(oip.ModelInferRequest(model_name="iris", id="refuse").SerializeToString())
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.INVALID_ARGUMENT, "bad")
        assert ("grpc-status-details-bin", b"\x08\x03") in tuple(caught.value.trailing_metadata())
    async with aio.insecure_channel(
        running.gateway.http_addresses[0], options=[("grpc.default_authority", HOST)]
    ) as channel:
        stream = channel.stream_stream("/any.Service/Both")()
        for word in (b"one", b"two"):
            await stream.write(word)
            assert await stream.read() == word.upper()
        await stream.done_writing()
        assert await stream.read() is aio.EOF
        stream = channel.stream_stream("/any.Service/Both")()
        await stream.write(b"x")
        assert await stream.read() == b"X"
        stream.cancel()
        await until(lambda: replica.cancelled == 1)
    numbers = await running.metrics()
    labels = f'{LABELS},protocol="grpc"'
    assert numbers[f'colonnade_gateway_requests_total{{{labels},code="INVALID_ARGUMENT"}}'] == 1
    assert numbers[f'colonnade_gateway_requests_total{{{labels},code="OK"}}'] == 102
    assert numbers['colonnade_gateway_in_flight{protocol="grpc"}'] == 0


@pytest.mark.parametrize("pieces", [False, True])
async def test_trailers_of_a_foreign_server_reach_the_client(running: Running, pieces: bool) -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Sum: 9\r\nExpires: 0\r\nSet-Cookie: a\r\n\r\n"
    )

    async def foreign(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                for index in range(0, len(answer), 1 if pieces else len(answer)):
                    writer.write(answer[index : index + 1] if pieces else answer)
                    await asyncio.sleep(0)
        except asyncio.IncompleteReadError:
            writer.close()

    server = await asyncio.start_server(foreign, "127.0.0.1", 0)
    running.route(iris(f"127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    reader, writer = await running.connect()
    for _ in range(2):
        writer.write(b"GET / HTTP/1.1\r\nhost: %b\r\n\r\n" % HOST.encode())
        async with asyncio.timeout(5):
            assert b"transfer-encoding: chunked" in await reader.readuntil(b"\r\n\r\n")
            body = await reader.readuntil(b"\r\n\r\n")
        assert body.endswith(b"\r\n0\r\nx-sum: 9\r\n\r\n")
    writer.close()
    server.close()


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("queued", [False, True])
async def test_trailers_of_a_request_reach_the_replica(
    running: Running, serve: Serve, pieces: bool, queued: bool
) -> None:
    gate = asyncio.Event()
    arrived: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        arrived.append(exchange)

        def answer(body: bytes) -> None:
            fields = b"".join(b"%b=%b;" % field for field in exchange.trailers)
            exchange.reply(200, body + b" " + fields)

        if exchange.path == b"/first":
            waits.append(asyncio.ensure_future(_reply_after(gate, exchange)))
        else:
            exchange.collect(answer)

    waits: list[asyncio.Task[None]] = []
    running.route(iris(await serve(app)))
    sent = (
        b"POST /second HTTP/1.1\r\nhost: %b\r\ntransfer-encoding: chunked\r\n\r\n"
        b"2\r\nok\r\n0\r\nX-Sum: 9\r\nHost: elsewhere\r\nX-More: a\r\n\r\n" % HOST.encode()
    )
    reader, writer = await running.connect()
    if queued:  # its body has come when it is its turn
        writer.write(b"GET /first HTTP/1.1\r\nhost: %b\r\n\r\n" % HOST.encode())
        await until(lambda: bool(arrived))
    for index in range(0, len(sent), 1 if pieces else len(sent)):
        writer.write(sent[index : index + 1] if pieces else sent)
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        if queued:
            gate.set()
            assert (await reader.readuntil(b"first!")).startswith(b"HTTP/1.1 200")
        body = await reader.readuntil(b"x-more=a;")
    assert body.endswith(b"\r\n\r\nok x-sum=9;x-more=a;")
    writer.close()
    await asyncio.gather(*waits)


async def _reply_after(gate: asyncio.Event, exchange: Exchange) -> None:
    await gate.wait()
    exchange.reply(200, b"first!")
