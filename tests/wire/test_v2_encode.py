"""V2 bodies out: exact bytes of answers, binary framing, requested outputs, metadata."""

from __future__ import annotations

import json
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from colonnade.errors import InferenceError, InvalidInput
from colonnade.wire import v2
from colonnade.wire.tensors import InferRequest, InferResponse, RequestedOutput, Tensor, TensorSpec


def answer(*arrays: Any, **fields: Any) -> InferResponse:
    return InferResponse("m", [Tensor.of(f"y{index}", array) for index, array in enumerate(arrays)], **fields)


def ask(*outputs: RequestedOutput, **fields: Any) -> InferRequest:
    return InferRequest("m", [], outputs=list(outputs), **fields)


def test_absent_fields_are_left_out_and_data_is_flat() -> None:
    length, chunks = v2.encode(answer(np.array([[1, 2], [3, 4]]).T), ask())
    assert length is None
    assert chunks == [b'{"model_name":"m","outputs":[{"name":"y0","shape":[2,2],"datatype":"INT64","data":[1,3,2,4]}]}']


def test_an_input_that_came_raw_goes_back_as_json_without_its_size() -> None:
    for parameters, kept in (({"binary_data_size": 8}, None), ({"binary_data_size": 8, "q": 1}, {"q": 1})):
        response = answer(np.array([1]))
        response.outputs[0].parameters = parameters
        [output] = json.loads(v2.encode(response, ask())[1][0])["outputs"]
        assert output.get("parameters") == kept


def test_id_version_and_parameters() -> None:
    response = answer(np.array([1], dtype=np.int8), model_version="3", parameters={"p": 1})
    response.outputs[0].parameters = {"q": True}
    (text,) = v2.encode(response, ask(id="7"))[1]
    assert json.loads(text) == {
        "model_name": "m",
        "model_version": "3",
        "id": "7",
        "parameters": {"p": 1},
        "outputs": [{"name": "y0", "shape": [1], "datatype": "INT8", "parameters": {"q": True}, "data": [1]}],
    }


JSON_DATA = [
    (np.array([0.1, 1 / 3, 2], dtype=np.float32), "[0.1,0.33333334,2.0]"),
    (np.array([0.1, 1 / 3]), "[0.1,0.3333333333333333]"),
    (np.array([np.nan, np.inf, -np.inf, 1]), "[null,null,null,1.0]"),
    (np.array([np.nan, np.inf, 1], dtype=np.float32), "[null,null,1.0]"),
    (np.array([True, False]), "[true,false]"),
    (np.array([2**64 - 1], dtype=np.uint64), "[18446744073709551615]"),
    (np.array([b"x", "\u00df"], dtype=object), '["x","\u00df"]'),
    (np.array(["a", "bc"]), '["a","bc"]'),
    (np.array([1, 2], dtype=">i4"), "[1,2]"),
    (np.array([], dtype=np.float32), "[]"),
    (np.array(7), "[7]"),
]


@pytest.mark.parametrize(("array", "text"), JSON_DATA)
def test_elements_in_json(array: np.ndarray, text: str) -> None:
    body = v2.encode(answer(array), ask())[1][0].decode()
    assert body.endswith(f'"data":{text}}}]}}')
    json.loads(body)


def test_fp16_goes_only_as_binary() -> None:
    response = answer(np.array([1, 2], dtype=np.float16))
    with pytest.raises(InvalidInput) as caught:
        v2.encode(response, ask())
    assert caught.value.message == (
        "Sending FP16 data via JSON is not supported. Please use the binary data format for output y0"
    )
    length, chunks = v2.encode(response, ask(parameters={"binary_data_output": True}))
    assert length == len(chunks[0])
    assert chunks[1] == np.array([1, 2], dtype="<f2").tobytes()


def test_bytes_that_are_not_text_go_only_as_binary() -> None:
    response = answer(np.array([b"\xff"], dtype=object))
    with pytest.raises(InferenceError) as caught:
        v2.encode(response, ask())
    assert caught.value.message == (
        'Output "y0" holds bytes that are not UTF-8 text; ask for it as binary data ("binary_data": true)'
    )
    assert v2.encode(response, ask(RequestedOutput("y0", {"binary_data": True})))[1][1] == b"\1\0\0\0\xff"


@pytest.mark.parametrize("junk", [5, None, [1]])
def test_a_bytes_element_of_another_kind_is_the_models_fault(junk: object) -> None:
    data = np.empty(1, dtype=object)
    data[0] = junk
    for request in (ask(), ask(parameters={"binary_data_output": True})):
        with pytest.raises(InferenceError, match='Output "y0": a BYTES element is neither bytes nor text'):
            v2.encode(InferResponse("m", [Tensor("y0", "BYTES", (1,), data)]), request)


LARGE = 1 << 17


def test_a_large_array_is_sent_where_it_lies_unless_somebody_keeps_it() -> None:
    binary = ask(parameters={"binary_data_output": True})
    chunk = v2.encode(answer(np.arange(LARGE, dtype=np.float32)), binary)[1][1]
    assert isinstance(chunk, memoryview)
    assert bytes(chunk) == np.arange(LARGE, dtype=np.float32).tobytes()
    kept = np.arange(LARGE, dtype=np.float32)
    for array in (kept, kept[:], kept[::2], kept.reshape(2, -1)):
        before = array.tobytes()
        chunk = v2.encode(answer(array), binary)[1][1]
        kept += 1
        assert chunk == before


def test_bf16_is_the_upper_half_of_a_float32_rounded_to_the_nearest() -> None:
    ones = [1.0, 1.00390625, 1.01171875, -2.5, np.inf, -np.inf, 3.4e38, 1e-40]
    values = np.array(ones, dtype=np.float32)
    response = InferResponse("m", [Tensor("y0", "BF16", values.shape, values)])
    chunk = v2.encode(response, ask(parameters={"binary_data_output": True}))[1][1]
    assert chunk == values.astype(ml_dtypes.bfloat16).tobytes()
    hidden = np.array([0x7F800001], dtype=np.uint32).view(np.float32)  # a NaN whose upper half says infinity
    response = InferResponse("m", [Tensor("y0", "BF16", (1,), hidden)])
    chunk = v2.encode(response, ask(parameters={"binary_data_output": True}))[1][1]
    assert np.isnan(np.frombuffer(chunk, ml_dtypes.bfloat16)).all()


def test_binary_is_chosen_for_each_output() -> None:
    response = answer(np.array([1, 2], dtype=np.int16), np.array([True]), np.array([[1.0]]))
    request = ask(
        RequestedOutput("y2"), RequestedOutput("y0", {"binary_data": False}), parameters={"binary_data_output": True}
    )
    length, chunks = v2.encode(response, request)
    assert length == len(chunks[0])
    assert json.loads(chunks[0])["outputs"] == [
        {"name": "y2", "shape": [1, 1], "datatype": "FP64", "parameters": {"binary_data_size": 8}},
        {"name": "y0", "shape": [2], "datatype": "INT16", "data": [1, 2]},
    ]
    assert chunks[1:] == [np.array([1.0]).tobytes()]


def test_an_unknown_requested_output_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        v2.encode(answer(np.array([1]), np.array([2])), ask(RequestedOutput("z")))
    assert caught.value.message == 'Requested output "z" does not exist; the model\'s outputs are "y0", "y1"'


def test_metadata_and_states() -> None:
    spec = TensorSpec("x", "FP32", (-1, 4))
    assert json.loads(v2.model_metadata("m", ["1"], "sklearn", [spec], [])) == {
        "name": "m",
        "versions": ["1"],
        "platform": "sklearn",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [],
    }
    assert json.loads(v2.server_metadata("colonnade", "0.1")) == {
        "name": "colonnade",
        "version": "0.1",
        "extensions": ["binary_tensor_data", "model_repository"],
    }
    assert v2.live(True) == b'{"live":true}'
    assert v2.ready(True) == b'{"ready":true}'
    assert v2.model_ready("m", False) == b'{"name":"m","ready":false}'
    assert v2.model_names(["a", "b"]) == b'{"models":["a","b"]}'
    assert v2.repository_loaded("m") == b'{"name":"m","load":true}'
    assert v2.repository_unloaded("m") == b'{"name":"m","unload":true}'
    assert json.loads(v2.repository_index([("m", "1", "READY", "")])) == [
        {"name": "m", "version": "1", "state": "READY", "reason": ""}
    ]
