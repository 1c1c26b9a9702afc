"""KServe's V1 protocol: a JSON object in, a JSON object out.

A request is `{"instances": [...]}` or `{"inputs": [...]}`; an object with neither goes to the model unchecked. An
answer is whatever the model returned, so the encoder takes numpy values, bytes and data frames at any depth. Arrays are
written as text where they lie, without a list of their elements.
"""

from __future__ import annotations

import math
import sys
from typing import Any

import msgspec
import numpy as np
import orjson
import simdjson

from colonnade.errors import InferenceError, InvalidInput
from colonnade.wire import bulk
from colonnade.wire.jsontext import Body, parse
from colonnade.wire.tensors import DTYPES

_encode = msgspec.json.Encoder().encode
_PLAIN = frozenset({int, float, str, bool, type(None)})
_WRITTEN = frozenset(DTYPES.values()) - {DTYPES["BYTES"]}


def decode(body: Body, arrays: bool = False) -> dict[str, Any]:
    """The request's JSON object.

    Args:
        arrays: `instances` and `inputs` of a large body that are regular lists of numbers may come as arrays.

    Raises:
        InvalidInput: with KServe's texts, for a body that is not JSON, not an object, or whose `instances` is no list,
            or whose `inputs` is neither a list nor an object.
    """
    if arrays and len(body) >= bulk.LARGE:
        found = _decode_large(body)
        if found is not None:
            return found
    payload = parse(body, "Unrecognized request format: ")
    if type(payload) is not dict:
        raise InvalidInput('Unrecognized request format: expected a JSON object such as {"instances": [...]}')
    if type(payload.get("instances", [])) is not list:
        raise InvalidInput('Expected "instances" to be a list')
    if not isinstance(payload.get("inputs", []), (list, dict)):  # a dict: one list for each input, which KServe refuses
        raise InvalidInput('Expected "inputs" to be a list')
    return payload


def encode(payload: Any) -> bytes:
    """The JSON of a model's answer.

    numpy arrays and scalars become numbers and lists (FP32 in its shortest decimals), bytes become UTF-8 text, a data
    frame becomes a list of rows, NaN and infinities become null, for which JSON has no number.

    Raises:
        InferenceError: the answer holds something that JSON cannot carry.
    """
    try:
        return _encode(_plain(payload))
    except RecursionError:
        raise InferenceError("The model's answer is nested too deeply, or holds itself") from None
    except UnicodeError:
        raise InferenceError(
            "The model's answer holds bytes or text that are not UTF-8; JSON cannot carry them"
        ) from None
    except (TypeError, ValueError, OverflowError):
        raise InferenceError("The model's answer holds a value that JSON cannot carry") from None


def _decode_large(body: Body) -> dict[str, Any] | None:
    """The object in a large body with arrays in the place of lists; None if `instances` or `inputs` are none."""
    document = bulk.parse(body)
    if document is None:
        return None
    payload: dict[str, Any] = {}
    for name, value in document.root.items():
        read = _numbers(document, value) if name in ("instances", "inputs") else bulk.plain(value)
        if read is None:
            return None
        payload[name] = read
    return payload if document.has_no_more_lists(0) else None


def _numbers(document: bulk.Document, value: Any) -> np.ndarray | dict[str, np.ndarray] | None:
    """The array in a list, or the arrays in an object of lists."""
    if type(value) is simdjson.Array:
        return document.array(value)
    columns: dict[str, np.ndarray] = {}
    for name, column in (bulk.members(value) or {}).items():
        array = document.array(column) if type(column) is simdjson.Array else None
        if array is None:
            return None
        columns[name] = array
    return columns or None


def _plain(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is list or kind is tuple:
        return value if set(map(type, value)) <= _PLAIN else [_plain(item) for item in value]
    if isinstance(value, dict):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        if value.dtype in _WRITTEN and value.ndim:
            array = np.ascontiguousarray(value)
            return msgspec.Raw(orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY))
        return _plain(value.tolist() if value.ndim else value[()])
    if isinstance(value, np.float32):
        return float(str(value))
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, (bytes, bytearray, memoryview)):
        return str(bytes(value), "utf-8")
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return _plain_frame(value)


def _key(key: Any) -> str:
    if type(key) is str:
        return key
    plain = _plain(key)
    if isinstance(plain, float) and not math.isfinite(plain):
        plain = None
    return plain if isinstance(plain, str) else _encode(plain).decode()


def _plain_frame(value: Any) -> Any:
    pandas: Any = sys.modules.get("pandas")  # a frame can only be here if its library is
    if pandas is not None:
        if isinstance(value, pandas.DataFrame):
            return _plain(value.to_dict(orient="records"))
        if isinstance(value, (pandas.Series, pandas.Index)):
            return _plain(value.tolist())
        if value is pandas.NA or value is pandas.NaT:
            return None
    return value
