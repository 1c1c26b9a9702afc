"""Tensor elements in JSON: lists to arrays and arrays to lists.

Lists are checked for the exact JSON type of each element before numpy sees them, because numpy would be helpful where a
server must not be: it reads "1" as 1, true as 1, and 1.5 as 1 for an integer. The checks run at C speed
(`set(map(type, ...))`), so that a flat list of numbers costs little more than its conversion.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np

from colonnade.errors import InferenceError, InvalidInput
from colonnade.wire.float32 import shortest
from colonnade.wire.shapes import brief, element_count
from colonnade.wire.tensors import DTYPES, Tensor

_INTEGER = frozenset({int})
_NUMBER = frozenset({int, float})
_TYPES: dict[str, frozenset[type]] = {
    "BOOL": frozenset({bool}),
    "BYTES": frozenset({str}),
    "FP32": _NUMBER,
    "FP64": _NUMBER,
    **{name: _INTEGER for name in DTYPES if "INT" in name},
}
_WANTED = {"BOOL": "true or false", "BYTES": "strings", "FP32": "numbers", "FP64": "numbers"}
_JSON_NAMES = {
    bool: "a boolean",
    int: "an integer",
    float: "a fraction",
    str: "a string",
    list: "a list",
    dict: "an object",
}
_FP32_MAX = float(np.finfo(np.float32).max)
_FEW = 64  # up to here two scans for the extremes are cheaper than to arm numpy's overflow check


def check_datatype(name: str, datatype: str) -> None:
    """Refuses a datatype that this server does not carry.

    Raises:
        InvalidInput: naming the datatypes that are.
    """
    if datatype in DTYPES:
        return
    if datatype == "BF16":
        raise InvalidInput(f'Input "{name}": datatype BF16 is not supported; send FP32')
    raise InvalidInput(f'Input "{name}": unknown datatype "{datatype[:40]}"; use one of {", ".join(DTYPES)}')


def from_json(name: str, datatype: str, shape: Sequence[int], data: list[Any]) -> np.ndarray:
    """The array of input `name`, from its JSON `data`: flat in row-major order, or nested as `shape` says.

    Raises:
        InvalidInput: the datatype, an element's type or range, or the number of elements is wrong.
    """
    allowed = _TYPES.get(datatype)
    if allowed is None:
        check_datatype(name, datatype)
        raise InvalidInput(
            f"Sending FP16 data via JSON is not supported. Please use the binary data format for input {name}"
        )
    count = element_count(name, shape)
    if data and type(data[0]) is list:
        data = _flatten(name, shape, data)
    if len(data) != count:
        raise InvalidInput(f'Input "{name}": shape {brief(shape)} needs {_many(count)}, but "data" has {len(data)}')
    if not allowed.issuperset(map(type, data)):
        raise InvalidInput(_wrong_type(name, datatype, data))
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        array = np.empty(count, dtype=dtype)
        array[:] = [text.encode() for text in data]
        return array.reshape(shape)
    try:
        if datatype != "FP32" or (count <= _FEW and _fits_fp32(data)):
            return np.array(data, dtype=dtype).reshape(shape)
        with np.errstate(over="raise"):
            return np.array(data, dtype=dtype).reshape(shape)
    except (OverflowError, FloatingPointError):
        raise InvalidInput(_out_of_range(name, datatype, data)) from None


def to_json(tensor: Tensor) -> list[Any]:
    """The tensor's elements as a flat list in row-major order, ready for a JSON encoder.

    NaN and infinities have no JSON form; the encoder writes them as `null`.

    Raises:
        InvalidInput: FP16, which the protocol carries only as binary data.
        InferenceError: BYTES elements that are not UTF-8 text.
    """
    if tensor.datatype == "BYTES":
        return [_text(tensor.name, element) for element in tensor.data.ravel().tolist()]
    if tensor.datatype == "FP16":
        raise InvalidInput(
            f"Sending FP16 data via JSON is not supported. Please use the binary data format for output {tensor.name}"
        )
    data = tensor.data if tensor.data.dtype == DTYPES[tensor.datatype] else canonical(tensor)
    elements: list[Any] = shortest(data) if tensor.datatype == "FP32" else data.ravel().tolist()
    return elements


def canonical(tensor: Tensor) -> np.ndarray:
    """The tensor's data in its datatype's dtype: little-endian, C order."""
    return np.ascontiguousarray(tensor.data, dtype=DTYPES[tensor.datatype])


def as_bytes(name: str, element: Any) -> bytes:
    """One element of a BYTES output as bytes; text is UTF-8.

    Raises:
        InferenceError: the model put something else into the tensor.
    """
    if isinstance(element, bytes):
        return element
    if isinstance(element, str):
        return element.encode(errors="replace")
    raise InferenceError(f'Output "{name}": a BYTES element is neither bytes nor text')


def _flatten(name: str, shape: Sequence[int], data: list[Any]) -> list[Any]:
    """Flattens nested lists whose lengths are `shape`'s, level by level."""
    if len(data) != shape[0] if shape else True:
        raise InvalidInput(_misnested(name, shape))
    for dimension in shape[1:]:
        if set(map(type, data)) != {list} or set(map(len, data)) != {dimension}:
            raise InvalidInput(_misnested(name, shape))
        data = list(chain.from_iterable(data))
        if not data:
            break
    return data


def _misnested(name: str, shape: Sequence[int]) -> str:
    return f'Input "{name}": nested "data" does not have shape {brief(shape)}; nest it so, or send it flat (row-major)'


def _many(count: int) -> str:
    number = str(count) if count < 1 << 63 else "more than 2^63"
    return f"{number} element{'s' if count != 1 else ''}"


def _wrong_type(name: str, datatype: str, data: list[Any]) -> str:
    allowed = _TYPES[datatype]
    index, value = next((index, value) for index, value in enumerate(data) if type(value) not in allowed)
    wanted = _WANTED.get(datatype, "integers")
    found = "null" if value is None else _JSON_NAMES[type(value)]
    hint = "; send NaN as binary data" if value is None and datatype in ("FP32", "FP64") else ""
    return f'Input "{name}": data[{index}] is {found}, but {datatype} takes {wanted}{hint}'


def _fits_fp32(data: list[Any]) -> bool:
    return not data or (max(data) <= _FP32_MAX and min(data) >= -_FP32_MAX)


def _out_of_range(name: str, datatype: str, data: list[Any]) -> str:
    low, high = _limits(datatype)
    index = next((index for index, value in enumerate(data) if not low <= value <= high), None)
    where = "a value" if index is None else f"data[{index}] = {_short(data[index])}"
    return f'Input "{name}": {where} is outside the range of {datatype} ({_short(low)} to {_short(high)})'


def _limits(datatype: str) -> tuple[int | float, int | float]:
    dtype = DTYPES[datatype]
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    return int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)


def _short(value: int | float) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _text(name: str, element: Any) -> str:
    if isinstance(element, str):
        return element
    try:
        return as_bytes(name, element).decode()
    except UnicodeDecodeError:
        raise InferenceError(
            f'Output "{name}" holds bytes that are not UTF-8 text; ask for it as binary data ("binary_data": true)'
        ) from None
