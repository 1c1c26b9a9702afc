"""Whether two revisions said the same: answers compared as what they mean, not as bytes. Pure.

Two builds of one model differ in the last digits, and two servers in the order of keys and in the names that they give
themselves. So numbers are compared with a tolerance, and of V1 and V2 answers only what the model said. V2 binary
tensors are compared by their datatype.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from math import isclose
from typing import Any, Literal, NamedTuple

import msgspec

from colonnade import defaults

_SAID = ("predictions", "explanations", "outputs")  # V1 twice, V2
_FORMATS: dict[str, Literal["f", "d"]] = {"FP32": "f", "FP64": "d"}  # of `memoryview.cast`
_TINY = 1e-9  # numbers that differ by no more are the same however small they are


class Reply(NamedTuple):
    """A whole answer: HTTP status, header fields and body."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


def same(one: Reply, other: Reply, tolerance: float = defaults.SHADOW_TOLERANCE) -> bool:
    """Whether two answers to the same request mean the same. `tolerance`: relative, between two numbers."""
    if one.status != other.status:
        return False
    if one.body == other.body:
        return True
    try:
        (first, raw), (second, other_raw) = _read(one), _read(other)
    except (ValueError, KeyError, TypeError, msgspec.MsgspecError):
        return False
    return _alike(first, second, tolerance) and _alike(raw, other_raw, tolerance)


def _read(reply: Reply) -> tuple[Any, list[Any]]:
    """What the model said, and its tensors from behind the JSON."""
    length = reply.headers.get(b"inference-header-content-length")
    text = reply.body if length is None else reply.body[: int(length)]
    value = msgspec.json.decode(text)
    if not isinstance(value, dict):
        return value, []
    said = {key: value[key] for key in _SAID if key in value} or value
    return said, [] if length is None else list(_tensors(value["outputs"], reply.body[len(text) :]))


def _tensors(outputs: list[dict[str, Any]], raw: bytes) -> Iterator[Any]:
    sizes = [int((output.get("parameters") or {}).get("binary_data_size", 0)) for output in outputs]
    ends = [sum(sizes[:count]) for count in range(len(sizes) + 1)]
    for output, (begin, end) in zip(outputs, pairwise(ends), strict=True):
        tensor = raw[begin:end]
        code = _FORMATS.get(output["datatype"])
        yield tensor if code is None else memoryview(tensor).cast(code).tolist()


def _alike(one: Any, other: Any, tolerance: float) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        numbers = isinstance(one, (int, float)) and isinstance(other, (int, float))
        both_nan = one != one and other != other
        return numbers and (both_nan or isclose(one, other, rel_tol=tolerance, abs_tol=_TINY))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_alike(one[key], other[key], tolerance) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(_alike(first, second, tolerance) for first, second in pairs)
    return type(one) is type(other) and bool(one == other)
