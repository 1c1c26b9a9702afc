"""Tensor elements in JSON: lists to arrays, and arrays to text.

Lists are checked for the exact JSON type of each element before numpy sees them, because numpy would be helpful where a
server must not be: it reads "1" as 1, true as 1, and 1.5 as 1 for an integer. The checks run at C speed
(`issuperset(map(type, ...))`), so that a flat list of numbers costs little more than its conversion. Arrays are written
by orjson, which reads them in place and gives each value its shortest decimals: FP32 0.1 is 0.1 and not the double
nearest to it, 0.10000000149011612. The lists of large requests are never made: see `bulk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import prod
from struct import Struct
from typing import Any

import msgspec
import numpy as np
import orjson

from colonnade.errors import InferenceError, InvalidInput
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
_FEW = 64  # FP32 elements up to which `struct` is quicker than numpy, which must be told to look for overflow
_PACK_FP32 = [Struct(f"<{count}f").pack for count in range(_FEW + 1)]
_FP32 = DTYPES["FP32"]
_ONLY_BINARY = ("FP16", "BF16")
_WRITTEN = {name: dtype for name, dtype in DTYPES.items() if name in _TYPES and name != "BYTES"}
_HANDFUL = 8  # elements up to which a list costs less than orjson's call into numpy
_encode = msgspec.json.Encoder().encode


def check_datatype(name: str, datatype: str) -> None:
    """Refuses a datatype that this server does not carry.

    Raises:
        InvalidInput: naming the datatypes that are.
    """
    if datatype not in DTYPES:
        raise InvalidInput(f'Input "{name}": unknown datatype "{datatype[:40]}"; use one of {", ".join(DTYPES)}')


def from_json(name: str, datatype: str, shape: Sequence[int], data: list[Any]) -> np.ndarray:
    """The array of input `name`, from its JSON `data`: flat in row-major order, or nested as `shape` says.

    Raises:
        InvalidInput: the datatype, an element's type or range, or the number of elements is wrong.
    """
    allowed = _TYPES.get(datatype)
    if allowed is None:
        check_datatype(name, datatype)
        raise InvalidInput(only_binary(datatype, "input", name))
    if not data or prod(shape) != len(data) or not allowed.issuperset(map(type, data)):
        data = _flat(name, datatype, shape, data)
    try:
        if datatype == "FP32" and len(data) <= _FEW:
            return np.ndarray(shape, _FP32, bytearray(_PACK_FP32[len(data)](*data)))
        dtype = DTYPES[datatype]
        if datatype == "BYTES":
            array = np.empty(len(data), dtype=dtype)
            array[:] = [text.encode() for text in data]
            return array.reshape(shape)
        if datatype != "FP32":
            return np.array(data, dtype=dtype).reshape(shape)
        with np.errstate(over="raise"):
            return np.array(data, dtype=dtype).reshape(shape)
    except (ValueError, OverflowError, FloatingPointError):
        element_count(name, shape)  # tells of a shape that no array can have
        raise InvalidInput(_out_of_range(name, datatype, data)) from None


def to_json(tensor: Tensor) -> bytes:
    """The tensor's elements as a flat JSON list in row-major order.

    NaN and infinities, which JSON cannot write, are `null`.

    Raises:
        InvalidInput: FP16 or BF16, which the protocol carries only as binary data.
        InferenceError: BYTES elements that are not UTF-8 text.
    """
    datatype, data = tensor.datatype, tensor.data
    if data.dtype is not _WRITTEN.get(datatype) or type(data) is not np.ndarray:
        if datatype == "BYTES":
            return _encode([_text(tensor.name, element) for element in data.ravel().tolist()])
        if datatype in _ONLY_BINARY:
            raise InvalidInput(only_binary(datatype, "output", tensor.name))
        data = canonical(tensor)
    flat = data if data.ndim == 1 else data.ravel()
    if flat.size <= _HANDFUL and datatype != "FP32":
        return _encode(flat.tolist())
    return orjson.dumps(flat, None, orjson.OPT_SERIALIZE_NUMPY)


def only_binary(datatype: str, side: str, name: str) -> str:
    """KServe's words for a datatype that has no form in JSON."""
    return f"Sending {datatype} data via JSON is not supported. Please use the binary data format for {side} {name}"


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


def _flat(name: str, datatype: str, shape: Sequence[int], data: list[Any]) -> list[Any]:
    """The elements of lists that are nested as `shape` says; or else what is wrong with them.

    Raises:
        InvalidInput: the shape, the number of elements or the type of one is wrong.
    """
    count = element_count(name, shape)
    if data and type(data[0]) is list:
        data = _flatten(name, shape, data)
    if len(data) != count:
        raise InvalidInput(f'Input "{name}": shape {brief(shape)} needs {_many(count)}, but "data" has {len(data)}')
    if not _TYPES[datatype].issuperset(map(type, data)):
        raise InvalidInput(_wrong_type(name, datatype, data))
    return data


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
