"""Answers and errors made of KServe's objects, told by their form: its SDK is neither needed nor imported.

A model that was written for KServe returns `kserve.InferResponse` with `kserve.InferOutput`s, whose data is a list, or
raw bytes behind `as_numpy()`. What decides is the form: `outputs` with name, datatype and shape. It refuses with the
classes of `kserve.errors`, or of the web framework below it (`HTTPException`), which are meant for the caller too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from colonnade.errors import (
    Error,
    InferenceError,
    InvalidInput,
    NotFound,
    NotImplementedByModel,
    Unavailable,
)
from colonnade.wire.tensors import DTYPES, InferResponse, Parameters, Tensor

_ERRORS: Mapping[str, type[Error]] = {  # what KServe's server answers for each: 400, 500, 404, 501, 503
    "InvalidInput": InvalidInput,
    "InferenceError": InferenceError,
    "ModelNotFound": NotFound,
    "UnsupportedProtocol": NotImplementedByModel,
    "ModelNotReady": Unavailable,
    "ServerNotReady": Unavailable,
    "ServerNotLive": Unavailable,
    "NoModelReady": Unavailable,
}

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


def failure(error: BaseException) -> Error | None:
    """The error of the product's family that says the same as one of KServe's SDK, or None for any other error.

    A subclass of KServe's classes counts as they do. `HTTPException` carries its status and its text itself.
    """
    for kind in type(error).__mro__:
        if kind.__module__ == "kserve.errors" and kind.__name__ in _ERRORS:
            return _ERRORS[kind.__name__](str(error))
    status, detail = getattr(error, "status_code", None), getattr(error, "detail", None)
    if isinstance(status, int) and 400 <= status < 600 and isinstance(detail, str):
        made = (InvalidInput if status < 500 else InferenceError)(detail)
        made.status = status
        return made
    return None
