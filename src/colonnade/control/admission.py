"""What every write passes before it is stored: unknown fields, defaults, validation.

The rules of the kinds lie in `resources`; here they are put in order, and the few that depend on what is stored already
are added.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

import msgspec

from colonnade.control.objects import Object, metadata_of
from colonnade.errors import Forbidden, InvalidInput
from colonnade.resources import kinds
from colonnade.resources.defaulting import default
from colonnade.resources.kinds import Kind
from colonnade.resources.schema import unknown_fields
from colonnade.resources.served import LEGACY_KEYS
from colonnade.resources.strict import invalid
from colonnade.resources.validation import validate

FieldValidation = Literal["Strict", "Warn", "Ignore"]

_PERMANENT = ("default",)


def admit(
    kind: Kind, obj: Object, live: Object | None, field_validation: FieldValidation = "Warn"
) -> tuple[Object, tuple[str, ...]]:
    """The object as it will be stored, and what to warn of.

    Unknown fields refuse the write (Strict), or are kept and warned of (Warn) or just kept (Ignore). On an update only
    those count that the stored object does not have. Raises Invalid, and InvalidInput for Strict.
    """
    warnings: tuple[str, ...] = ()
    if field_validation != "Ignore":
        known = set(unknown_fields(kind, live)) if live else set()
        warnings = tuple(f'unknown field "{path}"' for path in unknown_fields(kind, obj) if path not in known)
    if warnings and field_validation == "Strict":
        raise InvalidInput(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: strict decoding error: '
            + ", ".join(warnings)
        )
    if kind is kinds.INFERENCE_SERVICE:
        obj = default(_rewritten(obj, live))
    elif kind is kinds.NAMESPACE:
        obj = _namespace(obj)
    try:
        validate(obj, live)
    except msgspec.ValidationError as error:  # a value of the wrong type in a part that the rules do not go into
        text, _, where = str(error).partition(" - at ")
        raise invalid(obj, [(where.strip("`").removeprefix("$."), f"Invalid value: {text}")]) from None
    if kind is kinds.SECRET:
        obj = _secret(obj)
    elif kind is kinds.CONFIG_MAP:
        _check_base64(obj, "binaryData")
    return obj, warnings


def check_namespace_deletion(name: str) -> None:
    """Raises Forbidden for a namespace that must stay, in Kubernetes' words."""
    if name in _PERMANENT:
        raise Forbidden(f'namespaces "{name}" is forbidden: this namespace may not be deleted')


def contents_of_namespaces() -> tuple[Kind, ...]:
    """The kinds that go with their namespace; pods are not among them: the reconcilers take them away."""
    return tuple(kind for kind in kinds.KINDS if kind.namespaced and kind is not kinds.POD)


def _rewritten(obj: Object, live: Object | None) -> Object:
    """An update by a manifest with a framework key such as `sklearn`, without the `model` that it was rewritten to.

    The stored object has `model`, so a merged update has both. KServe's webhook lets the framework key win.
    """
    spec, stored = obj.get("spec"), live.get("spec") if live else None
    predictor = spec.get("predictor") if isinstance(spec, dict) else None
    former = stored.get("predictor") if isinstance(stored, dict) else None
    if not isinstance(predictor, dict) or not isinstance(former, dict) or not isinstance(spec, dict):
        return obj
    carried = predictor.get("model") is not None and predictor["model"] == former.get("model")
    if not carried or not any(predictor.get(key) is not None for key in LEGACY_KEYS):
        return obj
    return {**obj, "spec": {**spec, "predictor": {key: value for key, value in predictor.items() if key != "model"}}}


def _namespace(obj: Object) -> Object:
    metadata = metadata_of(obj)
    labels = metadata.get("labels") or {}
    if isinstance(labels, dict):
        labels = {**labels, "kubernetes.io/metadata.name": metadata.get("name", "")}
    return {**obj, "metadata": {**metadata, "labels": labels}, "status": {"phase": "Active"}}


def _secret(obj: Object) -> Object:
    """A secret with `stringData` moved into `data` and a type."""
    data: dict[str, Any] = dict(obj.get("data") or {})
    for key, text in (obj.get("stringData") or {}).items():
        data[key] = base64.b64encode(text.encode()).decode()
    secret = {key: value for key, value in obj.items() if key not in ("stringData", "data")}
    secret.setdefault("type", "Opaque")
    if data:
        secret["data"] = data
    _check_base64(secret, "data")
    return secret


def _check_base64(obj: Object, field: str) -> None:
    for key, value in (obj.get(field) or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise invalid(obj, [(f"{field}[{key}]", "Invalid value: must be base64")]) from None
