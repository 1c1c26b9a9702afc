"""Rows of several requests joined into one call of `predict`, and its result parted again.

A call of a framework costs the same for one row as for some dozens, so what waits is computed together. That is sound
only where rows are independent, which `Model.max_batch_size` promises. What goes into one call is alike in everything
but its rows: names, datatypes, shapes behind the first axis, and the outputs that are asked for. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from colonnade.wire.tensors import InferRequest, InferResponse, Tensor

Arguments = Sequence[Any]  # of `predict`


Kind = tuple[Hashable, int]  # calls of the same first part may be joined; the second is how many rows they have


class Joining(NamedTuple):
    """How the arguments of one model's `predict` are joined.

    Attributes:
        named: `kind` tells the names of the inputs apart, so that what fits the model is the same for all of a kind.
        kind: says what a call is; None if it cannot be joined with any.
        join: the arguments of one call for all, in order, with so many more rows behind them, which repeat the last.
    """

    named: bool
    kind: Callable[[Arguments], Kind | None]
    join: Callable[[Sequence[Arguments], int], Arguments]


def _kind_of_arrays(arguments: Arguments) -> Kind | None:
    if len(arguments) == 1:
        array = arguments[0]
        if type(array) is not np.ndarray or not array.ndim or not array.shape[0]:
            return None
        return (array.dtype, array.shape[1:]), array.shape[0]
    rows = 0
    key: list[Hashable] = []
    for array in arguments:
        if type(array) is not np.ndarray or not array.ndim or not array.shape[0]:
            return None
        if rows and array.shape[0] != rows:
            return None
        rows = array.shape[0]
        key.append((array.dtype, array.shape[1:]))
    return tuple(key), rows


def _join_arrays(calls: Sequence[Arguments], more: int) -> Arguments:
    return [_concatenated(column, more) for column in zip(*calls, strict=True)]


def _kind_of_request(arguments: Arguments) -> Kind | None:
    request: InferRequest = arguments[0]
    if request.parameters is not None:
        return None  # they may mean something to the model
    inputs = request.inputs
    asked = tuple([output.name for output in request.outputs]) if request.outputs else None
    if len(inputs) == 1:
        tensor = inputs[0]
        shape = tensor.shape
        if not shape or not shape[0]:
            return None
        return (tensor.name, tensor.datatype, shape[1:], asked), shape[0]
    rows = 0
    key: list[Hashable] = [asked]
    for tensor in inputs:
        shape = tensor.shape
        if not shape or not shape[0] or (rows and shape[0] != rows):
            return None
        rows = shape[0]
        key.append((tensor.name, tensor.datatype, shape[1:]))
    return (tuple(key), rows) if rows else None


def _join_requests(calls: Sequence[Arguments], more: int) -> Arguments:
    first: InferRequest = calls[0][0]
    inputs: list[Tensor] = []
    for position, tensor in enumerate(first.inputs):
        array = _concatenated([call[0].inputs[position].data for call in calls], more)
        inputs.append(Tensor(tensor.name, tensor.datatype, array.shape, array))
    return [InferRequest(first.model_name, inputs, None, first.model_version, None, first.outputs)]


def _concatenated(arrays: Sequence[np.ndarray], more: int) -> np.ndarray:
    if not more:
        return np.concatenate(arrays)
    return np.concatenate([*arrays, np.repeat(arrays[-1][-1:], more, axis=0)])


ARRAYS = Joining(False, _kind_of_arrays, _join_arrays)
REQUEST = Joining(True, _kind_of_request, _join_requests)


def part(result: Any, counts: Sequence[int]) -> Sequence[Any] | None:
    """The result of a joined call, parted into one result for each of its calls.

    Args:
        counts: rows of each call.

    Returns:
        None if the result does not say which rows belong to whom: not every array in it has one row for each input row.

    Raises:
        ValueError: it may be read in two ways.
    """
    total = sum(counts)
    if isinstance(result, np.ndarray):
        return _slices(result, counts, total)
    if type(result) is InferResponse:
        return _responses(result, counts, total)
    if isinstance(result, dict):
        columns = [_slices(value, counts, total) for value in result.values()]
        if not columns or any(column is None for column in columns):
            return None
        return [dict(zip(result, values, strict=True)) for values in zip(*filter(None, columns), strict=True)]
    if isinstance(result, (list, tuple)) and result:
        return _lists(result, counts, total)
    return None


def _lists(result: list[Any] | tuple[Any, ...], counts: Sequence[int], total: int) -> Sequence[Any] | None:
    """A list is one output with an element for each row, unless it holds the arrays of several outputs.

    Raises:
        ValueError: it may be either; calls with another number of rows will tell.
    """
    outputs = isinstance(result, tuple) or all(isinstance(value, np.ndarray) for value in result)
    if not outputs:
        return _slices(result, counts, total)
    parts = [_slices(value, counts, total) for value in result]
    if any(column is None for column in parts):
        return None
    if isinstance(result, list) and len(result) == total:
        raise ValueError(f"a list of {total} arrays for {total} rows: one for each row, or one for each output?")
    kind = list if isinstance(result, list) else tuple
    return [kind(values) for values in zip(*filter(None, parts), strict=True)]


def _slices(rows: Any, counts: Sequence[int], total: int) -> list[Any] | None:
    if isinstance(rows, np.ndarray):
        if not rows.ndim or rows.shape[0] != total:
            return None
    elif not isinstance(rows, list) or len(rows) != total:
        return None
    if total == len(counts):
        return [rows[row : row + 1] for row in range(total)]
    return [rows[begin:end] for begin, end in pairwise(accumulate(counts, initial=0))]


def _responses(result: InferResponse, counts: Sequence[int], total: int) -> list[InferResponse] | None:
    name, version, parameters = result.model_name, result.model_version, result.parameters
    columns: list[list[Tensor]] = []
    for tensor in result.outputs:
        parts = _slices(tensor.data, counts, total)
        if parts is None:
            return None
        given, datatype, own = tensor.name, tensor.datatype, tensor.parameters
        columns.append([Tensor(given, datatype, array.shape, array, own) for array in parts])
    if len(columns) == 1:
        return [InferResponse(name, [tensor], None, version, parameters) for tensor in columns[0]]
    return [InferResponse(name, list(tensors), None, version, parameters) for tensors in zip(*columns, strict=True)]
