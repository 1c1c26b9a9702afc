"""Rows of several requests in one call: joined, parted, and what belongs to whom."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.model import rows
from colonnade.wire.tensors import InferRequest, InferResponse, RequestedOutput, Tensor

COUNTS = st.lists(st.integers(1, 9), min_size=1, max_size=12)
MORE = st.integers(0, 5)


def _request(*arrays: np.ndarray, **more: Any) -> InferRequest:
    return InferRequest("m", [Tensor.of(f"x{index}", array) for index, array in enumerate(arrays)], **more)


def _numbered(counts: list[int], *behind: int) -> list[np.ndarray]:
    """An array for each count; no value comes twice."""
    shapes = [(count, *behind) for count in counts]
    each = int(np.prod(behind)) if behind else 1
    starts = np.cumsum([0, *counts]) * each
    return [
        np.arange(start, start + count * each).reshape(shape)
        for start, count, shape in zip(starts, counts, shapes, strict=False)
    ]


@given(COUNTS, MORE)
def test_what_is_joined_and_parted_is_what_came(counts: list[int], more: int) -> None:
    calls = [(first, second) for first, second in zip(_numbered(counts, 3), _numbered(counts), strict=True)]
    joined = rows.ARRAYS.join(calls, more)
    assert [array.shape[0] for array in joined] == [sum(counts) + more] * 2
    if more:
        assert np.array_equal(joined[0][-1], calls[-1][0][-1]), "rows that are added repeat the last one"
    for array, column in zip(joined, range(2), strict=True):
        parts = rows.part(array, [*counts, more] if more else counts)
        assert parts is not None
        for part, call in zip(parts, calls, strict=False):
            assert np.array_equal(part, call[column])


@given(COUNTS, MORE)
def test_requests_are_joined_and_parted_too(counts: list[int], more: int) -> None:
    calls = [[_request(first, second)] for first, second in zip(_numbered(counts, 2), _numbered(counts), strict=True)]
    (joined,) = rows.REQUEST.join(calls, more)
    assert [tensor.shape for tensor in joined.inputs] == [tensor.data.shape for tensor in joined.inputs]
    parts = rows.part(InferResponse("m", joined.inputs), [*counts, more] if more else counts)
    assert parts is not None
    for part, (request,) in zip(parts, calls, strict=False):
        for mine, theirs in zip(part.outputs, request.inputs, strict=True):
            assert (mine.name, mine.datatype, mine.shape) == (theirs.name, theirs.datatype, theirs.shape)
            assert np.array_equal(mine.data, theirs.data)


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (np.zeros((1, 4)), np.ones((9, 4)), True),
        (np.zeros((1, 4)), np.zeros((1, 5)), False),
        (np.zeros((1, 4)), np.zeros((1, 4), np.float32), False),
        (np.zeros(3), np.zeros((3, 1)), False),
        (np.array([b"a"], object), np.array([b"bc", b"d"], object), True),
    ],
)
def test_calls_are_alike_in_all_but_rows(one: np.ndarray, other: np.ndarray, alike: bool) -> None:
    for joining, wrap in ((rows.ARRAYS, lambda array: (array,)), (rows.REQUEST, lambda array: (_request(array),))):
        first, second = joining.kind(wrap(one)), joining.kind(wrap(other))
        assert first is not None
        assert second is not None
        assert (first[0] == second[0]) is alike
        assert (first[1], second[1]) == (one.shape[0], other.shape[0])


@pytest.mark.parametrize(
    "arguments",
    [
        (np.float32(1.0),),
        (np.array(1.0),),
        (np.zeros((0, 4)),),
        ([[1, 2]],),
        (np.zeros((2, 4)), np.zeros((3, 4))),  # which row belongs to which?
        (np.zeros((2, 4)), np.zeros((0, 4))),
    ],
)
def test_calls_without_rows_are_not_joined(arguments: tuple[Any, ...]) -> None:
    assert rows.ARRAYS.kind(arguments) is None


@pytest.mark.parametrize(
    "request_",
    [
        _request(),
        _request(np.array(1.0)),
        _request(np.zeros((0, 4))),
        _request(np.zeros((2, 4)), np.zeros((3, 4))),
        _request(np.zeros((2, 4)), parameters={"temperature": 0.5}),
    ],
)
def test_requests_without_rows_or_with_wishes_are_not_joined(request_: InferRequest) -> None:
    assert rows.REQUEST.kind((request_,)) is None


def test_requests_for_different_outputs_are_not_joined() -> None:
    array = np.zeros((1, 4))
    some, others = _request(array, outputs=[RequestedOutput("a")]), _request(array, outputs=[RequestedOutput("b")])
    kinds = [rows.REQUEST.kind((request,)) for request in (some, others, _request(array))]
    assert None not in kinds
    assert len({kind[0] for kind in kinds if kind is not None}) == 3


FIVE = np.arange(5)


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        ({"a": FIVE, "b": FIVE * 2}, [{"a": FIVE[:2], "b": FIVE[:2] * 2}, {"a": FIVE[2:], "b": FIVE[2:] * 2}]),
        ({"a": FIVE, "b": [1, 2, 3, 4, 5]}, [{"a": FIVE[:2], "b": [1, 2]}, {"a": FIVE[2:], "b": [3, 4, 5]}]),
        ([FIVE, FIVE * 2], [[FIVE[:2], FIVE[:2] * 2], [FIVE[2:], FIVE[2:] * 2]]),
        ((FIVE, FIVE * 2), [(FIVE[:2], FIVE[:2] * 2), (FIVE[2:], FIVE[2:] * 2)]),
        (["a", "b", "c", "d", "e"], [["a", "b"], ["c", "d", "e"]]),
        ([[1], [2], [3], [4], [5]], [[[1], [2]], [[3], [4], [5]]]),
    ],
)
def test_what_a_model_may_return(result: Any, parts: list[Any]) -> None:
    np.testing.assert_equal(rows.part(result, [2, 3]), parts)


@pytest.mark.parametrize(
    "result",
    [
        np.zeros(4),
        np.zeros((1, 5)),
        np.array(5.0),
        [1, 2, 3],
        [],
        {},
        {"a": FIVE, "mean": 2.0},
        {"a": FIVE, "b": np.zeros(4)},
        [FIVE, np.zeros(4)],
        "abcde",
        None,
        InferResponse("m", [Tensor.of("a", FIVE), Tensor.of("b", np.zeros(1))]),
    ],
)
def test_what_cannot_be_parted(result: Any) -> None:
    assert rows.part(result, [2, 3]) is None


def test_a_list_that_may_be_rows_or_outputs_is_not_guessed_at() -> None:
    with pytest.raises(ValueError, match="one for each row, or one for each output"):
        rows.part([np.zeros(2), np.ones(2)], [1, 1])
