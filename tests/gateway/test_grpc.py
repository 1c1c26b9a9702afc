"""gRPC through a gateway to real grpc.aio upstreams."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import httpx
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from colonnade.errors import DeadlineExceeded, Error, Overloaded, TooLarge, Unavailable
from colonnade.gateway.grpc_proxy import SERVICE
from colonnade.gateway.routes import Backend, Route
from colonnade.net import grpc as calls
from colonnade.wire import openinference_pb2 as oip

from ..grpc_details import MESSAGES, Details, details_of
from .conftest import HOST, LABELS, MUX, Running, Start, iris, targets, until
from .conftest import Serve as ServeApp

INFER = f"/{SERVICE}/ModelInfer"
FOREIGN = MESSAGES["Status"](code=14, message="later").SerializeToString() + b"\x7a\x03new"  # with a field of its own


class Upstream(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers any method with what it got; some methods misbehave."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.seen: list[tuple[str, dict[str, Any], float | None]] = []
        self.cancelled = 0
        self.released = asyncio.Event()

    def service(self, details: Any) -> grpc.RpcMethodHandler:
        name = details.method.rpartition("/")[2]

        async def unary(request: bytes, context: aio.ServicerContext) -> bytes:
            self.seen.append((name, dict(context.invocation_metadata()), context.time_remaining()))
            if b"refuse" in request:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "bad tensor «x»", (("why", "shape"),))
            if b"explain" in request:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "later", (("grpc-status-details-bin", FOREIGN),))
            if b"hold" in request:
                try:
                    await self.released.wait()
                except asyncio.CancelledError:
                    self.cancelled += 1
                    raise
            await context.send_initial_metadata((("replica", self.label),))
            context.set_trailing_metadata((("trail-bin", b"\x00\xff"),))
            return request

        async def stream(requests: AsyncIterator[bytes], context: aio.ServicerContext) -> AsyncIterator[bytes]:
            try:
                async for request in requests:
                    if request == b"stop":
                        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "enough")
                    if request == b"hold":
                        await self.released.wait()
                    yield self.label.encode() + b":" + request
            except asyncio.CancelledError:
                self.cancelled += 1
                raise

        if name.startswith("Stream"):
            return grpc.stream_stream_rpc_method_handler(stream)
        return grpc.unary_unary_rpc_method_handler(unary)


Serve = Callable[..., Awaitable[tuple[str, Upstream]]]


@pytest.fixture
async def grpc_serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        counter = iter(range(100))

        async def starter(label: str = "r") -> tuple[str, Upstream]:
            upstream = Upstream(label)
            server = aio.server(options=[("grpc.max_receive_message_length", -1)])
            server.add_generic_rpc_handlers((upstream,))
            address = f"unix:{folder}/{next(counter)}"
            server.add_insecure_port(address)
            await server.start()
            stack.push_async_callback(server.stop, 0)
            return address, upstream

        yield starter


@pytest.fixture
async def gateway(start: Start) -> Running:
    return await start(grpc=True, grace=0.3)


def channel(running: Running, authority: str | None = None) -> aio.Channel:
    options: list[tuple[str, Any]] = [("grpc.max_receive_message_length", -1)]
    if authority:
        options.append(("grpc.default_authority", authority))
    return aio.insecure_channel(running.gateway.grpc_address, options=options)


def infer(model: str, *raw: bytes) -> bytes:
    return oip.ModelInferRequest(model_name=model, raw_input_contents=raw).SerializeToString()


async def test_unary_by_model_name(gateway: Running, grpc_serve: Serve) -> None:
    address, upstream = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address))
    async with channel(gateway) as client:
        request = infer("iris", b"12")
        call = client.unary_unary(INFER)(request, metadata=(("k", "v"), ("b-bin", b"\x01")), timeout=10)
        assert await call == request
        assert ("replica", "r") in tuple(await call.initial_metadata())
        assert ("trail-bin", b"\x00\xff") in tuple(await call.trailing_metadata())
    ((name, metadata, left),) = upstream.seen
    assert name == "ModelInfer"
    assert metadata["k"] == "v"
    assert metadata["b-bin"] == b"\x01"
    assert metadata["x-forwarded-for"] == "127.0.0.1"
    assert not any(key.startswith("x-colonnade") for key in metadata)
    assert left is not None
    assert 0 < left <= 10


async def test_authority_decides_alone(gateway: Running, grpc_serve: Serve) -> None:
    first, _ = await grpc_serve("first")
    second, _ = await grpc_serve("second")
    gateway.route(
        iris("unix:/no", grpc=first),
        Route("b", "iris", "iris", ("iris-b.example.com",), targets(Backend("b-0", "unix:/no2", second)), ready=True),
    )
    for authority, label in ((HOST, "first"), (HOST.upper() + ":8081", "first"), ("iris-b.example.com:443", "second")):
        async with channel(gateway, authority) as client:
            for method in (INFER, f"/{SERVICE}/ServerLive", "/foreign.Service/Any"):
                for _ in range(2):
                    if method.startswith("/foreign"):
                        call = client.stream_stream(method.replace("Any", "StreamAny"))(iter([b"x"]))
                        assert [part async for part in call] == [label.encode() + b":x"]
                    else:
                        call = client.unary_unary(method)(infer("iris"))
                        await call
                        assert ("replica", label) in tuple(await call.initial_metadata())
    async with channel(gateway) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(INFER)(infer("iris"))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "iris-b.example.com" in (caught.value.details() or "")


async def test_errors_come_back_as_they_are(gateway: Running, grpc_serve: Serve) -> None:
    address, _ = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address))
    async with channel(gateway) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(INFER)(infer("iris", b"refuse"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details() == "bad tensor «x»"
    assert ("why", "shape") in tuple(caught.value.trailing_metadata())


@pytest.mark.parametrize(
    ("request_bytes", "code", "text"),
    [
        (infer("zz"), grpc.StatusCode.NOT_FOUND, "Model with name zz does not exist. Services here: default/mute"),
        (infer("slow"), grpc.StatusCode.UNAVAILABLE, "Service default/slow is not ready: it loads"),
        (infer("mute"), grpc.StatusCode.UNAVAILABLE, "Service default/mute speaks no gRPC; ask it over HTTP."),
        (b"", grpc.StatusCode.INVALID_ARGUMENT, "names no model"),
        (b"\xff\xff", grpc.StatusCode.INVALID_ARGUMENT, "names no model"),
    ],
)
async def test_refusals(gateway: Running, request_bytes: bytes, code: grpc.StatusCode, text: str) -> None:
    gateway.route(
        Route("default", "slow", "slow", reason="it loads"),
        Route("default", "mute", "mute", (), targets(Backend("m", "unix:/no")), ready=True),
    )
    async with channel(gateway) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(INFER)(request_bytes)
        assert caught.value.code() is code
        assert text in (caught.value.details() or "")
        with pytest.raises(aio.AioRpcError) as caught:
            async for _ in client.stream_stream("/foreign.Service/StreamAny")(iter([request_bytes])):
                pass
        assert caught.value.code() is code


async def test_details_of_a_foreign_server_pass_unchanged(gateway: Running, grpc_serve: Serve) -> None:
    address, _ = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address))
    async with channel(gateway) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(INFER)(infer("iris", b"explain"))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert dict(caught.value.trailing_metadata())["grpc-status-details-bin"] == FOREIGN


@pytest.mark.parametrize("serve", [MUX], indirect=True)
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Overloaded("full", retry_after=2.5), Details(8, "full", "TOO_MANY_REQUESTS", "colonnade.dev", 2.5)),
        (Unavailable("away", retry_after=1), Details(14, "away", "SERVICE_UNAVAILABLE", "colonnade.dev", 1.0)),
        (DeadlineExceeded("late"), Details(4, "late", "TIMEOUT", "colonnade.dev", None)),
        (TooLarge("large"), None),
    ],
)
async def test_details_of_a_replica_come_through(
    gateway: Running, serve: ServeApp, error: Error, expected: Details | None
) -> None:
    gateway.route(iris(await serve(lambda exchange: exchange.collect(lambda _: void(calls.refuse(exchange, error))))))
    async with channel(gateway) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(INFER)(infer("iris"))
    assert details_of(caught.value) == expected


async def test_the_gateway_gives_details_of_its_own(gateway: Running, grpc_serve: Serve) -> None:
    address, _ = await grpc_serve()
    gateway.route(
        Route("default", "slow", "slow", reason="it loads"),
        Route("default", "gone", "gone", (), targets(Backend("g", "unix:/no", "unix:/nowhere")), ready=True),
        iris("unix:/no", grpc=address, timeout=0.1),
    )
    found = {}
    async with channel(gateway) as client:
        for request in (infer("slow"), infer("gone"), infer("iris", b"hold"), infer("nobody")):
            with pytest.raises(aio.AioRpcError) as caught:
                await client.unary_unary(INFER)(request)
            details = details_of(caught.value)
            found[caught.value.code(), len(found)] = details and (details.reason, details.retry_delay)
    assert found == {
        (grpc.StatusCode.UNAVAILABLE, 0): ("SERVICE_UNAVAILABLE", 1.0),
        (grpc.StatusCode.UNAVAILABLE, 1): ("SERVICE_UNAVAILABLE", 1.0),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 2): ("TIMEOUT", None),
        (grpc.StatusCode.NOT_FOUND, 3): None,
    }


def void(_: object) -> None:
    """Nothing of a value."""


@pytest.mark.parametrize("method", ["RepositoryModelLoad", "RepositoryModelUnload"])
async def test_load_and_unload_are_the_platforms(gateway: Running, grpc_serve: Serve, method: str) -> None:
    address, upstream = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address))
    async with channel(gateway) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(f"/inference.GRPCInferenceService/{method}")(infer("iris"))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "change the InferenceService" in (caught.value.details() or "")
    assert not upstream.seen


async def test_deadline_and_cancel_reach_the_replica(gateway: Running, grpc_serve: Serve) -> None:
    address, upstream = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address))
    async with channel(gateway) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(INFER)(infer("iris", b"hold"), timeout=0.2)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await until(lambda: upstream.cancelled == 1)
        call = client.unary_unary(INFER)(infer("iris", b"hold"))
        waiting = asyncio.ensure_future(call)
        await until(lambda: len(upstream.seen) == 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await until(lambda: upstream.cancelled == 2)
    await until(lambda: gateway.revision.grpc_balancer.members[0].load.outstanding == 0)


async def test_limit_of_the_route(gateway: Running, grpc_serve: Serve) -> None:
    address, upstream = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address, timeout=0.1))
    async with channel(gateway) as client:
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(INFER)(infer("iris", b"hold"))
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until(lambda: upstream.cancelled == 1)


async def test_streams_both_ways(gateway: Running, grpc_serve: Serve) -> None:
    address, upstream = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address))
    async with channel(gateway, HOST) as client:
        call = client.stream_stream("/any.Service/StreamEcho")()
        for i in range(3):
            await call.write(b"%d" % i)
            assert await call.read() == b"r:%d" % i, "an answer waits for later requests"
        await call.write(b"stop")
        with pytest.raises(aio.AioRpcError):
            await call.read()
        assert await call.code() is grpc.StatusCode.OUT_OF_RANGE
        assert await call.details() == "enough"
        call = client.stream_stream("/any.Service/StreamEcho")()
        await call.write(b"x")
        assert await call.read() == b"r:x"
        await call.write(b"hold")
        call.cancel()
        await until(lambda: upstream.cancelled == 1)


async def test_replica_that_is_not_there(gateway: Running, grpc_serve: Serve) -> None:
    address, upstream = await grpc_serve("alive")
    backends = (Backend("dead", "unix:/no", "unix:/nowhere/dead"), Backend("alive", "unix:/no2", address))
    gateway.route(iris(targets=targets(*backends)))
    async with channel(gateway) as client:
        for _ in range(4):
            await client.unary_unary(INFER)(infer("iris"))
        assert len(upstream.seen) == 4
        call = client.stream_stream("/any.Service/StreamEcho")(iter([infer("iris")]))
        assert [part async for part in call] == [b"alive:" + infer("iris")]
        gateway.route(iris(targets=targets(*backends[:1])))
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(INFER)(infer("iris"))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "safe to send it again" in (caught.value.details() or "")
        assert "/nowhere" not in (caught.value.details() or "")
        with pytest.raises(aio.AioRpcError) as caught:
            await client.stream_stream("/any.Service/StreamEcho")(iter([infer("iris")])).read()
        assert "safe to send it again" in (caught.value.details() or "")


async def test_replica_that_breaks_off(gateway: Running) -> None:
    def client_connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def break_off() -> None:
            await reader.readuntil(b"\x04\x00\x00\x00\x00")  # SETTINGS
            writer.write(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00" + b"\x00\x00\x00\x04\x01\x00\x00\x00\x00")
            while b"iris" not in await reader.read(65536):
                pass
            writer.transport.abort()

        tasks.append(asyncio.create_task(break_off()))

    tasks: list[asyncio.Task[None]] = []
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.start_unix_server(client_connected, f"{folder}/s")
        gateway.route(iris("unix:/no", grpc=f"unix:{folder}/s"))
        async with channel(gateway) as client:
            with pytest.raises(aio.AioRpcError) as caught:
                await client.unary_unary(INFER)(infer("iris"), timeout=5)
        server.close()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "may have been executed" in (caught.value.details() or "")
        assert folder not in (caught.value.details() or "")
    await asyncio.gather(*tasks)


async def test_server_calls_health_and_reflection_on_the_gateway(gateway: Running) -> None:
    async with channel(gateway) as client:
        for name, answer in (
            ("ServerLive", oip.ServerLiveResponse(live=True)),
            ("ServerReady", oip.ServerReadyResponse(ready=True)),
        ):
            assert await client.unary_unary(f"/{SERVICE}/{name}")(b"") == answer.SerializeToString()
        metadata = oip.ServerMetadataResponse.FromString(await client.unary_unary(f"/{SERVICE}/ServerMetadata")(b""))
        assert metadata.name == "colonnade"
        health = await health_pb2_grpc.HealthStub(client).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        listing = reflection_pb2_grpc.ServerReflectionStub(client).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        names = [entry.name async for answer in listing for entry in answer.list_services_response.service]
        assert SERVICE in names
        assert "grpc.health.v1.Health" in names
        described = reflection_pb2_grpc.ServerReflectionStub(client).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE)])
        )
        [files] = [answer.file_descriptor_response.file_descriptor_proto async for answer in described]
        assert any(b"GRPCInferenceService" in file for file in files)


async def test_token(start: Start, grpc_serve: Serve) -> None:
    running = await start(grpc=True, token="s3cret", require_token=True, grace=0.3)
    address, upstream = await grpc_serve()
    running.route(iris("unix:/no", grpc=address))
    async with channel(running) as client:
        for metadata in ((), (("authorization", "Bearer no"),)):
            with pytest.raises(aio.AioRpcError) as caught:
                await client.unary_unary(INFER)(infer("iris"), metadata=metadata)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        await client.unary_unary(INFER)(infer("iris"), metadata=(("authorization", "Bearer s3cret"),))
    ((_, metadata, _),) = upstream.seen
    assert "authorization" not in metadata


async def test_large_messages_and_the_limit(gateway: Running, grpc_serve: Serve) -> None:
    address, _ = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address))
    async with channel(gateway) as client:
        request = infer("iris", b"x" * (20 << 20))
        assert await client.unary_unary(INFER)(request) == request
        with pytest.raises(aio.AioRpcError) as caught:
            await client.unary_unary(INFER)(infer("iris", b"x" * (65 << 20)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_limit_is_an_option(start: Start, grpc_serve: Serve) -> None:
    gateway = await start(grpc=True, grace=0.3, max_message=1000)
    address, upstream = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address))
    async with channel(gateway) as client:
        assert await client.unary_unary(INFER)(infer("iris", b"x" * 900))
        for method, authority in ((INFER, None), (INFER, HOST), (f"/{SERVICE}/ServerLive", None)):
            with pytest.raises(aio.AioRpcError) as caught:
                async with channel(gateway, authority) as other:
                    await other.unary_unary(method)(infer("iris", b"x" * 1000))
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert "over the limit of 1000; send less, or raise --max-message" in (caught.value.details() or "")
    assert len(upstream.seen) == 1


async def test_many_calls_count_and_leave_nothing(gateway: Running, grpc_serve: Serve) -> None:
    addresses = [(await grpc_serve(str(i)))[0] for i in range(2)]
    gateway.route(iris(targets=targets(*(Backend(a, f"unix:/no{a}", a) for a in addresses))))
    async with channel(gateway) as client:
        multi = client.unary_unary(INFER)
        await asyncio.gather(*(multi(infer("iris", b"%d" % i)) for i in range(200)))
    numbers = await gateway.metrics()
    labels = f'{LABELS},protocol="grpc"'
    assert numbers[f'colonnade_gateway_requests_total{{{labels},code="OK"}}'] == 200
    assert numbers['colonnade_gateway_in_flight{protocol="grpc"}'] == 0


async def test_one_port_takes_all_protocols(gateway: Running, grpc_serve: Serve) -> None:
    """gRPC on the HTTP port, and both versions of HTTP on either port."""
    address, _ = await grpc_serve()
    gateway.route(iris("unix:/no", grpc=address))
    async with aio.insecure_channel(gateway.gateway.http_addresses[0]) as client:
        assert await client.unary_unary(INFER)(infer("iris")) == infer("iris")
    assert gateway.gateway.grpc_address is not None
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"http://{gateway.gateway.grpc_address}/v2/health/live")
    assert (answer.http_version, answer.json()) == ("HTTP/1.1", {"live": True})
    async with httpx.AsyncClient(trust_env=False, http1=False, http2=True) as http:
        answer = await http.get(f"http://{gateway.gateway.http_addresses[0]}/v2/health/live")
    assert (answer.http_version, answer.json()) == ("HTTP/2", {"live": True})
