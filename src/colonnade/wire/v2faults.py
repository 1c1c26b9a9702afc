"""What is wrong with a V2 body that the typed decoder refused.

The decoder is quick and terse. This second look, taken only on failure, walks the body as plain JSON along the
protocol's fields and names the input, the field and the fix.
"""

from __future__ import annotations

from typing import Any

from colonnade.errors import InvalidInput
from colonnade.wire.jsontext import Body, fault, parse

_EXAMPLE = '{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [...]}]}'
_INPUT_FIELDS: tuple[tuple[str, str], ...] = (
    ("shape", "a list of whole numbers"),
    ("datatype", 'a string such as "FP32"'),
)


def why(body: Body, error: Exception) -> str:
    """One sentence for the client.

    Args:
        body: the JSON text.
        error: what the typed decoder raised.
    """
    try:
        document = parse(body, "The request body is not valid JSON: ")
    except InvalidInput as invalid:
        return invalid.message
    return _document(document) or f"The request body is not a V2 inference request: {fault(body, error)}"


def _document(document: Any) -> str | None:
    if not isinstance(document, dict):
        return f"The request body must be a JSON object such as {_EXAMPLE}"
    inputs = document.get("inputs")
    if "inputs" not in document:
        hint = '; "instances" belongs to the V1 protocol' if "instances" in document else ""
        return f'The request has no "inputs"{hint}; send {_EXAMPLE}'
    if not isinstance(inputs, list):
        return f'"inputs" must be a list of tensors; send {_EXAMPLE}'
    if not isinstance(document.get("id", ""), str | None):
        return '"id" must be a string'
    if not isinstance(document.get("parameters"), dict | None):
        return '"parameters" must be an object'
    for index, entry in enumerate(inputs):
        if (message := _input(index, entry)) is not None:
            return message
    return _outputs(document.get("outputs"))


def _input(index: int, entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return f"inputs[{index}] must be an object with name, shape, datatype and data"
    name = entry.get("name")
    if "name" not in entry:
        return f'inputs[{index}] has no "name"'
    if not isinstance(name, str):
        return f'inputs[{index}]: "name" must be a string'
    for field, wanted in _INPUT_FIELDS:
        if field not in entry:
            return f'Input "{name}" has no "{field}"; give {wanted}'
    if not isinstance(entry["shape"], list) or any(type(size) is not int for size in entry["shape"]):
        return f'Input "{name}": "shape" must be {_INPUT_FIELDS[0][1]}'
    if not isinstance(entry["datatype"], str):
        return f'Input "{name}": "datatype" must be {_INPUT_FIELDS[1][1]}'
    if not isinstance(entry.get("data"), list | None):
        return f'Input "{name}": "data" must be a list'
    if not isinstance(entry.get("parameters"), dict | None):
        return f'Input "{name}": "parameters" must be an object'
    return None


def _outputs(outputs: Any) -> str | None:
    if not isinstance(outputs, list | None):
        return '"outputs" must be a list of objects with a "name"'
    for index, entry in enumerate(outputs or ()):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            return f'outputs[{index}] must be an object with a "name" that is a string'
        if not isinstance(entry.get("parameters"), dict | None):
            return f'Output "{entry["name"]}": "parameters" must be an object'
    return None
