"""What adapters of tensor graphs (ONNX, PyTorch, TensorFlow) share: named tensors in, named tensors out."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from colonnade.errors import InvalidInput
from colonnade.wire.tensors import DTYPES, InferRequest, RequestedOutput, Tensor, TensorSpec

_EXAMPLES = 4  # rows
_LARGE = 1 << 18  # elements of one row that is too large to try out


def wanted(outputs: Sequence[RequestedOutput], names: Sequence[str]) -> list[str]:
    """The names of the outputs that a caller asked for.

    Raises:
        InvalidInput: the model has no such output.
    """
    asked = [output.name for output in outputs]
    for name in asked:
        if name not in names:
            raise InvalidInput(f"the model has no output {name!r}; its outputs are {', '.join(names)}")
    return asked


def rows_are_free(specs: Sequence[TensorSpec]) -> bool:
    """Whether every tensor has a free first dimension: then it counts rows, and requests may share a call."""
    return all(spec.shape[:1] == (-1,) for spec in specs)


def example(name: str, inputs: Sequence[TensorSpec]) -> InferRequest | None:
    """Rows of small numbers for the model `name`; None if a size behind the first is free, or there are thousands."""
    if not inputs or any(
        spec.datatype == "BYTES" or not spec.shape or -1 in spec.shape[1:] or math.prod(spec.shape[1:]) > _LARGE
        for spec in inputs
    ):
        return None
    count = max(_EXAMPLES if spec.shape[0] == -1 else spec.shape[0] for spec in inputs)
    return InferRequest(name, [_filled(spec, count) for spec in inputs])


def _filled(spec: TensorSpec, count: int) -> Tensor:
    """A tensor with `count` different rows; whole numbers may be indices, of which 0 and 1 are the safest."""
    shape = (count, *spec.shape[1:])
    dtype = DTYPES[spec.datatype]
    if dtype.kind == "f":
        scattered = np.sin(np.arange(1.0, math.prod(shape) + 1.0) ** 2)  # numpy.random takes 5 ms of a start
        return Tensor(spec.name, spec.datatype, shape, scattered.reshape(shape).astype(dtype))
    rows = np.arange(count).reshape(count, *[1] * (len(shape) - 1)) % 2
    return Tensor(spec.name, spec.datatype, shape, np.broadcast_to(rows, shape).astype(dtype))
