"""Tensors as a model's author makes and reads them."""

from __future__ import annotations

import numpy as np
import pytest

from colonnade.errors import InvalidInput
from colonnade.wire.tensors import Tensor


def test_a_tensor_is_made_of_anything_that_numpy_makes_an_array_of() -> None:
    tensor = Tensor.of("y", [[1.0, 2.0]])
    assert (tensor.datatype, tensor.shape, tensor.as_numpy().tolist()) == ("FP64", (1, 2), [[1.0, 2.0]])
    assert tensor.as_numpy() is tensor.data


def test_text_is_read_row_by_row() -> None:
    data = np.array([[b"a", "ä".encode()]], dtype=object)
    assert Tensor.of("x", data).as_string() == ["a", "ä"]
    assert Tensor.of("x", ["b"]).as_string() == ["b"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0]), 'Input "x" is FP64; text comes as BYTES'),
        (np.array([b"\xff"], dtype=object), 'Input "x" holds bytes that are not UTF-8 text'),
    ],
)
def test_what_is_no_text_is_refused(array: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Tensor.of("x", array).as_string()
