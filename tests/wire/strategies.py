"""Tensors for hypothesis: every datatype, any small shape, any value the datatype has."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from colonnade.wire.tensors import DTYPES, Tensor

_NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)


def _elements(datatype: str, finite: bool, text: bool) -> st.SearchStrategy[Any]:
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        return st.text(st.characters(codec="utf-8"), max_size=6).map(str.encode) if text else st.binary(max_size=6)
    if datatype == "BOOL":
        return st.booleans()
    if datatype == "BF16":
        return st.integers(0, 0xFFFF).map(_from_half)
    if dtype.kind == "f":
        return st.floats(width=dtype.itemsize * 8, allow_nan=not finite, allow_infinity=not finite)
    return st.integers(int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def _from_half(bits: int) -> np.float32:
    return np.array([bits << 16], dtype=np.uint32).view(np.float32)[0]


@st.composite
def arrays(draw: st.DrawFn, datatype: str, finite: bool = False, text: bool = False) -> np.ndarray:
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    count = int(np.prod(shape))
    elements = draw(st.lists(_elements(datatype, finite, text), min_size=count, max_size=count))
    array = np.empty(count, dtype=DTYPES[datatype])
    array[:] = elements
    return array.reshape(shape)


@st.composite
def tensors(draw: st.DrawFn, json_only: bool = False) -> list[Tensor]:
    """Tensors with different names. `json_only`: only what JSON can carry exactly."""
    names = draw(st.lists(_NAMES, min_size=1, max_size=3, unique=True))
    datatypes = [datatype for datatype in DTYPES if not (json_only and datatype in ("FP16", "BF16"))]
    result = []
    for name in names:
        datatype = draw(st.sampled_from(datatypes))
        array = draw(arrays(datatype, finite=json_only, text=json_only))
        result.append(Tensor(name, datatype, array.shape, array))
    return result


def assert_same(left: list[Tensor], right: list[Tensor]) -> None:
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in left] == [
        (tensor.name, tensor.datatype, tensor.shape) for tensor in right
    ]
    for one, other in zip(left, right, strict=True):
        assert one.data.dtype == other.data.dtype
        if one.datatype == "BYTES":
            assert one.data.tolist() == other.data.tolist()
        else:
            assert one.data.tobytes() == other.data.tobytes()  # NaN payloads and signed zeros too
