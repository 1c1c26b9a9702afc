"""From a decoded payload to the arguments of `predict`, one function for each form that it can take.

A payload is a dict (V1), an `InferRequest` (V2, gRPC), or whatever a `preprocess` hook returned; what already has the
wanted form passes through.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from colonnade.errors import InvalidInput
from colonnade.model import frames
from colonnade.model.signatures import Form, Signature
from colonnade.wire.tensors import DTYPES, InferRequest, Tensor, TensorSpec

Arguments = Callable[[Any], Sequence[Any]]

FROM_ARRAYS = frozenset({Form.ARRAY, Form.ARRAYS, Form.TABLE, Form.REQUEST})
"""Forms that are made from a V1 payload whose lists of numbers are arrays as well as from lists."""

_NUMBERS = frozenset({int, float})


def arguments(signature: Signature, name: str, specs: Sequence[TensorSpec]) -> Arguments:
    """The function that makes the arguments.

    Args:
        signature: of the hook that takes them.
        name: the model's name.
        specs: the model's declared inputs, if any; V1 numbers are cast to their datatypes.
    """
    spec = specs[0] if len(specs) == 1 else None
    if signature.form is Form.ARRAY:
        return lambda payload: (_array(payload, spec),)
    if signature.form is Form.ARRAYS:
        by_name = {spec.name: spec for spec in specs}
        return lambda payload: _arrays(payload, signature.names, by_name)
    if signature.form is Form.FRAME:
        return lambda payload: (_frame(payload),)
    if signature.form is Form.TABLE:
        return lambda payload: (_table(payload, spec),)
    if signature.form is Form.REQUEST:
        return lambda payload: (payload if type(payload) is InferRequest else _request(payload, name, specs),)
    return lambda payload: (payload,)


def array_of(field: str, values: Any, spec: TensorSpec | None = None) -> np.ndarray:
    """A regular array of one type from a JSON value; text becomes an object array of UTF-8 bytes.

    Args:
        field: where the value stands, for messages.
        values: lists, or the array that the decoder of large bodies has made of them.
        spec: cast to its datatype and held against its shape, if given.

    Raises:
        InvalidInput: the lists are ragged, hold objects or null, or mix text, booleans and numbers.
    """
    if type(values) is np.ndarray:
        return values if spec is None else _fitted(field, values, spec)
    types = _leaf_types(values)
    if not (types <= _NUMBERS or types == {bool} or types == {str}):
        raise InvalidInput(f"{field} must hold only numbers, only booleans or only text{_strays(types)}")
    try:
        array = np.asarray(values)
    except ValueError:
        raise InvalidInput(f"{field} does not form a regular array; give all rows the same length") from None
    if array.dtype.kind == "U":
        encoded = np.empty(array.size, dtype=np.object_)
        encoded[:] = [text.encode() for text in _leaves(values, array.ndim)]
        array = encoded.reshape(array.shape)
    elif array.dtype.kind == "O":
        raise InvalidInput(f"{field} holds a number outside the range of 64 bits")
    return array if spec is None else _fitted(field, array, spec)


def _array(payload: Any, spec: TensorSpec | None) -> Any:
    if isinstance(payload, InferRequest):
        inputs = payload.inputs
        if len(inputs) == 1:
            return inputs[0].data
        if frames.wants_frame(payload) and inputs:
            return np.stack(list(frames.columns(inputs).values()), axis=1)
        names = ", ".join(f'"{tensor.name}"' for tensor in inputs[:8])
        raise InvalidInput(f"The model takes one input tensor and got {len(inputs)}{': ' + names if names else ''}")
    if isinstance(payload, dict):
        field, rows = _rows(payload)
        return array_of(f'"{field}"', rows, spec)
    return payload


def _arrays(payload: Any, names: tuple[str, ...], specs: dict[str, TensorSpec]) -> Sequence[Any]:
    if isinstance(payload, InferRequest):
        by_name = {tensor.name: tensor.data for tensor in payload.inputs}
        if len(by_name) == len(names):
            if all(name in by_name for name in names):
                return [by_name[name] for name in names]
            return [tensor.data for tensor in payload.inputs]
        raise InvalidInput(
            f"The model takes {len(names)} input tensors ({', '.join(names)}) and got {len(payload.inputs)}"
        )
    if isinstance(payload, dict):
        columns = _named(payload, names)
        return [array_of(f'"{name}"', columns[name], specs.get(name)) for name in names]
    return payload if isinstance(payload, (tuple, list)) else (payload,)


def _frame(payload: Any) -> Any:
    if isinstance(payload, InferRequest):
        return frames.from_tensors(payload)
    if isinstance(payload, dict):
        if "inputs" not in payload and "instances" not in payload:
            return frames.from_object(payload)
        values = payload.get("inputs", payload.get("instances"))
        if isinstance(values, dict):
            return frames.from_object(
                {name: column.tolist() if type(column) is np.ndarray else column for name, column in values.items()}
            )
        return frames.from_rows(_rows(payload)[1])
    return payload


def _table(payload: Any, spec: TensorSpec | None) -> Any:
    if isinstance(payload, InferRequest):
        if len(payload.inputs) != 1 or frames.wants_frame(payload):
            return frames.from_tensors(payload)
        return payload.inputs[0].data
    if isinstance(payload, dict):
        values = payload.get("inputs", payload.get("instances"))
        if type(values) is np.ndarray or (isinstance(values, list) and not _holds_objects(values)):
            return _array(payload, spec)
        return _frame(payload)
    return payload


def _request(payload: Any, name: str, specs: Sequence[TensorSpec]) -> Any:
    if not isinstance(payload, dict):
        return payload
    field, rows = _rows(payload)
    if len(specs) > 1:
        columns = _named(payload, tuple(spec.name for spec in specs))
        tensors = [Tensor.of(spec.name, array_of(f'"{spec.name}"', columns[spec.name], spec)) for spec in specs]
    else:
        spec = specs[0] if specs else None
        tensors = [Tensor.of(spec.name if spec else "input-0", array_of(f'"{field}"', rows, spec))]
    return InferRequest(name, tensors)


def _rows(payload: dict[str, Any]) -> tuple[str, Any]:
    """The rows of a V1 body and the key they stand under; KServe looks for `inputs` first."""
    for field in ("inputs", "instances"):
        if field in payload:
            return field, payload[field]
    raise InvalidInput('The request has neither "instances" nor "inputs"; send {"instances": [...]}')


def _named(payload: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """The values of several named inputs: an object of columns, or rows that are objects."""
    field, values = _rows(payload)
    if isinstance(values, list) and values and all(isinstance(row, dict) for row in values):
        missing = [name for name in names if any(name not in row for row in values)]
        if not missing:
            return {name: [row[name] for row in values] for name in names}
    elif isinstance(values, dict):
        missing = [name for name in names if name not in values]
        if not missing:
            return values
    else:
        missing = list(names)
    raise InvalidInput(
        f'"{field}" must be a list of objects with the keys {", ".join(names)}; missing: {", ".join(missing)}'
    )


def _holds_objects(rows: list[Any]) -> bool:
    first = rows[0] if rows else None
    return isinstance(first, dict) or (isinstance(first, list) and bool(first) and isinstance(first[0], dict))


def _leaf_types(values: Any) -> set[type]:
    """Types of the innermost values of nested lists."""
    if type(values) is not list:
        return {type(values)}
    level: list[Any] = values
    types = set(map(type, level))
    found: set[type] = set()
    while list in types:
        if len(types) > 1:
            found |= types - {list}
            level = [value for value in level if type(value) is list]
        level = list(chain.from_iterable(level))
        types = set(map(type, level))
    return found | types


def _leaves(values: Any, depth: int) -> Sequence[str]:
    level: list[Any] = [values]
    for _ in range(depth):
        level = list(chain.from_iterable(level))
    return level


def _strays(types: set[type]) -> str:
    if dict in types:
        return "; this model takes no objects"
    if type(None) in types:
        return "; null is none of these"
    return ""


def _fitted(field: str, array: np.ndarray, spec: TensorSpec) -> np.ndarray:
    dtype = DTYPES.get(spec.datatype)
    if dtype is not None and array.dtype != dtype:
        if array.size and not (array.dtype.kind in "iuf" and dtype.kind in "iuf"):
            raise InvalidInput(f"{field} does not hold {spec.datatype}, which the model takes")
        with np.errstate(all="ignore"):
            cast = array.astype(dtype)
        if dtype.kind in "iu" and not np.array_equal(cast, array):
            raise InvalidInput(f"{field} holds a number that is no {spec.datatype}, which the model takes")
        array = cast
    if not fits(array.shape, spec.shape):
        raise InvalidInput(f"{field} has shape {list(array.shape)}; the model takes {list(spec.shape)}")
    return array


def fits(shape: Sequence[int], declared: Sequence[int]) -> bool:
    """Whether a shape matches a declared one, in which -1 is free."""
    if len(shape) != len(declared):
        return False
    for have, want in zip(shape, declared, strict=True):  # noqa: SIM110 (`all` makes a generator for each request)
        if want != have and want != -1:
            return False
    return True
