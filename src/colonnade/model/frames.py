"""Data frames from tensors and from V1 rows. pandas is an extra, and imported only when a frame is needed.

Source of the conventions: one tensor for each column (KServe's `content_type: "pd"`), and for V1 the bodies of KServe's
own tests: rows as objects, columns as an object of lists, or one bare object as one row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from colonnade.errors import InferenceError, InvalidInput
from colonnade.wire.tensors import InferRequest, Tensor

Frame = Any  # pandas.DataFrame; pandas may be absent


def pandas() -> Any:
    """The pandas module.

    Raises:
        InferenceError: it is not installed; the message names the extra.
    """
    try:
        import pandas as module
    except ImportError:
        raise InferenceError("This model takes data frames; install pandas: pip install 'colonnade[pandas]'") from None
    return module


def wants_frame(request: InferRequest) -> bool:
    """Whether the caller says that the tensors are the columns of a table."""
    return request.parameters is not None and request.parameters.get("content_type") == "pd"


def from_tensors(request: InferRequest) -> Frame:
    """A frame with one column for each tensor; a single matrix becomes unnamed columns.

    Raises:
        InvalidInput: the tensors are not columns of one length.
    """
    inputs = request.inputs
    if len(inputs) == 1 and inputs[0].data.ndim == 2 and inputs[0].shape[1] != 1:
        return pandas().DataFrame(_values(inputs[0]))
    return pandas().DataFrame(columns(inputs))


def columns(inputs: list[Tensor]) -> dict[str, np.ndarray]:
    """The tensors as columns by name; text as `str`.

    Raises:
        InvalidInput: a tensor is not a column, or the lengths differ.
    """
    table: dict[str, np.ndarray] = {}
    for tensor in inputs:
        if tensor.data.ndim != 1 and tensor.data.shape[1:] != (1,):
            raise InvalidInput(
                f'Input "{tensor.name}" has shape {list(tensor.shape)}; as a column of a table it must be [n] or [n, 1]'
            )
        table[tensor.name] = _values(tensor).ravel()
        if len(table[tensor.name]) != inputs[0].shape[0]:
            raise InvalidInput(
                f'Input "{tensor.name}" has {tensor.shape[0]} rows and input "{inputs[0].name}" has '
                f"{inputs[0].shape[0]}; the columns of a table must have the same length"
            )
    return table


def from_rows(rows: list[Any]) -> Frame:
    """A frame from V1 `instances`: objects (a row each, or columns if their values are lists), or lists.

    Raises:
        InvalidInput: the rows do not form a table.
    """
    library = pandas()
    try:
        if any(_holds_columns(row) for row in rows):
            return library.concat([library.DataFrame(row) for row in rows], axis=0, ignore_index=True)
        return library.DataFrame(rows)
    except (ValueError, TypeError, AttributeError):
        raise InvalidInput(
            'The rows of the request do not form a table; send objects with the same keys, such as [{"a": 1, "b": 2}]'
        ) from None


def from_object(body: dict[str, Any]) -> Frame:
    """A frame from a bare V1 object: scalars are one row, lists are columns.

    Raises:
        InvalidInput: the values are neither all scalars nor lists of one length.
    """
    if not body:
        raise InvalidInput('The request is empty; send {"instances": [...]}')
    if not any(isinstance(value, (list, dict)) for value in body.values()):
        return pandas().DataFrame([body])
    lengths = {len(value) if isinstance(value, list) else None for value in body.values()}
    if None in lengths or len(lengths) != 1:
        raise InvalidInput("The request's values must be all scalars (one row) or all lists of one length (columns)")
    return pandas().DataFrame(body)


def _holds_columns(row: Any) -> bool:
    if isinstance(row, dict):
        return any(isinstance(value, list) for value in row.values())
    return isinstance(row, list) and bool(row) and isinstance(row[0], dict)


def _values(tensor: Tensor) -> np.ndarray:
    if tensor.datatype != "BYTES":
        return tensor.data
    texts = np.empty(tensor.data.size, dtype=np.object_)
    try:
        texts[:] = [element.decode() if isinstance(element, bytes) else element for element in tensor.data.ravel()]
    except UnicodeDecodeError:
        raise InvalidInput(f'Input "{tensor.name}": a BYTES element is not UTF-8 text') from None
    return texts.reshape(tensor.shape)
