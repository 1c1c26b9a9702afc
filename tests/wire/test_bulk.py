"""Large JSON bodies mean what small ones mean: blanks make any body large, and must change nothing."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from colonnade.errors import InvalidInput
from colonnade.model.payloads import array_of
from colonnade.wire import bulk, v1, v2
from colonnade.wire.tensors import DTYPES

from .test_wire_fuzz import DOCUMENTS, JSON, SHAPES

BLANKS = b" " * bulk.LARGE

NUMBERS = st.integers(-3, 300) | st.integers(-(2**64), 2**65) | st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(NUMBERS, max_size=4)
NESTED = st.recursive(NUMBERS | st.sampled_from([None, True, "[", []]), lambda inner: st.lists(inner, max_size=3))


def outcome(body: bytes) -> Any:
    """What a V2 body means: its tensors, or the words against it."""
    try:
        request = v2.decode(body, None, "m", None)
    except InvalidInput as error:
        return error.message
    tensors = [
        (tensor.name, tensor.datatype, tensor.shape, tensor.data.dtype, tensor.data.tolist(), tensor.parameters)
        for tensor in request.inputs
    ]
    return tensors, request.id, request.parameters, request.outputs


def of(datatype: str, shape: Any, data: Any, **fields: Any) -> bytes:
    return json.dumps(
        {"inputs": [{"name": "a", "shape": shape, "datatype": datatype, "data": data}], **fields}
    ).encode()


@settings(max_examples=500)
@given(st.sampled_from(sorted(DTYPES)), NESTED | st.lists(NUMBERS) | st.lists(ROWS), SHAPES)
@example("FP32", [1, [], [2, 3]], [3])
@example("FP32", [[1, 2, 3], [4]], [2, 2])
@example("FP32", [[[1, 2]], [[3, 4]]], [2, 2])
@example("FP32", [1e39], [1])
@example("FP64", [2**53 + 1, -0.0, 5e-324], [3])
@example("INT64", [-(2**63), 2**63 - 1], [2])
@example("INT64", [2**63], [1])
@example("INT8", [128], [1])
@example("UINT64", [2**64 - 1], [1])
@example("UINT8", [-1], [1])
@example("INT32", [1.0], [1])
def test_numbers_in_any_lists(datatype: str, data: Any, shape: Any) -> None:
    body = of(datatype, shape, data)
    assert outcome(body + BLANKS) == outcome(body)


@given(st.data(), st.sampled_from([name for name, dtype in DTYPES.items() if dtype.kind in "iuf"]))
def test_numbers_nested_as_their_shape_says(data: st.DataObject, datatype: str) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    array = np.arange(np.prod(shape)).reshape(shape)
    for elements in (array.tolist(), array.ravel().tolist()):
        body = of(datatype, shape, elements, id="[")
        assert outcome(body + BLANKS) == outcome(body)


@settings(max_examples=300)
@given(DOCUMENTS | JSON)
def test_any_document(document: Any) -> None:
    body = json.dumps(document).encode()
    assert outcome(body + BLANKS) == outcome(body)


TEXTS = [
    b'{"inputs": [], "inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "data": [1]}]}',
    b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "data": [1], "data": [2]}]}',
    b'{"inputs": [{"name": "a", "shape": [1.0], "datatype": "FP32", "data": [1]}]}',
    b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "data": [1], "parameters": {"p": [1]}}]}',
    b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "data": [1], "more": [[1]]}], "outputs": null}',
    b'{"in\\u0070uts": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": ["\\ud83d\\ude00"]}]}',
    b'{"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": ["\\ud83d"]}]}',
    b'\xef\xbb\xbf{"inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "data": [1]}]}',
    b'{"inputs": [{"name": "a", "shape": [1], "datatype": "INT8", "data": [' + b"9" * 5000 + b"]}]}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_texts_that_parsers_may_read_differently(text: bytes) -> None:
    small = outcome(text)
    large = outcome(text + BLANKS)
    if isinstance(small, str) and small.startswith("The request body is not valid JSON"):
        assert isinstance(large, str)  # where the text ends is part of some of these
        assert large.startswith("The request body is not valid JSON")
    else:
        assert large == small


def test_several_inputs_and_all_else_beside_numbers() -> None:
    document = {
        "id": "7",
        "parameters": {"p": 1.5},
        "outputs": [{"name": "y", "parameters": {"binary_data": False}}],
        "inputs": [
            {"name": "a", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, 4.5]], "parameters": {"q": True}},
            {"name": "b", "shape": [2], "datatype": "BYTES", "data": ["x", "y"]},
            {"name": "c", "shape": [2], "datatype": "BOOL", "data": [True, False]},
            {"name": "d", "shape": [1], "datatype": "INT16", "data": [-3]},
        ],
    }
    body = json.dumps(document).encode()
    assert outcome(body + BLANKS) == outcome(body)


def test_arrays_from_large_bodies_may_be_written_to() -> None:
    for datatype in ("FP32", "FP64", "INT64", "UINT64", "INT8"):
        data = v2.decode(of(datatype, [3], [1, 2, 3]) + BLANKS, None, "m", None).inputs[0].data
        data += 1
        assert data.tolist() == [2, 3, 4]


@settings(max_examples=300)
@given(
    st.sampled_from(["instances", "inputs"]),
    st.lists(NESTED) | st.lists(NUMBERS, min_size=1) | st.lists(ROWS, min_size=1),
)
@example("instances", [[1, 2], [3]])
@example("instances", [1, [], [2, 3]])
@example("instances", [2**63, -1])
@example("inputs", [[1, 2.5]])
def test_v1_lists_become_the_arrays_that_they_form(field: str, values: Any) -> None:
    body = json.dumps({field: values, "signature_name": "x"}).encode() + BLANKS
    plain = v1.decode(body)[field]
    found = v1.decode(body, arrays=True)[field]
    if not isinstance(found, np.ndarray):
        assert found == plain
        return
    expected = array_of(field, plain)
    assert found.dtype == expected.dtype
    assert found.tolist() == expected.tolist()


def test_v1_columns_become_arrays_one_by_one() -> None:
    payload = v1.decode(json.dumps({"inputs": {"a": [1, 2], "b": [[0.5], [1.5]]}}).encode() + BLANKS, arrays=True)
    assert {name: column.tolist() for name, column in payload["inputs"].items()} == {"a": [1, 2], "b": [[0.5], [1.5]]}
    mixed = {"inputs": {"a": [1, 2], "b": ["x", "y"]}}
    assert v1.decode(json.dumps(mixed).encode() + BLANKS, arrays=True) == mixed


def test_a_long_list_of_rows() -> None:
    rows = np.random.default_rng(3).normal(size=(5000, 4))
    payload = v1.decode(json.dumps({"instances": rows.tolist()}).encode(), arrays=True)
    assert isinstance(payload["instances"], np.ndarray)
    np.testing.assert_array_equal(payload["instances"], rows)
    request = v2.decode(of("FP64", [5000, 4], rows.tolist()), None, "m", None)
    np.testing.assert_array_equal(request.inputs[0].data, rows)
