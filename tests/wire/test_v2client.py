"""The client's side of V2 and of gRPC: what our server reads of a request, and what a client reads of an answer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import BadUpstream
from colonnade.wire import grpc, v2, v2client
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.tensors import InferRequest, InferResponse, RequestedOutput, Tensor

from .strategies import assert_same, tensors


@given(tensors(json_only=True), st.sampled_from([None, "7"]))
def test_a_request(sent: list[Tensor], identity: str | None) -> None:
    request = InferRequest("m", sent, identity, parameters={"p": 1}, outputs=[RequestedOutput("y")])
    found = v2.decode(v2client.encode(request), None, "m")
    assert_same(found.inputs, sent)
    assert (found.id, found.parameters, [output.name for output in found.outputs]) == (identity, {"p": 1}, ["y"])


@given(tensors(json_only=True))
def test_an_answer_in_json(sent: list[Tensor]) -> None:
    length, chunks = v2.encode(InferResponse("m", sent, "7", "2"), InferRequest("m", []))
    found = v2client.decode(b"".join(chunks), length)
    assert_same(found.outputs, sent)
    assert (found.model_name, found.id, found.model_version) == ("m", "7", "2")


@given(tensors())
def test_an_answer_in_binary(sent: list[Tensor]) -> None:
    request = InferRequest("m", [], parameters={"binary_data_output": True})
    length, chunks = v2.encode(InferResponse("m", sent), request)
    assert_same(v2client.decode(b"".join(chunks), length).outputs, sent)


@given(tensors(), st.booleans())
def test_an_answer_over_grpc(sent: list[Tensor], raw: bool) -> None:
    request = (grpc.RawInferRequest if raw else InferRequest)("m", [])
    message = grpc.encode(InferResponse("m", sent), request).SerializeToString()
    assert_same(grpc.decode_response(pb.ModelInferResponse.FromString(message)).outputs, sent)


def test_what_json_cannot_write_comes_as_null() -> None:
    body = b'{"model_name":"m","outputs":[{"name":"y","datatype":"FP64","shape":[2],"data":[null,1.5]}]}'
    first, second = v2client.decode(body, None).outputs[0].data.tolist()
    assert math.isnan(first)
    assert second == 1.5


@pytest.mark.parametrize(
    ("body", "length"),
    [
        (b"", None),
        (b"not json", None),
        (b"[]", None),
        (b'{"outputs":[{"name":"y"}]}', None),
        (b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2]}]}', None),
        (b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1]}]}', None),
        (b'{"outputs":[{"name":"y","datatype":"COMPLEX","shape":[1],"data":[1]}]}', None),
        (b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"data":["a"]}]}', None),
        (b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1],"parameters":{"binary_data_size":4}}]}', 86),
        (b"{}", -1),
        (b"\xff\xfe", 1),
    ],
)
def test_garbage_is_the_predictors_fault(body: bytes, length: int | None) -> None:
    with pytest.raises(BadUpstream, match="The predictor's answer is none of the V2 protocol"):
        v2client.decode(body, length)


def test_raw_contents_that_are_missing_are_the_predictors_fault() -> None:
    message = pb.ModelInferResponse(raw_output_contents=[b"1234"])
    with pytest.raises(BadUpstream, match="1 raw_output_contents for 0 outputs"):
        grpc.decode_response(message)
