"""From what `predict` returned to an answer: V1's JSON value, or V2's tensors.

V1 answers by convention with `{"predictions": ...}`; a dict that is not a dict of arrays is taken as the whole answer,
as KServe does. V2 outputs take the names that the model declares, or `output-0`, `output-1`, ... like KServe's servers.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import numpy as np

from colonnade.errors import InferenceError, InvalidInput
from colonnade.model import foreign
from colonnade.wire.tensors import DTYPES, InferRequest, InferResponse, Tensor, TensorSpec, datatype_of

_log = logging.getLogger(__name__)


def to_v1(result: Any, key: str = "predictions") -> Any:
    """The V1 answer: `result` itself if it is a plain dict, bytes, text or a stream of parts; else under `key`.

    Raises:
        InferenceError: there is no result: a `return` is missing.
    """
    if result is None:
        raise InferenceError(_nothing("explain" if key == "explanations" else "predict"))
    if isinstance(result, (bytes, str, AsyncIterator)):
        return result
    if isinstance(result, dict):
        if key not in result and result and all(isinstance(value, np.ndarray) for value in result.values()):
            return {key: result}
        return result
    response = result if isinstance(result, InferResponse) else foreign.response(result)
    if response is not None:
        return {key: _single({output.name: _checked(output, None).data for output in response.outputs})}
    if isinstance(result, tuple):
        return {key: list(result)}
    return {key: [result.item()] if isinstance(result, np.generic) else result}


def responder(name: str, version: str, specs: Sequence[TensorSpec]) -> Callable[[Any], InferResponse]:
    """The function that makes a V2 answer of a result; `identified` makes it the answer of one request.

    Args:
        name: the model's name.
        version: the model's version.
        specs: the model's declared outputs, if any.

    Raises (the returned function):
        InferenceError: the result cannot be said in tensors, or is not what the model declares.
    """
    single = specs[0].name if specs else "output-0"
    single_spec = specs[0] if specs else None
    by_name = {spec.name: spec for spec in specs}

    def respond(result: Any) -> InferResponse:
        if result is None:
            raise InferenceError(_nothing("predict"))
        if type(result) is np.ndarray:
            return InferResponse(name, [tensor(single, result, single_spec)], None, version)
        response = result if isinstance(result, InferResponse) else foreign.response(result)
        if response is None:
            outputs = [tensor(key, value, by_name.get(key)) for key, value in _named(result, specs)]
            return InferResponse(name, outputs, None, version)
        return InferResponse(  # not the model's own, which it may return again for another request
            response.model_name or name,
            [_checked(output, by_name.get(output.name)) for output in response.outputs],
            response.id or None,
            response.model_version or version,
            response.parameters,
        )

    return respond


def identified(response: InferResponse, request: InferRequest) -> InferResponse:
    """The answer of one request: it has the request's id, unless the model gave it one."""
    if response.id is None:
        response.id = request.id
    return response


def whole(answer: Any, model: str) -> InferResponse:
    """The answer of a model, for a protocol that has one for each request.

    Raises:
        InvalidInput: the model answers in parts; the message names the calls that carry them.
    """
    if isinstance(answer, InferResponse):
        return answer
    raise InvalidInput(
        f"Model with name {model} answers in parts; ask it over V1, path :predict, over V2, path /infer_stream or a "
        "WebSocket at /infer, or over gRPC by ModelStreamInfer"
    )


def tensor(name: str, value: Any, spec: TensorSpec | None = None) -> Tensor:
    """A tensor from what a model returned for one output.

    Raises:
        InferenceError: the value has no datatype in the protocol, or is not of the declared one.
    """
    if not isinstance(value, np.ndarray):
        try:
            value = np.asarray(value)
        except (ValueError, TypeError, OverflowError):
            raise InferenceError(f'Output "{name}" does not form a regular array') from None
    if value.dtype.kind in "SUO":
        value = _bytes(name, value)
    try:
        datatype = datatype_of(value)
    except TypeError as error:
        raise InferenceError(f'Output "{name}": {error}') from None
    if spec is not None and datatype != spec.datatype:
        value = _cast(name, value, datatype, spec)
        datatype = spec.datatype
    return Tensor(name, datatype, value.shape, value)


def _nothing(hook: str) -> str:
    message = f"{hook} returned None; return the answer"
    _log.error(message)
    return message


def _named(result: Any, specs: Sequence[TensorSpec]) -> list[tuple[str, Any]]:
    if isinstance(result, dict):
        if not all(isinstance(key, str) for key in result):
            raise InferenceError("The model's outputs must be named by text")
        return list(result.items())
    if isinstance(result, AsyncIterator):
        raise InferenceError("The model returned a stream of parts; make its predict an async generator")
    pandas: Any = sys.modules.get("pandas")  # a frame can only be here if its library is
    if pandas is not None and isinstance(result, pandas.DataFrame):
        return [(str(column), result[column].to_numpy()) for column in result.columns]
    if pandas is not None and isinstance(result, pandas.Series):
        result = result.to_numpy()
    several = isinstance(result, tuple) or (
        isinstance(result, list) and bool(result) and all(isinstance(item, np.ndarray) for item in result)
    )
    values: Sequence[Any] = result if several else [result]
    return [
        (specs[index].name if index < len(specs) else f"output-{index}", value) for index, value in enumerate(values)
    ]


def _bytes(name: str, array: np.ndarray) -> np.ndarray:
    """Text and bytes as an object array of bytes; an object array of numbers as numbers."""
    elements = array.ravel().tolist()
    if array.dtype.kind == "O" and elements and all(isinstance(element, (int, float)) for element in elements):
        numbers = np.array(elements).reshape(array.shape)
        if numbers.dtype.kind != "O":
            return numbers
    encoded = np.empty(len(elements), dtype=np.object_)
    for index, element in enumerate(elements):
        if isinstance(element, str):
            element = element.encode(errors="replace")
        if not isinstance(element, bytes):
            raise InferenceError(
                f'Output "{name}" holds elements that are neither numbers, text nor bytes; return an array of one type'
            )
        encoded[index] = element
    return encoded.reshape(array.shape)


def _cast(name: str, array: np.ndarray, datatype: str, spec: TensorSpec) -> np.ndarray:
    dtype = DTYPES.get(spec.datatype)
    if dtype is None or spec.datatype == "BYTES" or not np.can_cast(array.dtype, dtype, "same_kind"):
        raise InferenceError(f'Output "{name}" is {datatype}, but the model declares {spec.datatype}')
    return array.astype(dtype)


def _checked(output: Tensor, spec: TensorSpec | None) -> Tensor:
    """An output that a model built itself, with datatype and shape that are true."""
    data = output.data
    datatype = output.datatype
    if (
        type(data) is np.ndarray
        and datatype != "BYTES"
        and data.dtype == DTYPES.get(datatype)
        and data.shape == output.shape
        and (spec is None or spec.datatype == datatype)
    ):
        return output
    array = np.asarray(data)
    made = tensor(output.name, array, spec)
    declared = DTYPES.get(output.datatype)
    if made.datatype != output.datatype and declared is not None and spec is None and declared.kind in "biuf":
        made = Tensor(output.name, output.datatype, array.shape, array.astype(declared))
    if made.shape != tuple(output.shape):
        try:
            made.data = made.data.reshape(tuple(output.shape))
        except ValueError:
            raise InferenceError(
                f'Output "{output.name}" says shape {list(output.shape)}, but its data has {list(made.shape)}'
            ) from None
        made.shape = made.data.shape
    made.parameters = output.parameters
    return made


def _single(outputs: dict[str, Any]) -> Any:
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs
