"""What the declarations of a struct compile to: a small tree that every walker over JSON objects shares.

msgspec parses by the structs themselves; schema, strict validation and verdicts need the same knowledge as data: which
names exist, of which type, with which ruling. `shape_of` reads it off the struct once and keeps it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec import inspect

from colonnade.resources.fields import Declaration, Rule, Ruling

TypeName = Literal["string", "integer", "number", "boolean"]


@dataclass(frozen=True, slots=True)
class Scalar:
    """A string, number or boolean; two names mean that either is taken (`port: 8080` and `port: http`)."""

    names: tuple[TypeName, ...]
    enum: tuple[str, ...] = ()
    pattern: str | None = None
    minimum: int | None = None
    maximum: int | None = None
    max_length: int | None = None


@dataclass(frozen=True, slots=True)
class Free:
    """Any JSON object: Kubernetes parts that are passed on and not modelled here."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of one shape."""

    item: Shape
    min_items: int | None = None


@dataclass(frozen=True, slots=True)
class Entries:
    """A map from any string to one shape, such as labels."""

    value: Shape


@dataclass(frozen=True, slots=True)
class Property:
    """A declared field."""

    name: str
    shape: Shape
    required: bool
    description: str
    ruling: Ruling | None
    rule: Rule | None
    hidden: bool
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """An object with declared fields, by their names on the wire."""

    cls: type[msgspec.Struct]
    properties: Mapping[str, Property]


Shape = Scalar | Free | Listing | Entries | Record


@cache
def shape_of(cls: type[msgspec.Struct]) -> Record:
    """The shape of a struct and of everything below it."""
    return _record(inspect.type_info(cls))


def _record(info: inspect.Type) -> Record:
    assert isinstance(info, inspect.StructType)
    return Record(info.cls, {field.encode_name: _property(field) for field in info.fields})


def _property(field: inspect.Field) -> Property:
    schema: dict[str, Any] = {}
    declaration = Declaration(None, None, False)
    info = field.type
    while isinstance(info, inspect.Metadata):
        schema = (info.extra_json_schema or {}) | schema
        declaration = (info.extra or {}).get("declaration", declaration)
        info = info.type
    description = schema.pop("description", "")
    return Property(field.encode_name, _shape(info), field.required, description, *declaration, schema)


def _shape(info: inspect.Type) -> Shape:
    match info:
        case inspect.Metadata():
            return _shape(info.type)
        case inspect.UnionType():
            return _union([_shape(part) for part in info.types if not isinstance(part, inspect.NoneType)])
        case inspect.StructType():
            return shape_of(info.cls)
        case inspect.ListType():
            return Listing(_shape(info.item_type), info.min_length)
        case inspect.DictType():
            return Free() if isinstance(info.value_type, inspect.AnyType) else Entries(_shape(info.value_type))
        case inspect.StrType():
            return Scalar(("string",), pattern=info.pattern, max_length=info.max_length)
        case inspect.IntType():
            return Scalar(("integer",), minimum=info.ge, maximum=info.le)
        case inspect.FloatType():
            return Scalar(("number",))
        case inspect.BoolType():
            return Scalar(("boolean",))
        case inspect.LiteralType():
            return Scalar(("string",), enum=tuple(str(value) for value in info.values))
    raise TypeError(f"no JSON shape for {info}")


def _union(parts: list[Shape]) -> Shape:
    if len(parts) == 1:
        return parts[0]
    scalars = [part for part in parts if isinstance(part, Scalar)]
    assert len(scalars) == len(parts), "only scalars have alternatives in the Kubernetes API"
    return Scalar(tuple(name for scalar in scalars for name in scalar.names))


def mismatch(value: Any, shape: Shape) -> str | None:
    """Why a value does not fit a shape at its top level, or None if it does; what lies below is not looked at."""
    match shape:
        case Record() | Entries() | Free():
            return None if isinstance(value, dict) else f"must be an object, not {kind_of(value)}"
        case Listing():
            if not isinstance(value, list):
                return f"must be a list, not {kind_of(value)}"
            short = shape.min_items is not None and len(value) < shape.min_items
            return f"must have at least {shape.min_items} item" if short else None
        case Scalar():
            return _scalar_mismatch(value, shape)


def _scalar_mismatch(value: Any, shape: Scalar) -> str | None:
    if kind_of(value) not in shape.names and not ("number" in shape.names and kind_of(value) == "integer"):
        return f"must be of type {' or '.join(shape.names)}, not {kind_of(value)}"
    if shape.enum and value not in shape.enum:
        return f"unsupported value {brief(value)}; supported values: {', '.join(shape.enum)}"
    if isinstance(value, str):
        if shape.max_length is not None and len(value) > shape.max_length:
            return f"must have at most {shape.max_length} characters"
        if shape.pattern is not None and not re.search(shape.pattern, value):
            return f"{brief(value)} must match '{shape.pattern}'"
    elif isinstance(value, int) and not isinstance(value, bool):
        if shape.minimum is not None and value < shape.minimum:
            return f"{value} must be {shape.minimum} or more"
        if shape.maximum is not None and value > shape.maximum:
            return f"{value} must be {shape.maximum} or less"
    return None


def kind_of(value: Any) -> str:
    """The JSON type of a value, as OpenAPI names it."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def brief(value: Any) -> str:
    """A value for a message: quoted, and cut so that a message stays a message."""
    text = value if isinstance(value, str) else str(value)
    return f'"{text[:80]}…"' if len(text) > 80 else f'"{text}"'


def join(path: str, name: str) -> str:
    """A field path as Kubernetes writes it: `metadata.annotations[a.b/c]`, `spec.predictor`."""
    if path and not re.fullmatch(r"[A-Za-z_$][A-Za-z0-9_-]*", name):
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name
