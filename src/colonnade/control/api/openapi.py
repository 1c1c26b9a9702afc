"""OpenAPI v3 of the API, one document per group and version, from the schemas of the kinds.

kubectl reads it for `explain`, and to learn whether the server validates fields and takes dry runs: it looks for the
parameters of the PATCH operation of a kind.
"""

from __future__ import annotations

import hashlib
from functools import cache

from colonnade.control.api.media import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, to_json
from colonnade.control.api.paths import UNKNOWN_PATH
from colonnade.control.objects import Object
from colonnade.errors import NotFound
from colonnade.resources.kinds import KINDS, Kind
from colonnade.resources.schema import openapi_schemas, schema_name
from colonnade.version import __version__

# The older document, without contents: a protobuf `openapi.v2.Document` with field 1, `swagger: "2.0"`. kubectl asks
# for it where v3 does not have a kind, and says "no matches for kind" only if it can be read.
V2 = b"\n\x032.0"
V2_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"  # no `@`, which MIME parsers refuse

_PARAMETERS = {
    "dryRun": "`All` checks a write and does not store it.",
    "fieldManager": "Who writes.",
    "fieldValidation": "What becomes of unknown fields: Strict, Warn or Ignore.",
}
_PARAMETERS_OF = {
    "post": ("dryRun", "fieldManager", "fieldValidation"),
    "put": ("dryRun", "fieldManager", "fieldValidation"),
    "patch": ("dryRun", "fieldManager", "fieldValidation"),
    "delete": ("dryRun",),
}
_VERB = {"post": "create", "put": "update", "patch": "patch", "delete": "delete"}
_ACTION = {"post": "post", "put": "put", "patch": "patch", "delete": "delete"}


@cache
def index() -> bytes:
    """`/openapi/v3`: where each document lies, with a hash by which clients keep it."""
    paths = {}
    for name in sorted({_document_name(kind) for kind in KINDS}):
        digest = hashlib.sha256(document(name)).hexdigest().upper()
        paths[name] = {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
    return to_json({"paths": paths})


@cache
def document(name: str) -> bytes:
    """`/openapi/v3/{name}`, with names such as `api/v1` and `apis/serving.kserve.io/v1beta1`. Raises NotFound."""
    kinds = [kind for kind in KINDS if _document_name(kind) == name]
    if not kinds:
        raise NotFound(UNKNOWN_PATH)
    paths: Object = {}
    schemas: Object = {}
    for kind in kinds:
        schemas |= openapi_schemas(kind)
        root = f"/{name}" + ("/namespaces/{namespace}" if kind.namespaced else "") + f"/{kind.plural}"
        paths[root] = _path(kind, ("get", "post"), "list")
        paths[root + "/{name}"] = _path(kind, ("get", "put", "patch", "delete"), "get", ("name",))
        if "status" in kind.subresources:
            paths[root + "/{name}/status"] = _path(kind, ("get", "put", "patch"), "get", ("name",))
    return to_json(
        {
            "openapi": "3.0.0",
            "info": {"title": "Colonnade", "version": __version__},
            "paths": paths,
            "components": {"schemas": schemas},
        }
    )


def _document_name(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _path(kind: Kind, methods: tuple[str, ...], reading: str, names: tuple[str, ...] = ()) -> Object:
    if kind.namespaced:
        names = (*names, "namespace")
    path: Object = {
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    }
    for method in methods:
        if _VERB.get(method, reading) in kind.verbs:
            path[method] = _operation(kind, method, reading)
    return path


def _operation(kind: Kind, method: str, reading: str) -> Object:
    item = {"$ref": f"#/components/schemas/{schema_name(kind.struct)}"}
    listing = {"$ref": f"#/components/schemas/{schema_name(kind.struct)}List"}
    answer = listing if method == "get" and reading == "list" else item
    operation: Object = {
        "parameters": [
            {"name": name, "in": "query", "description": _PARAMETERS[name], "schema": {"type": "string"}}
            for name in _PARAMETERS_OF.get(method, ())
        ],
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}},
        "x-kubernetes-action": _ACTION.get(method, reading),
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    }
    if method in ("post", "put"):
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": item}}}
    elif method == "patch":
        forms = (JSON_PATCH, MERGE_PATCH, APPLY_PATCH, *(() if kind.group else (STRATEGIC_PATCH,)))
        operation["requestBody"] = {
            "required": True,
            "content": {form: {"schema": {"type": "object"}} for form in forms},
        }
    return operation
