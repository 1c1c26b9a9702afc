"""OpenAPI schemas of the kinds, and strict validation of objects against the same declarations (`strict`).

Schemas are written as Kubernetes writes its built-in kinds: a component per struct, references inside `allOf`, so that
kubectl's `explain` and client-side validation read them as they read a cluster's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from colonnade.resources.kinds import Kind
from colonnade.resources.shape import Entries, Free, Listing, Property, Record, Scalar, Shape, shape_of
from colonnade.resources.strict import unknown_fields_of

_REF = "#/components/schemas/"
_KUBERNETES = {
    "colonnade.resources.meta": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "colonnade.resources.core": "io.k8s.api.core.v1",
    "colonnade.resources.podspec": "io.k8s.api.core.v1",
    "colonnade.resources.runtime": "io.kserve.serving.v1alpha1",
    "colonnade.resources.inferencegraph": "io.kserve.serving.v1alpha1",
}
_KSERVE = "io.kserve.serving.v1beta1"
LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta"

_LIST_META_SCHEMA: dict[str, Any] = {
    "description": "What the server says of a list.",
    "type": "object",
    "properties": {
        "continue": {"type": "string", "description": "Where the next part of the list begins."},
        "remainingItemCount": {"type": "integer", "format": "int64", "description": "Objects not in this part."},
        "resourceVersion": {"type": "string", "description": "Version of the store that the list shows."},
        "selfLink": {"type": "string", "description": "No longer used by Kubernetes."},
    },
}


def schema_name(cls: type[msgspec.Struct]) -> str:
    """Name of a struct's component: `io.kserve.serving.v1beta1.InferenceService`."""
    return f"{_KUBERNETES.get(cls.__module__, _KSERVE)}.{cls.__name__}"


@cache
def openapi_schemas(kind: Kind) -> dict[str, dict[str, Any]]:
    """Components of a kind, its list and all that they refer to, by name; not to be changed by the caller."""
    schemas: dict[str, dict[str, Any]] = {LIST_META: _LIST_META_SCHEMA}
    _collect(shape_of(kind.struct), schemas)
    top = schema_name(kind.struct)
    group_version_kind = {"group": kind.group, "version": kind.version}
    schemas[top]["x-kubernetes-group-version-kind"] = [{**group_version_kind, "kind": kind.kind}]
    schemas[f"{top}List"] = {
        "description": f"A list of {kind.kind} objects.",
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": {"type": "string", "description": "Version of the schema."},
            "kind": {"type": "string", "description": "Kind of the list."},
            "metadata": _reference(LIST_META) | {"description": "What the server says of the list."},
            "items": {"type": "array", "items": _reference(top), "description": "The objects."},
        },
        "x-kubernetes-group-version-kind": [{**group_version_kind, "kind": kind.list_kind}],
    }
    return schemas


def _collect(record: Record, schemas: dict[str, dict[str, Any]]) -> None:
    name = schema_name(record.cls)
    if name in schemas:
        return
    schema: dict[str, Any] = {"description": _docstring(record.cls), "type": "object"}
    schemas[name] = schema
    schema["properties"] = {field.name: _property(field, schemas) for field in record.properties.values()}
    required = [field.name for field in record.properties.values() if field.required]
    if required:
        schema["required"] = required


def _docstring(cls: type[msgspec.Struct]) -> str:
    return (cls.__doc__ or "").strip()


def _property(field: Property, schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"description": field.description, **_schema(field.shape, schemas), **field.schema}


def _reference(name: str) -> dict[str, Any]:
    return {"allOf": [{"$ref": _REF + name}], "default": {}}


def _schema(shape: Shape, schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    match shape:
        case Record():
            _collect(shape, schemas)
            return _reference(schema_name(shape.cls))
        case Listing():
            schema = {"type": "array", "items": _schema(shape.item, schemas)}
            return schema if shape.min_items is None else schema | {"minItems": shape.min_items}
        case Entries():
            return {"type": "object", "additionalProperties": _schema(shape.value, schemas)}
        case Free():
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        case Scalar():
            return _scalar(shape)


def _scalar(shape: Scalar) -> dict[str, Any]:
    if len(shape.names) > 1:
        return {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}
    schema: dict[str, Any] = {"type": shape.names[0]}
    if shape.enum:
        schema["enum"] = list(shape.enum)
    if shape.pattern is not None:
        schema["pattern"] = shape.pattern
    if shape.max_length is not None:
        schema["maxLength"] = shape.max_length
    if shape.maximum in (2**31 - 1, 2**63 - 1):
        schema["format"] = "int32" if shape.maximum == 2**31 - 1 else "int64"
    elif shape.maximum is not None:
        schema |= {"minimum": shape.minimum, "maximum": shape.maximum}
    return schema


def unknown_fields(kind: Kind, obj: Mapping[str, Any]) -> list[str]:
    """Paths of the fields that the kind does not have: `spec.predictor.modle`."""
    return unknown_fields_of(kind.struct, obj)
