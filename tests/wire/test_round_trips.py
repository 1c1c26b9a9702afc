"""Every datatype survives every encoding: V2 JSON, V2 binary, gRPC typed and raw."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from colonnade.wire import grpc, v2
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.tensors import InferRequest, InferResponse, Tensor

from .strategies import assert_same, tensors


def through_v2(sent: list[Tensor], binary: bool) -> list[Tensor]:
    """Encodes tensors as an answer and reads them as a request: both have the same form on the wire."""
    request = InferRequest("m", [], parameters={"binary_data_output": binary})
    length, chunks = v2.encode(InferResponse("m", sent), request)
    document = json.loads(chunks[0])
    document["inputs"] = document.pop("outputs")
    text = json.dumps(document).encode()
    assert (length is not None) == binary
    return v2.decode(b"".join([text, *chunks[1:]]), len(text) if binary else None, "m", None).inputs


@given(tensors(json_only=True))
def test_json(sent: list[Tensor]) -> None:
    assert_same(through_v2(sent, False), sent)


@given(tensors())
def test_binary(sent: list[Tensor]) -> None:
    received = through_v2(sent, True)
    for tensor in received:
        tensor.parameters = None
    assert_same(received, sent)


@given(tensors(), st.booleans())
def test_grpc_request(sent: list[Tensor], raw: bool) -> None:
    kind = grpc.RawInferRequest if raw else InferRequest
    message = grpc.encode_request(kind("m", sent, id="7"))
    received = grpc.decode(pb.ModelInferRequest.FromString(message.SerializeToString()))
    needs_raw = raw or any(tensor.datatype in ("FP16", "BF16") for tensor in sent)
    assert isinstance(received, grpc.RawInferRequest) == needs_raw
    assert_same(received.inputs, sent)
    assert received.id == "7"


@given(tensors(), st.booleans())
def test_grpc_response(sent: list[Tensor], raw: bool) -> None:
    kind = grpc.RawInferRequest if raw else InferRequest
    message = grpc.encode(InferResponse("m", sent), kind("m", []))
    back = pb.ModelInferRequest(model_name="m", raw_input_contents=message.raw_output_contents)
    for output in message.outputs:
        back.inputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if output.HasField("contents"):
            back.inputs[-1].contents.CopyFrom(output.contents)
    assert_same(grpc.decode(back).inputs, sent)
