"""The unary client against grpcio's server: answers, statuses, and servers that are none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from colonnade.net import Address
from colonnade.net.grpc_client import CallFailed, call
from colonnade.net.http2 import PREFACE, Http2
from colonnade.wire.grpc_framing import Code

from .conftest import Serve
from .raw import DEADLINE, echo


class Peer(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers with what it got; some methods misbehave."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def unary(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            fields = dict(context.invocation_metadata())
            assert fields["k"] == "v"
            if details.method == "/a.B/Refuse":
                await context.abort(grpc.StatusCode.NOT_FOUND, "no «x» at 100 %")
            if details.method == "/a.B/Late":
                await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"{context.time_remaining() < 9}")
            return request

        return grpc.unary_unary_rpc_method_handler(unary)


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Address]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Peer(),))
    server.add_insecure_port(f"unix:{tmp_path}/s")
    await server.start()
    yield Address(path=f"{tmp_path}/s")
    await server.stop(0)


async def ask(address: Address, path: str, message: bytes = b"", timeout: float = DEADLINE) -> bytes:
    return await call(address, path, message, authority="svc", metadata=[(b"k", b"v")], timeout=timeout)


@pytest.mark.parametrize("size", [0, 10, 1_000_000])
async def test_an_answer(peer: Address, size: int) -> None:
    assert await ask(peer, "/a.B/Echo", b"x" * size) == b"x" * size


async def test_a_status_that_is_not_ok(peer: Address) -> None:
    with pytest.raises(CallFailed) as caught:
        await ask(peer, "/a.B/Refuse")
    assert (caught.value.code, caught.value.details) == (Code.NOT_FOUND, "no «x» at 100 %")
    with pytest.raises(CallFailed, match="DEADLINE_EXCEEDED: True"):
        await ask(peer, "/a.B/Late")


async def test_servers_that_are_none(serve: Serve, tmp_path: Path) -> None:
    for address in (Address(path=f"{tmp_path}/nobody"), Address("127.0.0.1", await serve(echo))):
        with pytest.raises(CallFailed) as caught:
            await ask(address, "/a.B/Echo")
        assert caught.value.code is Code.UNAVAILABLE


async def test_a_server_of_http_2_without_grpc(serve: Serve) -> None:
    port = await serve(echo, dialects=[(PREFACE, Http2())])
    with pytest.raises(CallFailed, match="HTTP status 200 without a status of gRPC"):
        await ask(Address("127.0.0.1", port), "/a.B/Echo")


async def test_no_answer_in_time(serve: Serve) -> None:
    port = await serve(lambda exchange: None, dialects=[(PREFACE, Http2())])
    with pytest.raises(CallFailed, match="no answer within"):
        await ask(Address("127.0.0.1", port), "/a.B/Echo", timeout=0.05)
