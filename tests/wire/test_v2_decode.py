"""V2 bodies in: what is accepted, and the exact words for what is not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from colonnade.errors import InvalidInput
from colonnade.wire import v2


def tensor(**fields: Any) -> dict[str, Any]:
    return {"name": "a", "shape": [2], "datatype": "FP32", "data": [1, 2], **fields}


def without(field: str) -> dict[str, Any]:
    return {key: value for key, value in tensor().items() if key != field}


def decode(document: Any, raw: bytes | None = None, length: int | None = None) -> Any:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    if raw is not None and length is None:
        length = len(text)
    return v2.decode(text + (raw or b""), length, "m", "1")


EXAMPLE = '{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [...]}]}'

BAD_DOCUMENTS: list[tuple[Any, str]] = [
    (b'{"inputs": [', "The request body is not valid JSON: unexpected end of data: line 1 column 13 (char 12)"),
    (
        b'{"inputs": [{"data": [NaN]}]}',
        "The request body is not valid JSON: invalid character: line 1 column 23 (char 22)",
    ),
    (b'{"id": "\xff"}', "The request body is not valid JSON: the JSON holds text that is not valid UTF-8"),
    (b'{"inputs":' + b"[" * 100_000, "The request body is not valid JSON: the JSON is nested too deeply"),
    ([1], f"The request body must be a JSON object such as {EXAMPLE}"),
    ({}, f'The request has no "inputs"; send {EXAMPLE}'),
    ({"instances": []}, f'The request has no "inputs"; "instances" belongs to the V1 protocol; send {EXAMPLE}'),
    ({"inputs": {}}, f'"inputs" must be a list of tensors; send {EXAMPLE}'),
    ({"inputs": [], "id": 7}, '"id" must be a string'),
    ({"inputs": [], "parameters": []}, '"parameters" must be an object'),
    ({"inputs": [3]}, "inputs[0] must be an object with name, shape, datatype and data"),
    ({"inputs": [without("name")]}, 'inputs[0] has no "name"'),
    ({"inputs": [tensor(name=1)]}, 'inputs[0]: "name" must be a string'),
    ({"inputs": [without("shape")]}, 'Input "a" has no "shape"; give a list of whole numbers'),
    ({"inputs": [without("datatype")]}, 'Input "a" has no "datatype"; give a string such as "FP32"'),
    ({"inputs": [without("data")]}, 'Input "a" has no "data"'),
    ({"inputs": [tensor(data=None)]}, 'Input "a" has no "data"'),
    ({"inputs": [tensor(data=1)]}, 'Input "a": "data" must be a list'),
    ({"inputs": [tensor(shape=2)]}, 'Input "a": "shape" must be a list of whole numbers'),
    ({"inputs": [tensor(shape=[1.5])]}, 'Input "a": "shape" must be a list of whole numbers'),
    ({"inputs": [tensor(shape=[True])]}, 'Input "a": "shape" must be a list of whole numbers'),
    ({"inputs": [tensor(datatype=None)]}, 'Input "a": "datatype" must be a string such as "FP32"'),
    ({"inputs": [tensor(parameters=1)]}, 'Input "a": "parameters" must be an object'),
    ({"inputs": [], "outputs": {}}, '"outputs" must be a list of objects with a "name"'),
    ({"inputs": [], "outputs": [{}]}, 'outputs[0] must be an object with a "name" that is a string'),
    ({"inputs": [], "outputs": [{"name": "y", "parameters": 1}]}, 'Output "y": "parameters" must be an object'),
    ({"inputs": [tensor(), tensor()]}, 'Input "a" is given twice; input names must differ'),
    (
        {"inputs": [tensor(datatype="FLOAT")]},
        'Input "a": unknown datatype "FLOAT"; use one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, '
        "INT64, FP16, BF16, FP32, FP64, BYTES",
    ),
    (
        {"inputs": [tensor(datatype="BF16")]},
        "Sending BF16 data via JSON is not supported. Please use the binary data format for input a",
    ),
    (
        {"inputs": [tensor(datatype="FP16")]},
        "Sending FP16 data via JSON is not supported. Please use the binary data format for input a",
    ),
    ({"inputs": [tensor(shape=[3])]}, 'Input "a": shape [3] needs 3 elements, but "data" has 2'),
    ({"inputs": [tensor(shape=[])]}, 'Input "a": shape [] needs 1 element, but "data" has 2'),
    ({"inputs": [tensor(shape=[-1])]}, 'Input "a": shape [-1] has a negative dimension; give the actual size'),
    ({"inputs": [tensor(shape=[-1, -2])]}, 'Input "a": shape [-1, -2] has a negative dimension; give the actual size'),
    (
        {"inputs": [tensor(shape=[10**12, 10**12])]},
        'Input "a": shape [1000000000000, 1000000000000] needs more than 2^63 elements, but "data" has 2',
    ),
    ({"inputs": [tensor(shape=[10**18])]}, f'Input "a": shape [{10**18}] needs {10**18} elements, but "data" has 2'),
    ({"inputs": [tensor(shape=[0, 10**30], data=[])]}, f'Input "a": shape [0, {10**30}] is too large'),
    ({"inputs": [tensor(shape=[2**21, 0], data=[])]}, f'Input "a": shape [{2**21}, 0] is too large'),
    ({"inputs": [tensor(shape=[2**30, 0, 2**30], data=[])]}, f'Input "a": shape [{2**30}, 0, {2**30}] is too large'),
    ({"inputs": [tensor(shape=[1] * 70)]}, 'Input "a": shape has 70 dimensions; at most 64 are supported'),
    ({"inputs": [tensor(data=[1, "2"])]}, 'Input "a": data[1] is a string, but FP32 takes numbers'),
    ({"inputs": [tensor(data=[1, True])]}, 'Input "a": data[1] is a boolean, but FP32 takes numbers'),
    (
        {"inputs": [tensor(data=[1, None])]},
        'Input "a": data[1] is null, but FP32 takes numbers; send NaN as binary data',
    ),
    ({"inputs": [tensor(data=[1, [2]])]}, 'Input "a": data[1] is a list, but FP32 takes numbers'),
    ({"inputs": [tensor(datatype="INT8", data=[1, 1.0])]}, 'Input "a": data[1] is a fraction, but INT8 takes integers'),
    (
        {"inputs": [tensor(datatype="INT64", data=[1, True])]},
        'Input "a": data[1] is a boolean, but INT64 takes integers',
    ),
    (
        {"inputs": [tensor(datatype="BOOL", data=[True, 1])]},
        'Input "a": data[1] is an integer, but BOOL takes true or false',
    ),
    (
        {"inputs": [tensor(datatype="BYTES", data=["x", {}])]},
        'Input "a": data[1] is an object, but BYTES takes strings',
    ),
    (
        {"inputs": [tensor(datatype="INT8", data=[1, 128])]},
        'Input "a": data[1] = 128 is outside the range of INT8 (-128 to 127)',
    ),
    (
        {"inputs": [tensor(datatype="UINT64", data=[-1, 0])]},
        'Input "a": data[0] = -1 is outside the range of UINT64 (0 to 18446744073709551615)',
    ),
    (
        {"inputs": [tensor(datatype="INT64", data=[0, 2**63])]},
        'Input "a": data[1] = 9223372036854775808 is outside the range of INT64 '
        "(-9223372036854775808 to 9223372036854775807)",
    ),
    (
        {"inputs": [tensor(data=[1, 1e39])]},
        'Input "a": data[1] = 1e+39 is outside the range of FP32 (-3.4028234663852886e+38 to 3.4028234663852886e+38)',
    ),
    (
        {"inputs": [tensor(shape=[100], data=[0] * 99 + [-1e39])]},
        'Input "a": data[99] = -1e+39 is outside the range of FP32 (-3.4028234663852886e+38 to 3.4028234663852886e+38)',
    ),
    (
        {"inputs": [tensor(datatype="FP64", data=[1, 10**400])]},
        f'Input "a": data[1] = 1{"0" * 36}... is outside the range of FP64 '
        "(-1.7976931348623157e+308 to 1.7976931348623157e+308)",
    ),
    (
        b'{"inputs": [{"name": "a", "shape": [1], "datatype": "FP64", "data": [1e999]}]}',
        "The request body is not valid JSON: number out of range",
    ),
    (
        {"inputs": [tensor(shape=[2, 2], data=[[1, 2], [3]])]},
        'Input "a": nested "data" does not have shape [2, 2]; nest it so, or send it flat (row-major)',
    ),
    (
        {"inputs": [tensor(shape=[2, 3], data=[[1, 2], [3, 4], [5, 6]])]},
        'Input "a": nested "data" does not have shape [2, 3]; nest it so, or send it flat (row-major)',
    ),
    (
        {"inputs": [tensor(data=[[1, 2], [3, 4]], shape=[4])]},
        'Input "a": nested "data" does not have shape [4]; nest it so, or send it flat (row-major)',
    ),
    (
        {"inputs": [tensor(data=[[1], 2], shape=[2, 1])]},
        'Input "a": nested "data" does not have shape [2, 1]; nest it so, or send it flat (row-major)',
    ),
    (
        {"inputs": [tensor(data=[[1]], shape=[])]},
        'Input "a": nested "data" does not have shape []; nest it so, or send it flat (row-major)',
    ),
    (
        {"inputs": [{**without("data"), "parameters": {"binary_data_size": 8}}]},
        'Input "a" declares binary_data_size, but the request has no Inference-Header-Content-Length header; '
        "send it with the length of the JSON",
    ),
    (
        {"inputs": [{**without("data"), "parameters": {"shared_memory_region": "r"}}]},
        'Input "a" lies in shared memory, which is not supported; send its data',
    ),
]


@pytest.mark.parametrize(("document", "message"), BAD_DOCUMENTS)
def test_a_bad_document_is_refused_in_words_that_help(document: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(document)
    assert caught.value.message == message


def binary(size: Any, **fields: Any) -> dict[str, Any]:
    return {"inputs": [{**without("data"), "parameters": {"binary_data_size": size}, **fields}]}


BAD_BINARY: list[tuple[Any, bytes, int | None, str]] = [
    (
        {"inputs": []},
        b"",
        99,
        "Inference-Header-Content-Length is 99, but the body has 14 bytes; give the length of the JSON at its start",
    ),
    (
        {"inputs": []},
        b"",
        0,
        "Inference-Header-Content-Length is 0, but the body has 14 bytes; give the length of the JSON at its start",
    ),
    (
        {"inputs": []},
        b"",
        -1,
        "Inference-Header-Content-Length is -1, but the body has 14 bytes; give the length of the JSON at its start",
    ),
    (binary(8), b"1234", None, 'Input "a": binary_data_size is 8, but only 4 bytes are left'),
    (binary(10**30), b"1234", None, f'Input "a": binary_data_size is {10**30}, but only 4 bytes are left'),
    (
        binary(8),
        b"123456789",
        None,
        "The body goes on after its last binary input, by 1 bytes; check each binary_data_size",
    ),
    (
        {"inputs": [tensor()]},
        b"123",
        None,
        "The body goes on after its last binary input, by 3 bytes; check each binary_data_size",
    ),
    (binary(4), b"1234", None, 'Input "a": FP32 of shape [2] is 8 bytes, but 4 were sent'),
    (
        binary(4, shape=[10**30]),
        b"1234",
        None,
        f'Input "a": FP32 of shape [{10**30}] is more than 2^63 bytes, but 4 were sent',
    ),
    (binary(-1), b"", None, 'Input "a": binary_data_size must be a whole number of bytes'),
    (binary(True), b"1", None, 'Input "a": binary_data_size must be a whole number of bytes'),
    (binary("8"), b"12345678", None, 'Input "a": binary_data_size must be a whole number of bytes'),
    (binary(8, data=[1, 2]), b"12345678", None, 'Input "a" has both "data" and binary_data_size; send one of them'),
    (
        binary(4, datatype="BF16", shape=[1]),
        b"1234",
        None,
        'Input "a": BF16 of shape [1] is 2 bytes, but 4 were sent',
    ),
    (binary(2, datatype="BOOL"), b"\0\2", None, 'Input "a": a BOOL element is neither 0 nor 1'),
    (
        binary(2, datatype="BYTES", shape=[1]),
        b"\0\0",
        None,
        'Input "a": its BYTES elements need at least 4 bytes, but 2 were sent',
    ),
    (
        binary(9, datatype="BYTES"),
        b"\1\0\0\0ABCDE",
        None,
        'Input "a": BYTES element 1 says 1162101570 bytes, but 0 are left',
    ),
    (
        binary(9, datatype="BYTES", shape=[1]),
        b"\1\0\0\0ABCDE",
        None,
        'Input "a": 4 bytes are left after its 1 BYTES elements',
    ),
    (
        binary(9, datatype="BYTES"),
        b"\3\0\0\0ABC\0\0",
        None,
        'Input "a": BYTES element 1 is cut off before its 4-byte length',
    ),
    (
        binary(4, datatype="BYTES", shape=[10**30]),
        b"\0\0\0\0",
        None,
        'Input "a": its BYTES elements need at least more than 2^63 bytes, but 4 were sent',
    ),
]


@pytest.mark.parametrize(("document", "raw", "length", "message"), BAD_BINARY)
def test_bad_binary_parts_are_refused(document: Any, raw: bytes, length: int | None, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode(document, raw, length)
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("shape", "data"),
    [([2, 2], [[1, 2], [3, 4]]), ([2, 2], [1, 2, 3, 4]), ([1, 2, 2], [[[1, 2], [3, 4]]]), ([4], [1, 2, 3, 4])],
)
def test_data_may_be_flat_or_nested(shape: list[int], data: list[Any]) -> None:
    array = decode({"inputs": [tensor(shape=shape, data=data)]}).inputs[0].data
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, np.array([1, 2, 3, 4], dtype=np.float32).reshape(shape))


@pytest.mark.parametrize(("shape", "data"), [([0], []), ([2, 0], [[], []]), ([2, 0], []), ([0, 3], []), ([], [7])])
def test_empty_tensors_and_scalars(shape: list[int], data: list[Any]) -> None:
    assert decode({"inputs": [tensor(shape=shape, data=data)]}).inputs[0].data.shape == tuple(shape)


def test_the_envelope() -> None:
    request = decode(
        {
            "id": "7",
            "parameters": {"p": 1},
            "inputs": [tensor(parameters={"q": "x"})],
            "outputs": [{"name": "y", "parameters": {"binary_data": True}}, {"name": "z"}],
            "unknown": {"fields": "are ignored"},
        }
    )
    assert (request.model_name, request.model_version, request.id, request.parameters) == ("m", "1", "7", {"p": 1})
    assert request.inputs[0].parameters == {"q": "x"}
    assert [(output.name, output.parameters) for output in request.outputs] == [
        ("y", {"binary_data": True}),
        ("z", None),
    ]


def test_explicit_nulls_are_absent() -> None:
    request = decode({"id": None, "parameters": None, "outputs": None, "inputs": [tensor(parameters=None)]})
    assert (request.id, request.parameters, request.outputs) == (None, None, [])


def test_text_is_utf8_bytes() -> None:
    array = decode({"inputs": [tensor(datatype="BYTES", data=["ß", ""])]}).inputs[0].data
    assert array.tolist() == ["ß".encode(), b""]


def test_binary_and_json_inputs_mix_in_one_body_and_binary_is_not_copied() -> None:
    document = {
        "inputs": [
            {"name": "a", "shape": [2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
            {"name": "b", "shape": [1], "datatype": "INT8", "data": [5]},
            {"name": "c", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 10}},
            {"name": "d", "shape": [0, 4], "datatype": "FP64", "parameters": {"binary_data_size": 0}},
        ]
    }
    text = json.dumps(document).encode()
    body = text + np.array([1.5, -2], dtype="<f4").tobytes() + b"\2\0\0\0hi" + b"\0\0\0\0"
    a, b, c, d = v2.decode(memoryview(body), len(text), "m", None).inputs
    assert a.data.tolist() == [1.5, -2]
    assert np.shares_memory(a.data, np.frombuffer(body, dtype=np.uint8))
    assert b.data.tolist() == [5]
    assert c.data.tolist() == [b"hi", b""]
    assert d.data.shape == (0, 4)


def test_json_with_a_header_length_and_no_raw_part_is_fine() -> None:
    assert decode({"inputs": [tensor()]}, b"").inputs[0].data.tolist() == [1, 2]
