"""Whatever a client sends reaches the model or is refused: no form of argument raises anything else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade import InferRequest, InvalidInput, Model, Tensor, TensorSpec
from colonnade.model.binding import bind

SCALARS = st.none() | st.booleans() | st.integers() | st.integers(-9, 9) | st.floats() | st.text(max_size=3)
KEYS = st.sampled_from(["a", "b"]) | st.text(max_size=2)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3))
ROWS = st.lists(JSON, max_size=4)
BODIES = st.one_of(
    st.fixed_dictionaries({"instances": ROWS}),
    st.fixed_dictionaries({"inputs": ROWS | JSON}),
    st.dictionaries(KEYS, JSON, max_size=3),
    st.fixed_dictionaries({"instances": st.lists(st.fixed_dictionaries({"a": JSON, "b": JSON}), max_size=3)}),
)


class Array(Model):
    def predict(self, x: np.ndarray) -> int:
        return 1


class Declared(Array):
    inputs = (TensorSpec("a", "INT8", (-1,)),)


class Arrays(Model):
    def predict(self, a: np.ndarray, b: np.ndarray) -> int:
        return 1


class Frame(Model):
    def predict(self, x: pd.DataFrame) -> int:
        return 1


class Table(Model):
    def predict(self, x: np.ndarray | pd.DataFrame) -> int:
        return 1


class Request(Model):
    def predict(self, x: InferRequest) -> int:
        return 1


MODELS = [bind(kind("m")) for kind in (Array, Declared, Arrays, Frame, Table, Request)]


@pytest.mark.parametrize("bound", MODELS, ids=lambda bound: type(bound.model).__name__)
@given(body=BODIES)
def test_v1(bound: Any, body: dict[str, Any]) -> None:
    with suppress(InvalidInput):
        assert bound.predict_v1(body) == {"predictions": 1}


SHAPES = st.lists(st.integers(0, 2), max_size=3)
ARRAYS = SHAPES.map(np.zeros) | SHAPES.map(lambda shape: np.full(shape, b"\xff", dtype=object))


@pytest.mark.parametrize("bound", MODELS, ids=lambda bound: type(bound.model).__name__)
@given(arrays=st.lists(ARRAYS, max_size=3), content_type=st.sampled_from([None, "pd", 1]))
def test_v2(bound: Any, arrays: list[np.ndarray], content_type: Any) -> None:
    tensors = [Tensor.of(name, array) for name, array in zip("abc", arrays, strict=False)]
    request = InferRequest("m", tensors, parameters={"content_type": content_type})
    with suppress(InvalidInput):
        assert len(bound.infer(request).outputs) == 1
