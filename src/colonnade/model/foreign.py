"""Answers made of KServe's objects, told by their attributes: its SDK is neither needed nor imported.

A model that was written for KServe returns `kserve.InferResponse` with `kserve.InferOutput`s, whose data is a list, or
raw bytes behind `as_numpy()`. What decides is the form: `outputs` with name, datatype and shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from colonnade.errors import InferenceError
from colonnade.wire.tensors import DTYPES, InferResponse, Parameters, Tensor

_OF_TRANSPORT = ("binary_data", "binary_data_size")  # say how KServe would have sent it, which is decided anew here


def response(result: Any) -> InferResponse | None:
    """The answer in `result`, or None if it is no such object.

    Raises:
        InferenceError: an output's data is not of its datatype and shape; names it.
    """
    outputs = getattr(result, "outputs", None)
    if not isinstance(outputs, (list, tuple)) or not all(_is_output(output) for output in outputs):
        return None
    return InferResponse(
        getattr(result, "model_name", None) or "",
        [_tensor(output) for output in outputs],
        getattr(result, "id", None),
        getattr(result, "model_version", None),
        _parameters(getattr(result, "parameters", None)),
    )


def _is_output(output: Any) -> bool:
    return all(hasattr(output, name) for name in ("name", "datatype", "shape", "data"))


def _tensor(output: Any) -> Tensor:
    shape = tuple(output.shape)
    try:
        if callable(getattr(output, "as_numpy", None)):
            array = np.asarray(output.as_numpy())
        else:
            array = np.asarray(output.data, DTYPES.get(output.datatype)).reshape(shape)
    except Exception as error:  # another library's code may raise anything
        text = f'Output "{output.name}" cannot be read as {output.datatype} of shape {list(shape)}'
        raise InferenceError(text) from error
    return Tensor(output.name, output.datatype, shape, array, _parameters(getattr(output, "parameters", None)))


def _parameters(parameters: Any) -> Parameters | None:
    if not isinstance(parameters, Mapping):
        return None
    return {name: value for name, value in parameters.items() if name not in _OF_TRANSPORT} or None
