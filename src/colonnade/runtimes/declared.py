"""Inputs and outputs that lie beside a model, for formats that do not say them themselves.

The file is `model-settings.json`, as MLServer reads it: `inputs` and `outputs`, each a list of objects with `name`,
`datatype` and `shape` as in the metadata of the Open Inference Protocol.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from colonnade.errors import LoadFailed
from colonnade.wire.tensors import DTYPES, TensorSpec

FILE = "model-settings.json"


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]


class _Settings(msgspec.Struct):
    inputs: list[_Tensor] = []
    outputs: list[_Tensor] = []


def beside(path: Path) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs and outputs in the file beside a model, or in its folder; empty lists if there is none.

    Raises:
        LoadFailed: the file is no such JSON, or names a datatype that the protocol has not.
    """
    file = (path if path.is_dir() else path.parent) / FILE
    if not file.is_file():
        return [], []
    try:
        settings = msgspec.json.decode(file.read_bytes(), type=_Settings)
    except msgspec.DecodeError as error:
        raise LoadFailed(f"{file} does not declare inputs and outputs: {error}") from error
    return [_spec(each, file) for each in settings.inputs], [_spec(each, file) for each in settings.outputs]


def _spec(tensor: _Tensor, file: Path) -> TensorSpec:
    if tensor.datatype not in DTYPES:
        known = ", ".join(DTYPES)
        raise LoadFailed(f'{file}: "{tensor.name}" has the datatype {tensor.datatype!r}; use one of {known}')
    return TensorSpec(tensor.name, tensor.datatype, tuple(tensor.shape))
