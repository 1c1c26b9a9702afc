"""Strict validation of a JSON object against a struct: names that it does not have, values of the wrong type.

The API server refuses what does not fit, and names every place at once, so that a user mends a manifest in one go.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from colonnade.errors import Invalid
from colonnade.resources.shape import Entries, Listing, Record, Shape, join, mismatch, shape_of

Cause = tuple[str, str]
"""A field path and what is wrong there."""


MAX_DEPTH = 100
"""Levels of an object; what is nested deeper is no manifest, and no walker has to bear it."""


def too_deep(obj: Any) -> bool:
    """Whether an object is nested deeper than `MAX_DEPTH` levels."""
    level = [obj]
    for _ in range(MAX_DEPTH):
        parts = (part.values() if isinstance(part, dict) else part for part in level if isinstance(part, dict | list))
        level = [below for part in parts for below in part]
    return bool(level)


def unknown_fields_of(cls: type[msgspec.Struct], obj: Any) -> list[str]:
    """Paths of the fields that a struct does not have: `spec.predictor.modle`."""
    return list(_unknown(obj, shape_of(cls), ""))


def _unknown(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if mismatch(value, shape) is not None:
        return
    match shape:
        case Record():
            for name, below in value.items():
                if name in shape.properties:
                    yield from _unknown(below, shape.properties[name].shape, join(path, name))
                else:
                    yield join(path, name)
        case Listing():
            for index, below in enumerate(value):
                yield from _unknown(below, shape.item, f"{path}[{index}]")
        case Entries():
            for name, below in value.items():
                yield from _unknown(below, shape.value, join(path, name))


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean X?` for the nearest known name, or nothing."""
    spelled = {each.lower(): each for each in known}
    near = difflib.get_close_matches(name.lower(), list(spelled), 1, 0.7)
    return f"; did you mean {spelled[near[0]]}?" if near else ""


def type_errors_of(cls: type[msgspec.Struct], obj: Any) -> list[Cause]:
    """`(path, message)` of each value of a wrong type, and of each required field that is missing."""
    return list(_mistyped(obj, shape_of(cls), ""))


def _mistyped(value: Any, shape: Shape, path: str) -> Iterator[Cause]:
    reason = mismatch(value, shape)
    if reason is not None:
        yield path, f"Invalid value: {reason}"
        return
    match shape:
        case Record():
            for name, field in shape.properties.items():
                if value.get(name) is not None:
                    yield from _mistyped(value[name], field.shape, join(path, name))
                elif field.required:
                    yield join(path, name), "Required value"
        case Listing():
            for index, below in enumerate(value):
                yield from _mistyped(below, shape.item, f"{path}[{index}]")
        case Entries():
            for name, below in value.items():
                yield from _mistyped(below, shape.value, join(path, name))


def invalid(obj: Any, causes: list[Cause]) -> Invalid:
    """The error for broken rules, worded as the Kubernetes API words it."""
    named = obj if isinstance(obj, Mapping) else {}
    metadata = named.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    version = named.get("apiVersion")
    group = version.rpartition("/")[0] if isinstance(version, str) else ""
    title = f"{named.get('kind')}.{group}" if group else str(named.get("kind"))
    texts = [f"{path}: {message}" if path else message for path, message in causes]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return Invalid(f'{title} "{name or ""}" is invalid: {text}', tuple(causes))
