"""gRPC messages that are none, and answers that are too large: a clear status, never UNKNOWN."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest

from colonnade.wire import grpc as codec
from colonnade.wire import openinference_pb2 as pb

from ..grpc_details import details_of
from .replica import Replica, Start

CODE = """
    import numpy as np
    from colonnade import Model

    class Zeros(Model):
        def predict(self, count: np.ndarray) -> np.ndarray:
            return np.zeros(int(count[0]))
"""


GATED = """
    import time
    from pathlib import Path
    import numpy as np
    from colonnade import Model

    class Gated(Model):
        def predict(self, count: np.ndarray) -> np.ndarray:
            while not Path("{gate}").exists():
                time.sleep(0.005)
            return count
"""


@pytest.fixture(scope="module")
def replica(start: Start) -> Replica:
    return start("--model-name", "m", "--grpc_max_send_message_length=10000", code=CODE).ready()


@pytest.mark.parametrize("method", codec.METHODS)
def test_bytes_that_are_no_message_are_an_invalid_argument(replica: Replica, method: str) -> None:
    with grpc.insecure_channel(replica.grpc) as channel, pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(f"/{codec.SERVICE}/{method}")(b"\xff\xff\xff")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    asked = codec.METHODS[method][0].DESCRIPTOR.full_name
    assert refused.value.details() == f"The request's bytes are no {asked}; send that protobuf message"


def test_an_answer_over_the_limit_says_so(replica: Replica) -> None:
    def ask(count: int) -> pb.ModelInferResponse:
        request = pb.ModelInferRequest(model_name="m")
        request.inputs.add(name="count", datatype="INT64", shape=[1]).contents.int64_contents.append(count)
        with grpc.insecure_channel(replica.grpc) as channel:
            body = channel.unary_unary(f"/{codec.SERVICE}/ModelInfer")(request.SerializeToString())
        return pb.ModelInferResponse.FromString(body)

    assert ask(3).outputs[0].contents.fp64_contents == [0.0, 0.0, 0.0]
    with pytest.raises(grpc.RpcError) as refused:
        ask(2000)
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "over the limit of 10000 (--max-message)" in refused.value.details()
    assert replica.metric('request_total{model_name="m",protocol="grpc",code="RESOURCE_EXHAUSTED"}') == 1


async def test_what_comes_too_much_or_too_late_has_details(start: Start, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    replica = start("--model-name", "m", "--max-queue", "1", code=GATED.format(gate=gate)).ready()
    request = pb.ModelInferRequest(model_name="m")
    request.inputs.add(name="count", datatype="INT64", shape=[1]).contents.int64_contents.append(1)
    body = request.SerializeToString()
    async with grpc.aio.insecure_channel(replica.grpc) as channel:
        infer = channel.unary_unary(f"/{codec.SERVICE}/ModelInfer")
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await infer(body, metadata=(("x-envoy-expected-rq-timeout-ms", "100"),))
        asked = [asyncio.ensure_future(infer(body)) for _ in range(4)]  # one or two wait, the others are refused
        done, _ = await asyncio.wait(asked, timeout=30, return_when=asyncio.FIRST_COMPLETED)
        refused = next(iter(done)).exception()
        gate.touch()
        await asyncio.gather(*asked, return_exceptions=True)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert isinstance(refused, grpc.aio.AioRpcError)
    assert refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    found = [details_of(error) for error in (late.value, refused)]
    assert [details and details.reason for details in found] == ["TIMEOUT", "TOO_MANY_REQUESTS"]
    assert [details and details.retry_delay is not None for details in found] == [False, True]
