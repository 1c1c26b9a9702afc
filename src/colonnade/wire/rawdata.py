"""Tensor elements as raw bytes: the V2 binary data extension and gRPC's `raw_*_contents`.

Both use one layout: little-endian, row-major, no padding; a BYTES element is a 4-byte length and its bytes; BOOL is
one byte; BF16 is the upper half of a float32. Source: Open Inference Protocol v2, "Binary Tensor Data Extension".
Elements of fixed size are not copied, BF16 apart: the array is a view of the request's bytes, and a large answer a view
of the model's result.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from struct import Struct

import numpy as np

from colonnade.errors import InvalidInput
from colonnade.wire.elements import as_bytes, canonical, check_datatype
from colonnade.wire.shapes import brief, element_count
from colonnade.wire.tensors import DTYPES, Tensor

Buffer = bytes | bytearray | memoryview

_LENGTH = Struct("<I")
_HALF = np.dtype("<u2")
_WHOLE = np.dtype("<u4")
_VIEW_FROM = 64 << 10  # bytes; a copy of less is cheaper than to ask who else holds the array
_HOLDERS = (
    3  # of an array that only its tensor keeps, in `_view`: the tensor, the local name, the argument of the count
)


def from_raw(name: str, datatype: str, shape: Sequence[int], buffer: Buffer, offset: int, size: int) -> np.ndarray:
    """The array of input `name`, from `buffer[offset:offset + size]`; a view, except for BYTES and BF16.

    Args:
        size: bytes of this tensor; the caller has checked that the buffer holds them.

    Raises:
        InvalidInput: the datatype, the shape or the size do not fit each other.
    """
    check_datatype(name, datatype)
    count = element_count(name, shape)
    if datatype == "BYTES":
        return _split(name, count, buffer, offset, size).reshape(shape)
    dtype = _HALF if datatype == "BF16" else DTYPES[datatype]
    if size != count * dtype.itemsize:
        wanted = count * dtype.itemsize
        raise InvalidInput(
            f'Input "{name}": {datatype} of shape {brief(shape)} is '
            f"{wanted if wanted < 1 << 63 else 'more than 2^63'} bytes, but {size} were sent"
        )
    array = np.frombuffer(buffer, dtype=dtype, count=count, offset=offset) if count else np.empty(0, dtype=dtype)
    if datatype == "BOOL" and count and int(array.view(np.uint8).max()) > 1:
        raise InvalidInput(f'Input "{name}": a BOOL element is neither 0 nor 1')
    if datatype == "BF16":
        array = _widened(array)
    return array.reshape(shape)


def to_raw(tensor: Tensor) -> bytes | memoryview:
    """The tensor's raw bytes: a view of a large array that nobody else keeps, else a copy.

    BF16 is rounded to the nearest, to even in the middle.

    Raises:
        InferenceError: a BYTES element that is neither bytes nor text.
    """
    if tensor.datatype == "BF16":
        return _narrowed(canonical(tensor)).tobytes()
    if tensor.datatype != "BYTES":
        return canonical(tensor).tobytes() if tensor.data.nbytes < _VIEW_FROM else _view(tensor)
    parts: list[bytes] = []
    for element in tensor.data.ravel().tolist():
        value = as_bytes(tensor.name, element)
        parts.append(_LENGTH.pack(len(value)))
        parts.append(value)
    return b"".join(parts)


def _view(tensor: Tensor) -> bytes | memoryview:
    """The bytes of a tensor in place, if nothing can write to them before they are sent.

    A model may keep the array that it returned, or one behind it, and compute its next answer into it while this one
    still waits for a slow client. So only an array that owns its memory and that nobody but the tensor holds is shown.
    """
    data = tensor.data
    if (
        data.base is None
        and data.flags.c_contiguous
        and data.dtype == DTYPES[tensor.datatype]
        and sys.getrefcount(data) <= _HOLDERS
    ):
        return data.data.cast("B")
    return canonical(tensor).tobytes()


def _widened(halves: np.ndarray) -> np.ndarray:
    return (halves.astype(_WHOLE) << 16).view("<f4")


def _narrowed(values: np.ndarray) -> np.ndarray:
    bits = values.view(_WHOLE)
    rounded = (bits + (0x7FFF + (bits >> 16 & 1))) >> 16
    still_nan = bits >> 16 | (bits & 0xFFFF > 0)  # a NaN whose payload is in the lower half alone would become infinity
    return np.where(np.isnan(values), still_nan, rounded).astype(_HALF)


def _split(name: str, count: int, buffer: Buffer, offset: int, size: int) -> np.ndarray:
    if count * _LENGTH.size > size:
        least = count * _LENGTH.size
        raise InvalidInput(
            f'Input "{name}": its BYTES elements need at least '
            f"{least if least < 1 << 63 else 'more than 2^63'} bytes, but {size} were sent"
        )
    view = memoryview(buffer)[offset : offset + size]
    array = np.empty(count, dtype=np.object_)
    position = 0
    for index in range(count):
        begin = position + _LENGTH.size
        if begin > size:
            raise InvalidInput(f'Input "{name}": BYTES element {index} is cut off before its 4-byte length')
        (length,) = _LENGTH.unpack_from(view, position)
        position = begin + length
        if position > size:
            raise InvalidInput(
                f'Input "{name}": BYTES element {index} says {length} bytes, but {size - begin} are left'
            )
        array[index] = bytes(view[begin:position])
    if position != size:
        raise InvalidInput(f'Input "{name}": {size - position} bytes are left after its {count} BYTES elements')
    return array
