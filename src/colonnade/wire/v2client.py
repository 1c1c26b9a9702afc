"""The other side of `v2` over HTTP: a request as JSON, and the answer read, for who calls a model server.

Tensors go as JSON, which every server of the protocol reads; not all read binary ones. An answer may have both.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from colonnade.errors import BadUpstream, InvalidInput
from colonnade.wire.elements import from_json, to_json
from colonnade.wire.jsontext import Body
from colonnade.wire.rawdata import from_raw
from colonnade.wire.tensors import InferRequest, InferResponse, Tensor


class _Output(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class _Response(msgspec.Struct):
    outputs: list[_Output]
    model_name: str = ""
    model_version: str | None = None
    id: str | None = None
    parameters: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Response).decode
_encode = msgspec.json.Encoder().encode


def encode(request: InferRequest) -> bytes:
    """The request's body.

    Raises:
        InvalidInput: a tensor is FP16 or BF16, which the protocol carries only as binary data.
    """
    fields: dict[str, Any] = {"inputs": [_input(tensor) for tensor in request.inputs]}
    if request.id:
        fields["id"] = request.id
    if request.parameters:
        fields["parameters"] = request.parameters
    if request.outputs:
        fields["outputs"] = [{"name": output.name} for output in request.outputs]
    return _encode(fields)


def decode(body: Body, header_length: int | None) -> InferResponse:
    """The answer in a body.

    Args:
        header_length: value of `Inference-Header-Content-Length`, in bytes, or None without that header.

    Raises:
        BadUpstream: the body breaks the protocol.
    """
    offset = len(body) if header_length is None else header_length
    try:
        message = _decode(memoryview(body)[:offset])
        outputs = []
        for entry in message.outputs:
            size = (entry.parameters or {}).get("binary_data_size")
            if type(size) is int and 0 <= size <= len(body) - offset:
                array = from_raw(entry.name, entry.datatype, entry.shape, body, offset, size)
                offset += size
            else:
                array = _array(entry)
            outputs.append(Tensor(entry.name, entry.datatype, array.shape, array))
    except (msgspec.MsgspecError, UnicodeDecodeError, InvalidInput) as error:
        raise BadUpstream(f"The predictor's answer is none of the V2 protocol: {error}") from None
    return InferResponse(message.model_name, outputs, message.id, message.model_version, message.parameters)


def _input(tensor: Tensor) -> dict[str, Any]:
    made: dict[str, Any] = {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype}
    return {**made, "data": msgspec.Raw(to_json(tensor))}


def _array(entry: _Output) -> np.ndarray:
    data = entry.data
    if data is None:
        raise InvalidInput(f'output "{entry.name}" has no data')
    if entry.datatype.startswith("FP") and None in data:  # NaN and infinities have no other form in JSON
        data = [np.nan if value is None else value for value in data]
    return from_json(entry.name, entry.datatype, entry.shape, data)
