"""gRPC messages that are none, and answers that are too large: a clear status, never UNKNOWN."""

from __future__ import annotations

import grpc
import pytest

from colonnade.wire import grpc as codec
from colonnade.wire import openinference_pb2 as pb

from .replica import Replica, Start

CODE = """
    import numpy as np
    from colonnade import Model

    class Zeros(Model):
        def predict(self, count: np.ndarray) -> np.ndarray:
            return np.zeros(int(count[0]))
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
