"""Open Inference Protocol V2 over HTTP: JSON, and the binary tensor data extension.

The body is decoded in one pass into typed structs; only a body that fails this is looked at again, by `v2faults`, to
say what is wrong with it in the protocol's own words. With a JSON header length the body is JSON and then raw tensors
in the order of the inputs that declare `binary_data_size`; an input without it carries `data` in the JSON as usual.

Answers are strict: absent fields are left out, data is flat and row-major. NaN and infinities, which JSON cannot write,
are `null`: Triton writes bare `NaN` tokens, which most JSON parsers refuse, and other servers fail the whole answer.
Ask for binary data to get them exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from colonnade.errors import InvalidInput
from colonnade.wire.elements import from_json, to_json
from colonnade.wire.jsontext import Body
from colonnade.wire.rawdata import from_raw, to_raw
from colonnade.wire.requested import requested
from colonnade.wire.tensors import InferRequest, InferResponse, Parameters, RequestedOutput, Tensor, TensorSpec
from colonnade.wire.v2faults import why

EXTENSIONS = ("binary_tensor_data", "model_repository")


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[_Output] | None = None


class _AnswerTensor(msgspec.Struct, omit_defaults=True):
    name: str
    shape: Sequence[int]
    datatype: str
    parameters: Parameters | None = None
    data: list[Any] | None = None


class _Answer(msgspec.Struct, omit_defaults=True):
    model_name: str
    outputs: list[_AnswerTensor]
    model_version: str | None = None
    id: str | None = None
    parameters: Parameters | None = None


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode


def decode(body: Body, header_length: int | None, model_name: str, model_version: str | None = None) -> InferRequest:
    """The request in an HTTP body.

    Args:
        header_length: value of `Inference-Header-Content-Length`, in bytes, or None without that header.

    Raises:
        InvalidInput: the body breaks the protocol.
    """
    if header_length is None:
        text, left = body, None
    else:
        if not 0 < header_length <= len(body):
            raise InvalidInput(
                f"Inference-Header-Content-Length is {header_length}, but the body has {len(body)} bytes; "
                "give the length of the JSON at its start"
            )
        text, left = memoryview(body)[:header_length], len(body) - header_length
    try:
        message = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(why(text, error)) from None
    if left is None:
        inputs = [_from_json(entry) for entry in message.inputs]
    else:
        inputs = _from_mixed(message.inputs, body, len(body) - left)
    if len(inputs) > 1:
        _check_names(inputs)
    return InferRequest(
        model_name,
        inputs,
        message.id or None,
        model_version,
        message.parameters,
        [RequestedOutput(entry.name, entry.parameters) for entry in message.outputs] if message.outputs else [],
    )


def encode(response: InferResponse, request: InferRequest) -> tuple[int | None, list[bytes]]:
    """The answer's body: the JSON's length if raw tensors follow it, else None, and the body's chunks in order.

    Raises:
        InvalidInput: a requested output does not exist, or is FP16 and was asked for as JSON.
    """
    all_binary = request.parameters is not None and request.parameters.get("binary_data_output") is True
    raw: list[bytes] = []
    outputs: list[_AnswerTensor] = []
    for tensor, asked in requested(response, request):
        binary = asked.get("binary_data", all_binary) if asked else all_binary
        if binary is True:
            chunk = to_raw(tensor)
            parameters = {**(tensor.parameters or {}), "binary_data_size": len(chunk)}
            outputs.append(_AnswerTensor(tensor.name, tensor.shape, tensor.datatype, parameters))
            raw.append(chunk)
        else:
            data = to_json(tensor)
            kept = tensor.parameters
            if kept and "binary_data_size" in kept:  # an input that came raw and is sent back as JSON
                kept = {name: value for name, value in kept.items() if name != "binary_data_size"} or None
            outputs.append(_AnswerTensor(tensor.name, tensor.shape, tensor.datatype, kept, data))
    answer = _Answer(
        response.model_name, outputs, response.model_version, response.id or request.id, response.parameters
    )
    text = _encode(answer)
    if not raw:
        return None, [text]
    return len(text), [text, *raw]


def server_metadata(name: str, version: str, extensions: Iterable[str] = EXTENSIONS) -> bytes:
    """Answer of `GET /v2`."""
    return _encode({"name": name, "version": version, "extensions": list(extensions)})


def model_metadata(
    name: str, versions: Sequence[str], platform: str, inputs: Iterable[TensorSpec], outputs: Iterable[TensorSpec]
) -> bytes:
    """Answer of `GET /v2/models/{name}`."""
    return _encode(
        {
            "name": name,
            "versions": list(versions),
            "platform": platform,
            "inputs": [_spec(spec) for spec in inputs],
            "outputs": [_spec(spec) for spec in outputs],
        }
    )


def live(alive: bool) -> bytes:
    """Answer of `GET /v2/health/live`."""
    return _encode({"live": alive})


def ready(ready: bool) -> bytes:
    """Answer of `GET /v2/health/ready`."""
    return _encode({"ready": ready})


def model_ready(name: str, ready: bool) -> bytes:
    """Answer of `GET /v2/models/{name}/ready`."""
    return _encode({"name": name, "ready": ready})


def model_names(names: Iterable[str]) -> bytes:
    """Answer of `GET /v2/models` (KServe's addition)."""
    return _encode({"models": list(names)})


def repository_index(entries: Iterable[tuple[str, str, str, str]]) -> bytes:
    """Answer of `POST /v2/repository/index`.

    Args:
        entries: name, version, state (`READY`, `UNAVAILABLE`, `LOADING`) and reason of each model.
    """
    return _encode(
        [
            {"name": name, "version": version, "state": state, "reason": reason}
            for name, version, state, reason in entries
        ]
    )


def repository_loaded(name: str) -> bytes:
    """Answer of `POST /v2/repository/models/{name}/load`."""
    return _encode({"name": name, "load": True})


def repository_unloaded(name: str) -> bytes:
    """Answer of `POST /v2/repository/models/{name}/unload`."""
    return _encode({"name": name, "unload": True})


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": spec.shape}


def _from_json(entry: _Input) -> Tensor:
    if entry.data is None:
        raise InvalidInput(_no_data(entry))
    array = from_json(entry.name, entry.datatype, entry.shape, entry.data)
    return Tensor(entry.name, entry.datatype, array.shape, array, entry.parameters)


def _from_mixed(entries: list[_Input], body: Body, offset: int) -> list[Tensor]:
    inputs: list[Tensor] = []
    for entry in entries:
        size = entry.parameters.get("binary_data_size") if entry.parameters else None
        if size is None:
            inputs.append(_from_json(entry))
            continue
        if type(size) is not int or size < 0:
            raise InvalidInput(f'Input "{entry.name}": binary_data_size must be a whole number of bytes')
        if entry.data is not None:
            raise InvalidInput(f'Input "{entry.name}" has both "data" and binary_data_size; send one of them')
        if size > len(body) - offset:
            left = len(body) - offset
            raise InvalidInput(f'Input "{entry.name}": binary_data_size is {size}, but only {left} bytes are left')
        array = from_raw(entry.name, entry.datatype, entry.shape, body, offset, size)
        inputs.append(Tensor(entry.name, entry.datatype, array.shape, array, entry.parameters))
        offset += size
    if offset != len(body):
        raise InvalidInput(
            f"The body goes on after its last binary input, by {len(body) - offset} bytes; check each binary_data_size"
        )
    return inputs


def _no_data(entry: _Input) -> str:
    parameters = entry.parameters or {}
    if "binary_data_size" in parameters:
        return (
            f'Input "{entry.name}" declares binary_data_size, but the request has no Inference-Header-Content-Length '
            "header; send it with the length of the JSON"
        )
    if "shared_memory_region" in parameters:
        return f'Input "{entry.name}" lies in shared memory, which is not supported; send its data'
    return f'Input "{entry.name}" has no "data"'


def _check_names(inputs: list[Tensor]) -> None:
    seen: set[str] = set()
    for tensor in inputs:
        if tensor.name in seen:
            raise InvalidInput(f'Input "{tensor.name}" is given twice; input names must differ')
        seen.add(tensor.name)
