"""V1: KServe's texts for bad bodies, and JSON of whatever a model returns."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import InferenceError, InvalidInput
from colonnade.wire import v1

BAD_BODIES = [
    (b'{"a": ', "Unrecognized request format: unexpected end of data: line 1 column 7 (char 6)"),
    (b"", "Unrecognized request format: unexpected end of data: line 1 column 1 (char 0)"),
    (b'{"a":\n 1,}', "Unrecognized request format: trailing comma in object: line 2 column 4 (char 9)"),
    (b"xyz", "Unrecognized request format: invalid character: line 1 column 1 (char 0)"),
    (b'{"instances": [NaN]}', "Unrecognized request format: invalid character: line 1 column 16 (char 15)"),
    (b'{"instances": [1e999]}', "Unrecognized request format: number out of range"),
    (b'{"a": "\xff"}', "Unrecognized request format: the JSON holds text that is not valid UTF-8"),
    (b'{"inputs": 3}', 'Expected "inputs" to be a list'),
    (b'{"inputs": null}', 'Expected "inputs" to be a list'),
    (b"[" * 100_000, "Unrecognized request format: the JSON is nested too deeply"),
    (b"[1, 2]", 'Unrecognized request format: expected a JSON object such as {"instances": [...]}'),
    (b'{"instances": 1}', 'Expected "instances" to be a list'),
    (b'{"instances": null}', 'Expected "instances" to be a list'),
]


@pytest.mark.parametrize(("body", "message"), BAD_BODIES)
def test_a_bad_body_is_told_as_kserve_tells_it(body: bytes, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        v1.decode(body)
    assert caught.value.message == message


@pytest.mark.parametrize(
    "payload", [{"instances": [[1, 2]]}, {"inputs": {"a": [1]}}, {"MSZoning": "RL", "LotArea": 8450}]
)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_objects_are_passed_on_unchecked(payload: dict, kind: type) -> None:
    assert v1.decode(kind(json.dumps(payload).encode())) == payload


@given(st.binary() | st.text().map(str.encode))
def test_any_body_decodes_or_is_refused(body: bytes) -> None:
    with suppress(InvalidInput):
        assert isinstance(v1.decode(body), dict)


ANSWERS = [
    ({"predictions": [1, 1]}, b'{"predictions":[1,1]}'),
    ({"predictions": np.array([[1, 2], [3, 4]])}, b'{"predictions":[[1,2],[3,4]]}'),
    ({"predictions": np.array([[0.1], [0.2]], dtype=np.float32)}, b'{"predictions":[[0.1],[0.2]]}'),
    (
        {"predictions": [np.float32(0.1), np.float64(0.1), np.int8(-1), np.bool_(True)]},
        b'{"predictions":[0.1,0.1,-1,true]}',
    ),
    ([float("nan"), float("inf"), np.float32("nan")], b"[null,null,null]"),
    ({"labels": [b"setosa", "virginica", np.str_("x")]}, b'{"labels":["setosa","virginica","x"]}'),
    (np.array([b"a", "b"], dtype=object), b'["a","b"]'),
    ({np.int64(1): {2.5: True}, False: None}, b'{"1":{"2.5":true},"false":null}'),
    ((1, [np.array(2)], {"deep": (np.zeros(0),)}), b'[1,[2],{"deep":[[]]}]'),
    (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), b'[{"a":1,"b":"x"},{"a":2,"b":null}]'),
    (pd.Series([1.5, float("nan")]), b"[1.5,null]"),
    ([pd.NA, pd.NaT], b"[null,null]"),
]


@pytest.mark.parametrize(("answer", "text"), ANSWERS)
def test_answers_become_json(answer: object, text: bytes) -> None:
    assert v1.encode(answer) == text


def test_an_answer_that_holds_itself_is_an_inference_error() -> None:
    answer: list[object] = []
    answer.append(answer)
    with pytest.raises(InferenceError, match="nested too deeply"):
        v1.encode({"predictions": answer})


@pytest.mark.parametrize("answer", [object(), {"a": 1j}, [np.array([1j])], b"\xff", "\ud800", {"\ud800": 1}])
def test_what_json_cannot_carry_is_an_inference_error_without_type_names(answer: object) -> None:
    with pytest.raises(InferenceError) as caught:
        v1.encode(answer)
    assert "object" not in caught.value.message
    assert "complex" not in caught.value.message
