"""gRPC messages: parameters, bad messages and their exact words, metadata."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import InvalidInput
from colonnade.wire import descriptors, grpc
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.tensors import InferRequest, InferResponse, RequestedOutput, Tensor, TensorSpec

Request = pb.ModelInferRequest


def request(
    datatype: str = "FP32", shape: tuple[int, ...] = (2,), raw: bytes | None = None, **contents: Any
) -> Request:
    message = Request(model_name="m")
    message.inputs.add(name="a", datatype=datatype, shape=shape)
    if contents:
        message.inputs[0].contents.CopyFrom(pb.InferTensorContents(**contents))
    if raw is not None:
        message.raw_input_contents.append(raw)
    return message


def twice() -> Request:
    message = request(fp32_contents=[1, 2])
    message.inputs.append(message.inputs[0])
    return message


def raw_for_one_of_two() -> Request:
    message = request(raw=b"12345678")
    message.inputs.add(name="b", datatype="INT8", shape=[1])
    return message


BAD_MESSAGES: list[tuple[Callable[[], Request], str]] = [
    (twice, 'Input "a" is given twice; input names must differ'),
    (raw_for_one_of_two, "raw_input_contents has 1 entries for 2 inputs; send one for each input, in order"),
    (
        lambda: request(raw=b"12345678", fp32_contents=[1, 2]),
        'Input "a" has contents and the request has raw_input_contents; send one of them',
    ),
    (lambda: request(raw=b"1234"), 'Input "a": FP32 of shape [2] is 8 bytes, but 4 were sent'),
    (lambda: request("BF16", raw=b"12"), 'Input "a": BF16 of shape [2] is 4 bytes, but 2 were sent'),
    (
        lambda: request("BF16", fp32_contents=[1, 2]),
        'Input "a": BF16 has no typed contents; send it in raw_input_contents',
    ),
    (
        lambda: request("FP16", fp32_contents=[1, 2]),
        'Input "a": FP16 has no typed contents; send it in raw_input_contents',
    ),
    (
        lambda: request("INT64", int_contents=[1, 2]),
        'Input "a": INT64 is sent in int64_contents, but int_contents came',
    ),
    (lambda: request(), 'Input "a": shape [2] needs 2 elements, but fp32_contents has 0'),
    (lambda: request(fp32_contents=[1]), 'Input "a": shape [2] needs 2 elements, but fp32_contents has 1'),
    (
        lambda: request(shape=(1 << 62, 1 << 62), fp32_contents=[1]),
        f'Input "a": shape [{1 << 62}, {1 << 62}] needs more than 2^63 elements, but fp32_contents has 1',
    ),
    (
        lambda: request(shape=(-1,), fp32_contents=[1]),
        'Input "a": shape [-1] has a negative dimension; give the actual size',
    ),
    (
        lambda: request("INT8", int_contents=[1, 128]),
        'Input "a": 128 is outside the range of INT8 (-128 to 127)',
    ),
    (
        lambda: request("UINT16", uint_contents=[65536, 1]),
        'Input "a": 65536 is outside the range of UINT16 (0 to 65535)',
    ),
]


@pytest.mark.parametrize(("build", "message"), BAD_MESSAGES)
def test_a_bad_message_is_refused_in_words_that_help(build: Callable[[], Request], message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        grpc.decode(build())
    assert caught.value.message == message


@given(st.binary(max_size=200))
def test_any_bytes_that_parse_as_a_message_decode_or_are_refused(data: bytes) -> None:
    with suppress(DecodeError, InvalidInput):
        grpc.decode(Request.FromString(data))


def test_parameters_of_every_kind_go_both_ways() -> None:
    parameters = {"b": True, "i": -1, "u": 2**64 - 1, "d": 0.5, "s": "x"}
    sent = InferRequest(
        "m",
        [Tensor("a", "INT8", (1,), np.array([1], dtype=np.int8), parameters)],
        "7",
        "2",
        parameters,
        [RequestedOutput("y", parameters), RequestedOutput("z")],
    )
    received = grpc.decode(grpc.encode_request(sent))
    assert (received.model_name, received.id, received.model_version) == ("m", "7", "2")
    assert received.parameters == received.inputs[0].parameters == received.outputs[0].parameters == parameters
    assert received.outputs[1] == RequestedOutput("z")


def test_absent_texts_are_none() -> None:
    received = grpc.decode(request(fp32_contents=[1, 2]))
    assert (received.id, received.model_version, received.parameters, received.outputs) == (None, None, None, [])


def test_raw_in_is_raw_out_with_the_size_of_each_output() -> None:
    response = InferResponse("m", [Tensor.of("y", np.array([1, 2], dtype=np.int32))], id="7", model_version="1")
    message = grpc.encode(response, grpc.decode(request(raw=np.ones(2, dtype=np.float32).tobytes())))
    assert (message.id, message.model_version) == ("7", "1")
    assert message.raw_output_contents == [np.array([1, 2], dtype="<i4").tobytes()]
    assert message.outputs[0].parameters["binary_data_size"].int64_param == 8
    assert not message.outputs[0].HasField("contents")


def test_typed_in_is_typed_out() -> None:
    response = InferResponse("m", [Tensor.of("y", np.array(["a", "b"]))])
    message = grpc.encode(response, grpc.decode(request(fp32_contents=[1, 2])))
    assert message.outputs[0].contents.bytes_contents == [b"a", b"b"]
    assert not message.raw_output_contents


def test_an_unknown_requested_output_is_refused() -> None:
    asked = InferRequest("m", [], outputs=[RequestedOutput("z")])
    with pytest.raises(InvalidInput, match='Requested output "z" does not exist; the model\'s outputs are "y"'):
        grpc.encode(InferResponse("m", [Tensor.of("y", np.array([1]))]), asked)


def test_model_metadata() -> None:
    message = grpc.model_metadata("m", ["1"], "onnx", [TensorSpec("x", "FP32", (-1, 4))], [])
    assert (message.name, message.versions, message.platform) == ("m", ["1"], "onnx")
    assert (message.inputs[0].name, message.inputs[0].datatype, message.inputs[0].shape) == ("x", "FP32", [-1, 4])


def test_every_method_of_the_service_has_its_messages() -> None:
    service = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert service.full_name == grpc.SERVICE
    assert {method.name: (method.input_type, method.output_type) for method in service.methods} == {
        name: (asked.DESCRIPTOR, answered.DESCRIPTOR) for name, (asked, answered) in grpc.METHODS.items()
    }


def test_one_pool_describes_every_service_with_its_messages() -> None:
    pool = descriptors.pool()
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} < set(descriptors.SERVICES)
    for name in descriptors.SERVICES:
        assert all(method.input_type.full_name for method in pool.FindServiceByName(name).methods)


@pytest.mark.parametrize(
    ("client", "first"), [("tritonclient.grpc", True), ("tritonclient.grpc", False), ("kserve", True)]
)
def test_our_messages_live_beside_those_of_other_clients(client: str, first: bool) -> None:
    """They register messages of the same names; a default pool would refuse the second one."""
    imports = [f"import {client}", "from colonnade.wire import grpc"]
    script = "; ".join(imports if first else reversed(imports))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
