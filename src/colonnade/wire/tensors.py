"""Tensors as the Open Inference Protocol names them: name, datatype, shape, data.

These are the values that flow between the protocols and a model. They hold numpy arrays and views, never lists; how
each protocol writes them is in `v1`, `v2` and `grpc`. BYTES tensors are object arrays of `bytes`. BF16 tensors are
arrays of float32, of which BF16 is the upper half, because numpy has no bfloat16; a model may answer with one of
`ml_dtypes`. The structs are msgspec's, which are made in C in a third of the time of a dataclass: each request makes
several. Source of the datatype names: Open Inference Protocol v2, "Tensor Data Types".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from colonnade.errors import InvalidInput

Parameters = dict[str, Any]  # values: bool, int, float or str

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "BF16": np.dtype("<f4"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(np.object_),
}

_NAMES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}


def datatype_of(array: np.ndarray) -> str:
    """The protocol's datatype of an array; strings and objects are BYTES.

    Raises:
        TypeError: a dtype that the protocol cannot carry, such as complex numbers or times.
    """
    name = _NAMES.get(array.dtype)
    if name is not None:
        return name
    if array.dtype.kind in "SUO":
        return "BYTES"
    if array.dtype.name == "bfloat16":
        return "BF16"
    name = _NAMES.get(array.dtype.newbyteorder("<"))
    if name is None:
        raise TypeError(f"arrays of {array.dtype} have no datatype in the Open Inference Protocol; convert them first")
    return name


class Tensor(msgspec.Struct):
    """One named input or output.

    Attributes:
        name: the tensor's name.
        datatype: one of `DTYPES`.
        shape: the tensor's shape; `data.shape` equals it.
        data: array of the datatype's dtype; may be a view of the request's bytes, which can be read-only.
        parameters: the protocol's free parameters of this tensor, or None.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: np.ndarray
    parameters: Parameters | None = None

    @classmethod
    def of(cls, name: str, array: npt.ArrayLike) -> Tensor:
        """A tensor from an array, or from what numpy makes one of; datatype and shape are read off it.

        Raises:
            TypeError: the array's dtype is none that the protocol carries.
            ValueError: the value forms no regular array.
        """
        made = np.asarray(array)
        return cls(name, datatype_of(made), made.shape, made)

    def as_numpy(self) -> np.ndarray:
        """`data`, by the name that it has on inputs in KServe's SDK."""
        return self.data

    def as_string(self) -> list[str]:
        """The elements of a BYTES tensor as text, row by row in one list, as in KServe's SDK.

        Raises:
            InvalidInput: the datatype is not BYTES, or an element is not UTF-8.
        """
        if self.datatype != "BYTES":
            raise InvalidInput(f'Input "{self.name}" is {self.datatype}; text comes as BYTES')
        elements = self.data.ravel().tolist()
        try:
            return [element if isinstance(element, str) else str(element, "utf-8") for element in elements]
        except UnicodeDecodeError:
            raise InvalidInput(f'Input "{self.name}" holds bytes that are not UTF-8 text') from None


class RequestedOutput(msgspec.Struct):
    """An output that the caller asked for, with its parameters (`binary_data`)."""

    name: str
    parameters: Parameters | None = None


class InferRequest(msgspec.Struct):
    """One inference request, whatever protocol brought it."""

    model_name: str
    inputs: list[Tensor]
    id: str | None = None
    model_version: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] = []


class InferResponse(msgspec.Struct):
    """One inference answer, before a protocol encodes it."""

    model_name: str
    outputs: list[Tensor]
    id: str | None = None
    model_version: str | None = None
    parameters: Parameters | None = None


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """What a model says of one input or output: -1 in `shape` is a free dimension."""

    name: str
    datatype: str
    shape: tuple[int, ...]
