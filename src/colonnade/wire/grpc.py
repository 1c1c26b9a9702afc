"""Open Inference Protocol V2 over gRPC: protobuf messages to requests and back.

A tensor comes as typed `contents` or, for all tensors at once, as `raw_input_contents`. An answer goes back in the form
that the request had; FP16 and BF16 have no typed form, so an answer with such a tensor is raw for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf.message import Message

from colonnade.errors import BadUpstream, InvalidInput
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.elements import as_bytes, canonical, check_datatype
from colonnade.wire.rawdata import from_raw, to_raw
from colonnade.wire.requested import requested
from colonnade.wire.shapes import brief, element_count
from colonnade.wire.tensors import DTYPES, InferRequest, InferResponse, Parameters, RequestedOutput, Tensor, TensorSpec

SERVICE = "inference.GRPCInferenceService"

METHODS: dict[str, tuple[type[Message], type[Message]]] = {
    "ServerLive": (pb.ServerLiveRequest, pb.ServerLiveResponse),
    "ServerReady": (pb.ServerReadyRequest, pb.ServerReadyResponse),
    "ModelReady": (pb.ModelReadyRequest, pb.ModelReadyResponse),
    "ServerMetadata": (pb.ServerMetadataRequest, pb.ServerMetadataResponse),
    "ModelMetadata": (pb.ModelMetadataRequest, pb.ModelMetadataResponse),
    "ModelInfer": (pb.ModelInferRequest, pb.ModelInferResponse),
    "ModelStreamInfer": (pb.ModelInferRequest, pb.ModelStreamInferResponse),
    "RepositoryModelLoad": (pb.RepositoryModelLoadRequest, pb.RepositoryModelLoadResponse),
    "RepositoryModelUnload": (pb.RepositoryModelUnloadRequest, pb.RepositoryModelUnloadResponse),
}
"""Request and response message of each method of `SERVICE`."""

_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_NARROW = {"INT8", "INT16", "UINT8", "UINT16"}  # they travel as 32-bit integers


class RawInferRequest(InferRequest):
    """A request whose tensors came as raw bytes, so that the answer's go back as raw bytes."""


def decode(message: pb.ModelInferRequest) -> InferRequest:
    """The request in a `ModelInferRequest`; a `RawInferRequest` if its tensors came raw.

    Raises:
        InvalidInput: the message breaks the protocol.
    """
    raw = message.raw_input_contents
    entries = message.inputs
    if raw and len(raw) != len(entries):
        raise InvalidInput(
            f"raw_input_contents has {len(raw)} entries for {len(entries)} inputs; send one for each input, in order"
        )
    inputs: list[Tensor] = []
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name, datatype, shape = entry.name, entry.datatype, list(entry.shape)
        if name in seen:
            raise InvalidInput(f'Input "{name}" is given twice; input names must differ')
        seen.add(name)
        if raw:
            if entry.HasField("contents"):
                raise InvalidInput(
                    f'Input "{name}" has contents and the request has raw_input_contents; send one of them'
                )
            data = raw[index]
            array = from_raw(name, datatype, shape, data, 0, len(data))
        else:
            array = _from_contents(name, datatype, shape, entry.contents)
        inputs.append(Tensor(name, datatype, array.shape, array, _from_parameters(entry.parameters)))
    return (RawInferRequest if raw else InferRequest)(
        message.model_name,
        inputs,
        message.id or None,
        message.model_version or None,
        _from_parameters(message.parameters),
        [RequestedOutput(entry.name, _from_parameters(entry.parameters)) for entry in message.outputs],
    )


def encode(response: InferResponse, request: InferRequest) -> pb.ModelInferResponse:
    """The answer's message: raw if the request was, or if an output is FP16 or BF16; else typed.

    Raises:
        InvalidInput: a requested output does not exist.
    """
    message = pb.ModelInferResponse(
        model_name=response.model_name,
        model_version=response.model_version or "",
        id=response.id or request.id or "",
    )
    _to_parameters(response.parameters, message.parameters)
    tensors = [tensor for tensor, _ in requested(response, request)]
    raw = isinstance(request, RawInferRequest) or _needs_raw(tensors)
    for tensor in tensors:
        entry = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        _to_parameters(tensor.parameters, entry.parameters)
        if raw:
            data = to_raw(tensor)
            entry.parameters["binary_data_size"].int64_param = len(data)  # KServe's and Triton's answers carry it
            message.raw_output_contents.append(bytes(data))
        else:
            _to_contents(tensor, entry.contents)
    return message


def encode_request(request: InferRequest) -> pb.ModelInferRequest:
    """A request's message, for a caller: raw for a `RawInferRequest` or if an input is FP16 or BF16; else typed."""
    message = pb.ModelInferRequest(
        model_name=request.model_name, model_version=request.model_version or "", id=request.id or ""
    )
    _to_parameters(request.parameters, message.parameters)
    raw = isinstance(request, RawInferRequest) or _needs_raw(request.inputs)
    for tensor in request.inputs:
        entry = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        _to_parameters(tensor.parameters, entry.parameters)
        if raw:
            message.raw_input_contents.append(bytes(to_raw(tensor)))
        else:
            _to_contents(tensor, entry.contents)
    for wanted in request.outputs:
        _to_parameters(wanted.parameters, message.outputs.add(name=wanted.name).parameters)
    return message


def decode_response(message: pb.ModelInferResponse) -> InferResponse:
    """The answer in a `ModelInferResponse`, for who calls a model server.

    Raises:
        BadUpstream: the message breaks the protocol.
    """
    raw = message.raw_output_contents
    outputs: list[Tensor] = []
    try:
        if raw and len(raw) != len(message.outputs):
            raise InvalidInput(f"{len(raw)} raw_output_contents for {len(message.outputs)} outputs")
        for index, entry in enumerate(message.outputs):
            name, datatype, shape = entry.name, entry.datatype, list(entry.shape)
            if raw:
                array = from_raw(name, datatype, shape, raw[index], 0, len(raw[index]))
            else:
                array = _from_contents(name, datatype, shape, entry.contents)
            outputs.append(Tensor(name, datatype, array.shape, array))
    except InvalidInput as error:
        raise BadUpstream(f"The predictor's answer is none of the V2 protocol: {error.message}") from None
    return InferResponse(message.model_name, outputs, message.id or None, message.model_version or None)


def model_metadata(
    name: str, versions: Sequence[str], platform: str, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]
) -> pb.ModelMetadataResponse:
    """Answer of `ModelMetadata`."""
    message = pb.ModelMetadataResponse(name=name, versions=versions, platform=platform)
    for field, specs in ((message.inputs, inputs), (message.outputs, outputs)):
        for spec in specs:
            field.add(name=spec.name, datatype=spec.datatype, shape=spec.shape)
    return message


def _needs_raw(tensors: Sequence[Tensor]) -> bool:
    return any(tensor.datatype not in _CONTENTS for tensor in tensors)


def _to_contents(tensor: Tensor, contents: pb.InferTensorContents) -> None:
    if tensor.datatype == "BYTES":
        contents.bytes_contents.extend(as_bytes(tensor.name, element) for element in tensor.data.ravel().tolist())
    else:
        getattr(contents, _CONTENTS[tensor.datatype]).extend(canonical(tensor).ravel().tolist())


def _from_contents(name: str, datatype: str, shape: list[int], contents: pb.InferTensorContents) -> np.ndarray:
    check_datatype(name, datatype)
    field = _CONTENTS.get(datatype)
    if field is None:
        raise InvalidInput(f'Input "{name}": {datatype} has no typed contents; send it in raw_input_contents')
    count = element_count(name, shape)
    elements = getattr(contents, field)
    filled = [descriptor.name for descriptor, _ in contents.ListFields()]
    if filled and filled != [field]:
        raise InvalidInput(f'Input "{name}": {datatype} is sent in {field}, but {", ".join(filled)} came')
    if len(elements) != count:
        number = count if count < 1 << 63 else "more than 2^63"
        raise InvalidInput(
            f'Input "{name}": shape {brief(shape)} needs {number} elements, but {field} has {len(elements)}'
        )
    dtype = DTYPES[datatype]
    if datatype == "BYTES":
        array = np.empty(count, dtype=dtype)
        array[:] = list(elements)
        return array.reshape(shape)
    if datatype in _NARROW and count:
        limits = np.iinfo(dtype)
        low, high = min(elements), max(elements)
        if low < limits.min or high > limits.max:
            value = low if low < limits.min else high
            raise InvalidInput(
                f'Input "{name}": {value} is outside the range of {datatype} ({limits.min} to {limits.max})'
            )
    return np.array(elements, dtype=dtype).reshape(shape)


def _from_parameters(parameters: Mapping[str, pb.InferParameter]) -> Parameters | None:
    if not parameters:
        return None
    values: Parameters = {}
    for name, parameter in parameters.items():
        choice = parameter.WhichOneof("parameter_choice")
        if choice is not None:
            values[name] = getattr(parameter, choice)
    return values


def _to_parameters(parameters: Parameters | None, field: Any) -> None:
    for name, value in (parameters or {}).items():
        if isinstance(value, bool):
            field[name].bool_param = value
        elif isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
            field[name].int64_param = value
        elif isinstance(value, int) and 0 <= value < 1 << 64:
            field[name].uint64_param = value
        elif isinstance(value, float):
            field[name].double_param = value
        else:
            field[name].string_param = str(value)
