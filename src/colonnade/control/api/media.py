"""Bodies in and representations out: JSON, YAML and protobuf to objects, `Accept` to the view that is asked for."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from colonnade.control.api import protobuf
from colonnade.control.objects import Object
from colonnade.errors import Error, InvalidInput, UnsupportedMediaType
from colonnade.resources import manifest
from colonnade.resources.strict import MAX_DEPTH, too_deep

View = Literal["object", "table", "metadata"]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml", APPLY_PATCH)
_JSON_TYPES = ("", "application/json", "text/json", JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)

to_json = msgspec.json.Encoder(order="sorted").encode


class NotAcceptable(Error):
    """No representation that the client accepts exists (406)."""

    status = 406
    reason = "NotAcceptable"


def media_type(header: bytes) -> str:
    """The media type of a header without its parameters, in lower case."""
    return header.decode("latin-1").partition(";")[0].strip().lower()


def decode_body(body: bytes, content_type: bytes) -> Any:
    """The JSON value of a body. Raises InvalidInput (malformed) and UnsupportedMediaType."""
    kind = media_type(content_type)
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.decode(body)
    if kind not in _YAML_TYPES and kind not in _JSON_TYPES:
        raise UnsupportedMediaType(
            f"the body of the request was in an unknown format {kind[:80]!r} - accepted media types include: "
            "application/json, application/yaml"
        )
    try:
        value = msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise InvalidInput("the body is not UTF-8") from None
    except RecursionError:
        raise InvalidInput(f"the body is nested deeper than {MAX_DEPTH} levels") from None
    except msgspec.MsgspecError as error:
        if kind not in _YAML_TYPES:
            raise InvalidInput(f"the body is not JSON: {error}") from None
        return _from_yaml(body)
    if too_deep(value):
        raise InvalidInput(f"the body is nested deeper than {MAX_DEPTH} levels")
    return value


def _from_yaml(body: bytes) -> Any:
    try:
        return manifest.read(body.decode())
    except UnicodeDecodeError:
        raise InvalidInput("the body is not UTF-8") from None


def view_of(accept: bytes) -> View:
    """The first representation of an `Accept` header that exists here. Raises NotAcceptable if there is none."""
    clauses = [clause.strip() for clause in accept.decode("latin-1").lower().split(",") if clause.strip()]
    for clause in clauses or ["*/*"]:
        kind, *rest = (part.strip() for part in clause.split(";"))
        if kind not in ("application/json", "application/*", "*/*"):
            continue
        options = dict(part.split("=", 1) for part in rest if "=" in part)
        match options.get("as"), options.get("g", "meta.k8s.io"), options.get("v", "v1"):
            case None, _, _:
                return "object"
            case "table", "meta.k8s.io", "v1":
                return "table"
            case (("partialobjectmetadata" | "partialobjectmetadatalist"), "meta.k8s.io", "v1"):
                return "metadata"
    raise NotAcceptable("only the following media types are accepted: application/json")


def partial(obj: Object) -> Object:
    """An object's PartialObjectMetadata."""
    return {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": obj.get("metadata", {})}
