"""Kubernetes' protobuf bodies, for the few kinds that kubectl sends so: Namespace, ConfigMap, Secret and the reviews.

Since 1.32 kubectl's typed clients write protobuf and do not fall back to JSON. They take JSON answers, so only reading
is needed. Field numbers: Kubernetes' `generated.proto` of `meta/v1`, `core/v1`, `authentication/v1` and
`authorization/v1`; the envelope: `apimachinery/pkg/runtime/serializer/protobuf`. Fields that are not listed are status
and are passed over.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from colonnade.control.objects import Object, timestamp
from colonnade.errors import InvalidInput, UnsupportedMediaType

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
_MALFORMED = "the body is not protobuf as Kubernetes writes it"

Scalar = Literal["text", "bytes", "integer", "boolean", "time"]
Message = dict[int, "Field"]


class Field(NamedTuple):
    """A field: its name in JSON, its type, and whether it is a list or a map from strings."""

    name: str
    type: Scalar | Message
    form: Literal["one", "list", "map"] = "one"


def _texts(*names: str) -> Message:
    """A message of strings, numbered from 1; an empty name is a gap."""
    return {number: Field(name, "text") for number, name in enumerate(names, 1) if name}


_OWNER: Message = {
    **_texts("kind", "", "name", "uid", "apiVersion"),
    6: Field("controller", "boolean"),
    7: Field("blockOwnerDeletion", "boolean"),
}
_METADATA: Message = {
    **_texts("name", "generateName", "namespace", "selfLink", "uid", "resourceVersion"),
    7: Field("generation", "integer"),
    8: Field("creationTimestamp", "time"),
    11: Field("labels", "text", "map"),
    12: Field("annotations", "text", "map"),
    13: Field("ownerReferences", _OWNER, "list"),
    14: Field("finalizers", "text", "list"),
}
_OBJECT: Message = {1: Field("metadata", _METADATA)}
_RESOURCE = _texts("namespace", "verb", "group", "version", "resource", "subresource", "name")
_ACCESS: Message = {
    1: Field("resourceAttributes", _RESOURCE),
    2: Field("nonResourceAttributes", _texts("path", "verb")),
}

_KINDS: dict[tuple[str, str], Message] = {
    ("v1", "Namespace"): {**_OBJECT, 2: Field("spec", {1: Field("finalizers", "text", "list")})},
    ("v1", "ConfigMap"): {
        **_OBJECT,
        2: Field("data", "text", "map"),
        3: Field("binaryData", "bytes", "map"),
        4: Field("immutable", "boolean"),
    },
    ("v1", "Secret"): {
        **_OBJECT,
        2: Field("data", "bytes", "map"),
        3: Field("type", "text"),
        4: Field("stringData", "text", "map"),
        5: Field("immutable", "boolean"),
    },
    ("v1", "DeleteOptions"): {
        1: Field("gracePeriodSeconds", "integer"),
        2: Field("preconditions", _texts("uid", "resourceVersion")),
        3: Field("orphanDependents", "boolean"),
        4: Field("propagationPolicy", "text"),
        5: Field("dryRun", "text", "list"),
    },
    ("authentication.k8s.io/v1", "SelfSubjectReview"): _OBJECT,
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): {**_OBJECT, 2: Field("spec", _ACCESS)},
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): {**_OBJECT, 2: Field("spec", _texts("namespace"))},
}
_ENVELOPE: Message = {1: Field("type", _texts("apiVersion", "kind")), 2: Field("raw", "bytes")}


def decode(body: bytes) -> Object:
    """The object of a body. Raises InvalidInput, and UnsupportedMediaType for a kind that is to be sent as JSON."""
    if not body.startswith(_MAGIC):
        raise InvalidInput(_MALFORMED)
    envelope = _message(body[len(_MAGIC) :], _ENVELOPE)
    named = envelope.get("type", {})
    key = (named.get("apiVersion", ""), named.get("kind", ""))
    if key not in _KINDS:
        raise UnsupportedMediaType(f"{key[1][:80]!r} is not taken as protobuf: send it as application/json")
    raw = base64.b64decode(envelope.get("raw", ""))
    return {"apiVersion": key[0], "kind": key[1], **_message(raw, _KINDS[key])}


def _message(data: bytes, fields: Message) -> Object:
    found: Object = {}
    for number, value in _parts(data):
        field = fields.get(number)
        if field is None:
            continue
        if field.form == "map":
            entry = _message(_bytes(value), {1: Field("key", "text"), 2: Field("value", field.type)})
            found.setdefault(field.name, {})[entry.get("key", "")] = entry.get("value", "")
        elif field.form == "list":
            found.setdefault(field.name, []).append(_value(value, field.type))
        elif value != b"" or field.type not in ("text", "time"):  # Go writes unset strings too
            found[field.name] = _value(value, field.type)
    return found


def _parts(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: (number, varint or length-delimited bytes); fixed-width ones are passed over."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        match tag & 7:
            case 0:
                value, position = _varint(data, position)
                yield tag >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, position = _varint(data, position)
            case 5:
                size = 4
            case _:
                raise InvalidInput(_MALFORMED)
        if position + size > len(data):
            raise InvalidInput(_MALFORMED)
        if tag & 7 == 2:
            yield tag >> 3, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
    raise InvalidInput(_MALFORMED)


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise InvalidInput(_MALFORMED)
    return value


def _value(value: int | bytes, kind: Scalar | Message) -> Any:
    try:
        match kind:
            case "integer" | "boolean":
                if not isinstance(value, int):
                    raise InvalidInput(_MALFORMED)
                return value != 0 if kind == "boolean" else value - (1 << 64) * (value >> 63)
            case "text":
                return _bytes(value).decode()
            case "bytes":
                return base64.b64encode(_bytes(value)).decode()  # as JSON carries bytes
            case "time":
                seconds = dict(_parts(_bytes(value))).get(1, 0)
                return timestamp(datetime.fromtimestamp(int(seconds), UTC))
            case _:
                return _message(_bytes(value), kind)
    except (ValueError, OverflowError, OSError):
        raise InvalidInput(_MALFORMED) from None
