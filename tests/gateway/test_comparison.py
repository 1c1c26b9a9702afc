"""When two answers mean the same."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.comparison import Reply, same

VALUES = st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
LENGTH = b"inference-header-content-length"


def reply(value: Any, status: int = 200) -> Reply:
    return Reply(status, {}, value if isinstance(value, bytes) else json.dumps(value).encode())


def binary(datatype: str, raw: bytes, **more: Any) -> Reply:
    output = {"name": "y", "datatype": datatype, "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    text = json.dumps({"outputs": [output], **more}).encode()
    return Reply(200, {LENGTH: b"%d" % len(text)}, text + raw)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (reply({"predictions": [1, 2]}), reply({"predictions": [1, 2]}), True),
        (reply({"predictions": [1, 2]}), reply({"predictions": [1, 3]}), False),
        (reply({"predictions": [1, 2]}), reply({"predictions": [1, 2, 3]}), False),
        (reply({"predictions": [1, 2]}), reply({"predictions": [1, 2]}, 500), False),
        (reply({"error": "a"}, 400), reply({"error": "b"}, 400), False),
        (reply({"predictions": [0.1 + 0.2]}), reply({"predictions": [0.3]}), True),
        (reply({"predictions": [1.0]}), reply({"predictions": [1]}), True),
        (reply({"predictions": [1.0]}), reply({"predictions": [1.001]}), False),
        (reply({"predictions": [1]}), reply({"predictions": [True]}), False),
        (reply({"predictions": ["a"]}), reply({"predictions": [1.0]}), False),
        (reply({"predictions": [[1.0, None]]}), reply({"predictions": [[1.0, None]]}), True),
        # What a server says of itself is not compared.
        (
            reply({"model_name": "iris", "model_version": "1", "id": "a", "outputs": [{"name": "y", "data": [1]}]}),
            reply({"model_version": "2", "id": "b", "outputs": [{"data": [1], "name": "y"}]}),
            True,
        ),
        (reply({"outputs": [{"name": "y"}]}), reply({"outputs": [{"name": "z"}]}), False),
        (reply(b"not json"), reply(b"not json"), True),
        (reply(b"not json"), reply({"predictions": []}), False),
        (reply([1.0]), reply([1]), True),
        # Binary tensors.
        (binary("FP32", struct.pack("<f", 0.3)), binary("FP32", struct.pack("<f", 0.3000001), id="x"), True),
        (binary("FP32", struct.pack("<f", 0.3)), binary("FP32", struct.pack("<f", 0.31)), False),
        (
            binary("FP64", struct.pack("<d", float("nan"))),
            binary("FP64", struct.pack("<d", float("nan")), id="x"),
            True,
        ),
        (binary("INT64", struct.pack("<q", 3)), binary("INT64", struct.pack("<q", 3), id="x"), True),
        (binary("INT64", struct.pack("<q", 3)), binary("INT64", struct.pack("<q", 4)), False),
        (binary("FP32", b"abc"), binary("FP32", b"abd"), False),
        (Reply(200, {LENGTH: b"x"}, b"{} "), reply({}), False),
        (Reply(200, {LENGTH: b"2"}, b"{}abc"), reply({}), False),
    ],
)
def test_same(one: Reply, other: Reply, equal: bool) -> None:
    assert same(one, other) is equal
    assert same(other, one) is equal


@given(st.binary(max_size=100), st.binary(max_size=100), st.binary(max_size=3))
def test_any_bytes_are_compared(one: bytes, other: bytes, length: bytes) -> None:
    assert same(Reply(200, {LENGTH: length}, one), Reply(200, {}, one)) is True
    same(Reply(200, {LENGTH: length}, one), Reply(200, {LENGTH: length}, other))


@given(st.recursive(VALUES, st.lists, max_leaves=20))
def test_a_value_is_the_same_as_itself(value: Any) -> None:
    assert same(reply(json.dumps(value).encode()), reply(json.dumps(value, indent=1).encode()))
