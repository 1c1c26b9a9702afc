"""Tensors as the Open Inference Protocol names them: name, datatype, shape, data.

These are the values that flow between the protocols and a model. They hold numpy arrays and views, never lists; how
each protocol writes them is in `v1`, `v2` and `grpc`. BYTES tensors are object arrays of `bytes`. Source of the
datatype names: Open Inference Protocol v2, "Tensor Data Types".
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype(np.object_),
}

_NAMES: dict[np.dtype[Any], str] = {dtype: name for name, dtype in DTYPES.items()}


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
    name = _NAMES.get(array.dtype.newbyteorder("<"))
    if name is None:
        raise TypeError(f"arrays of {array.dtype} have no datatype in the Open Inference Protocol; convert them first")
    return name


@dataclass(slots=True)
class Tensor:
    """One named input or output.

    Attributes:
        name: the tensor's name.
        datatype: one of `DTYPES`.
        shape: the tensor's shape; `data.shape` equals it.
        data: array of the datatype's dtype; may be a read-only view of the request's bytes.
        parameters: the protocol's free parameters of this tensor, or None.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: np.ndarray
    parameters: Parameters | None = None

    @classmethod
    def of(cls, name: str, array: np.ndarray) -> Tensor:
        """A tensor from an array; datatype and shape are read off it."""
        return cls(name, datatype_of(array), array.shape, array)


@dataclass(slots=True)
class RequestedOutput:
    """An output that the caller asked for, with its parameters (`binary_data`)."""

    name: str
    parameters: Parameters | None = None


@dataclass(slots=True)
class InferRequest:
    """One inference request, whatever protocol brought it."""

    model_name: str
    inputs: list[Tensor]
    id: str | None = None
    model_version: str | None = None
    parameters: Parameters | None = None
    outputs: list[RequestedOutput] = field(default_factory=list)

    def input(self, name: str) -> Tensor | None:
        """The input of that name, or None."""
        return next((tensor for tensor in self.inputs if tensor.name == name), None)


@dataclass(slots=True)
class InferResponse:
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
