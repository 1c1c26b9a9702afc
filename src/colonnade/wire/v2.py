"""Open Inference Protocol V2 over HTTP: JSON, and the binary tensor data extension.

The body is decoded in one pass into typed structs, a large one by way of `bulk`; only a body that fails this is looked
at again, by `v2faults`, to say what is wrong with it in the protocol's own words. With a JSON header length the body is
JSON and then raw tensors in the order of the inputs that declare `binary_data_size`; an input without it carries `data`
in the JSON as usual.

Answers are strict: absent fields are left out, data is flat and row-major. NaN and infinities, which JSON cannot write,
are `null`: Triton writes bare `NaN` tokens, which most JSON parsers refuse, and other servers fail the whole answer.
Ask for binary data to get them exactly. Answers of one model differ in their data and ids only, so the text around
these is kept and put together again, which takes half the time of a struct and its encoder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
import numpy as np
import simdjson

from colonnade.errors import InvalidInput
from colonnade.wire import bulk
from colonnade.wire.elements import from_json, to_json
from colonnade.wire.jsontext import Body
from colonnade.wire.rawdata import from_raw, to_raw
from colonnade.wire.requested import requested
from colonnade.wire.tensors import InferRequest, InferResponse, RequestedOutput, Tensor, TensorSpec
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


_decode = msgspec.json.Decoder(_Request).decode
_encode = msgspec.json.Encoder().encode
_INPUT_FIELDS = frozenset(_Input.__struct_fields__)
_MAX_KEPT = 1024
_kept: dict[tuple[Any, ...], bytes] = {}  # texts of answers that do not differ from one to the next


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
    message = _decode_large(text) if len(text) >= bulk.LARGE else None
    if message is None:
        try:
            message = _decode(text)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidInput(why(text, error)) from None
    if left is None:
        inputs = [
            Tensor(entry.name, entry.datatype, (array := _array(entry)).shape, array, entry.parameters)
            for entry in message.inputs
        ]
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


def encode(response: InferResponse, request: InferRequest) -> tuple[int | None, list[bytes | memoryview]]:
    """The answer's body: the JSON's length if raw tensors follow it, else None, and the body's chunks in order.

    Raises:
        InvalidInput: a requested output does not exist, or is FP16 or BF16 and was asked for as JSON.
    """
    if len(response.outputs) == 1 and not request.outputs and request.parameters is None:
        tensor = response.outputs[0]
        if tensor.parameters is None:  # all that most answers are
            return None, [b"%b%b}%b" % (_opening(response, tensor), to_json(tensor), _end(response, request))]
    all_binary = request.parameters is not None and request.parameters.get("binary_data_output") is True
    raw: list[bytes | memoryview] = []
    outputs: list[bytes] = []
    for tensor, asked in requested(response, request):
        binary = asked.get("binary_data", all_binary) if asked else all_binary
        parameters = tensor.parameters
        if binary is True:
            chunk = to_raw(tensor)
            sized = {**(parameters or {}), "binary_data_size": len(chunk)}
            outputs.append(b"%b%b}" % (_head(tensor), _member(b"parameters", sized)))
            raw.append(chunk)
        else:
            if parameters and "binary_data_size" in parameters:  # an input that came raw and is sent back as JSON
                parameters = {name: value for name, value in parameters.items() if name != "binary_data_size"}
            said = _member(b"parameters", parameters) if parameters else b""
            outputs.append(b'%b%b,"data":%b}' % (_head(tensor), said, to_json(tensor)))
    text = b"%b%b%b" % (_opening(response), b",".join(outputs), _end(response, request))
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


def _opening(response: InferResponse, tensor: Tensor | None = None) -> bytes:
    """An answer's text up to its outputs, or up to the data of its only one."""
    name, version = response.model_name, response.model_version
    key = (name, version) if tensor is None else (name, version, tensor.name, tensor.datatype, tensor.shape)
    text = _kept.get(key)
    if text is None:
        text = b'{"model_name":%b%b,"outputs":[' % (_encode(name), _member(b"model_version", version))
        text = _keep(key, text if tensor is None else b'%b%b,"data":' % (text, _head(tensor)))
    return text


def _head(tensor: Tensor) -> bytes:
    """An output's text up to its parameters and data."""
    key = (tensor.name, tensor.datatype, tensor.shape)
    text = _kept.get(key)
    if text is None:
        name, datatype, shape = map(_encode, key)
        text = _keep(key, b'{"name":%b,"shape":%b,"datatype":%b' % (name, shape, datatype))
    return text


def _keep(key: tuple[Any, ...], text: bytes) -> bytes:
    if len(_kept) >= _MAX_KEPT:
        _kept.clear()
    _kept[key] = text
    return text


def _end(response: InferResponse, request: InferRequest) -> bytes:
    """An answer's text behind its outputs."""
    identity = response.id or request.id
    if response.parameters is None:
        return b'],"id":%b}' % _encode(identity) if identity else b"]}"
    return b"]%b%b}" % (_member(b"id", identity or None), _member(b"parameters", response.parameters))


def _member(name: bytes, value: Any) -> bytes:
    return b"" if value is None else b',"%b":%b' % (name, _encode(value))


def _decode_large(text: Body) -> _Request | None:
    """The request in a large JSON body, with arrays in place of lists; None if the typed decoder has to look at it."""
    document = bulk.parse(text)
    if document is None:
        return None
    root = document.root
    entries = root.pop("inputs", None)
    if type(entries) is not simdjson.Array:
        return None
    inputs: list[_Input] = []
    for entry in entries:
        given = _input(document, bulk.members(entry))
        if given is None:
            return None
        inputs.append(given)
    try:
        rest = {name: bulk.plain(value) for name, value in root.items() if name in ("id", "parameters", "outputs")}
        message = msgspec.convert({**rest, "inputs": []}, _Request)
    except msgspec.ValidationError:
        return None
    message.inputs = inputs
    others = 1 + len(inputs) + (message.outputs is not None)  # the list of inputs, their shapes, the list of outputs
    return message if document.has_no_more_lists(others) else None


def _input(document: bulk.Document, fields: dict[str, Any] | None) -> _Input | None:
    if fields is None:
        return None
    data = fields.pop("data", None)
    if data is not None and type(data) is not simdjson.Array:
        return None
    try:
        given = msgspec.convert({name: bulk.plain(fields[name]) for name in _INPUT_FIELDS & fields.keys()}, _Input)
    except msgspec.ValidationError:
        return None
    if data is not None:
        array = document.tensor(given.datatype, given.shape, data)
        given.data = document.values(data) if array is None else cast(Any, array)
        if given.data is None:
            return None
    return given


def _array(entry: _Input) -> np.ndarray:
    data: Any = entry.data
    if data is None:
        raise InvalidInput(_no_data(entry))
    return data if type(data) is np.ndarray else from_json(entry.name, entry.datatype, entry.shape, data)


def _from_mixed(entries: list[_Input], body: Body, offset: int) -> list[Tensor]:
    inputs: list[Tensor] = []
    for entry in entries:
        size = entry.parameters.get("binary_data_size") if entry.parameters else None
        if size is None:
            array = _array(entry)
            inputs.append(Tensor(entry.name, entry.datatype, array.shape, array, entry.parameters))
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
