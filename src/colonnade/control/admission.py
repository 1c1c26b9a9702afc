"""What every write passes before it is stored: unknown fields, defaults, validation.

The rules of the kinds lie in `resources`; here they are put in order. What is stored differs from what was written: a
framework key has become `model`, `stringData` has become `data`, defaults are filled in. So what a client says is put
into the terms of the stored object before it is merged with it (`expanded` for an applied configuration, `translated`
for a merge patch), and not after: then the one who wrote `sklearn` owns the `model` it has become, and takes it away
again by no longer writing it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec

from colonnade.control.objects import Object, metadata_of
from colonnade.control.routes import payloadlogs
from colonnade.control.templates import annotation_rules
from colonnade.errors import Forbidden, InvalidInput
from colonnade.resources import kinds, runtimerules, trainedmodel
from colonnade.resources.defaulting import default, translate
from colonnade.resources.fields import CLUSTER_ONLY, UNKNOWN
from colonnade.resources.kinds import Kind
from colonnade.resources.schema import unknown_fields
from colonnade.resources.strict import invalid
from colonnade.resources.validation import validate
from colonnade.resources.verdicts import check

FieldValidation = Literal["Strict", "Warn", "Ignore"]

_PERMANENT = ("default",)
_RUNTIMES = (kinds.SERVING_RUNTIME, kinds.CLUSTER_SERVING_RUNTIME)
_WARNED = (kinds.INFERENCE_SERVICE, kinds.INFERENCE_GRAPH, kinds.TRAINED_MODEL, *_RUNTIMES)


def check_fields(
    kind: Kind, obj: Object, live: Object | None, field_validation: FieldValidation = "Warn"
) -> tuple[str, ...]:
    """What to warn of in an object as it was written.

    Unknown fields refuse the write (Strict), or are kept and warned of (Warn) or just kept (Ignore). Fields that have
    no effect here are always warned of. On an update only what the stored object does not have counts. Raises
    InvalidInput for Strict.
    """
    unknown = _unknown(kind, obj, live) if field_validation != "Ignore" else ()
    if unknown and field_validation == "Strict":
        raise InvalidInput(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: strict decoding error: '
            + ", ".join(unknown)
        )
    return (*unknown, *_without_effect(kind, obj, live), *_without_model(kind, obj, live))


def _unknown(kind: Kind, obj: Object, live: Object | None) -> tuple[str, ...]:
    known = set(unknown_fields(kind, live)) if live else set()
    notes = {field.path: field.note.partition("; ")[2] for field in check(obj) if field.verdict == UNKNOWN}
    found = []
    for path in unknown_fields(kind, obj):
        if path not in known:
            note = notes.get(path)
            found.append(f'unknown field "{path}"' + (f" ({note})" if note else ""))
    return tuple(found)


def _without_effect(kind: Kind, obj: Object, live: Object | None) -> tuple[str, ...]:
    """What is kept for a cluster and does nothing here, so that no field is passed over in silence."""
    if kind not in _WARNED:
        return ()
    known = {(field.path, str(field.value)) for field in check(live)} if live else set()
    return tuple(
        f"{field.path} has no effect here: {field.note}"
        for field in check(obj)
        if field.verdict == CLUSTER_ONLY and (field.path, str(field.value)) not in known
    )


def _without_model(kind: Kind, obj: Object, live: Object | None) -> tuple[str, ...]:
    """A service that names no model serves those of TrainedModels; who forgot its storageUri is told so."""
    if kind is not kinds.INFERENCE_SERVICE or not _several(obj) or (live is not None and _several(live)):
        return ()
    return ("spec.predictor names no model (storageUri): it serves those of the TrainedModels that name the service",)


def _several(isvc: Object) -> bool:
    match default(isvc):
        case {"spec": {"predictor": {"model": dict()} as predictor}}:
            return trainedmodel.several(predictor)
    return False


def expanded(kind: Kind, obj: Object) -> Object:
    """The object in the form in which it is stored: short forms written out, defaults filled in.

    What is malformed is left as it is, for `admit` to name. A second pass changes nothing.
    """
    if kind is kinds.INFERENCE_SERVICE:
        return default(obj)
    return _with_data(obj) if kind is kinds.SECRET else obj


def translated(kind: Kind, patch: Object, live: Object) -> Object:
    """A merge patch in the terms of the stored object that it is for."""
    return translate(patch, live) if kind is kinds.INFERENCE_SERVICE else patch


def admit(kind: Kind, obj: Object, live: Object | None) -> Object:
    """The object as it will be stored. Raises Invalid."""
    obj = _namespace(obj) if kind is kinds.NAMESPACE else expanded(kind, obj)
    try:
        validate(obj, live)
    except msgspec.ValidationError as error:  # a value of the wrong type in a part that the rules do not go into
        text, _, where = str(error).partition(" - at ")
        raise invalid(obj, [(where.strip("`").removeprefix("$."), f"Invalid value: {text}")]) from None
    if kind is kinds.INFERENCE_SERVICE and (wrong := [*annotation_rules.causes(obj), *payloadlogs.causes(obj)]):
        raise invalid(obj, wrong)
    if kind is kinds.SECRET:
        _check_base64(obj, "data")
    elif kind is kinds.CONFIG_MAP:
        _check_base64(obj, "binaryData")
    return obj


def check_others(kind: Kind, obj: Object, others: Callable[[], Iterable[Object]]) -> None:
    """Hold an object against the `others` of its kind and namespace, which are asked for if a rule needs them.

    Raises Invalid.
    """
    if kind in _RUNTIMES:
        causes = list(runtimerules.clashes(obj, others()))
        if causes:
            raise invalid(obj, causes)


def check_namespace_deletion(name: str) -> None:
    """Raises Forbidden for a namespace that must stay, in Kubernetes' words."""
    if name in _PERMANENT:
        raise Forbidden(f'namespaces "{name}" is forbidden: this namespace may not be deleted')


def contents_of_namespaces() -> tuple[Kind, ...]:
    """The kinds that go with their namespace; pods are not among them: the reconcilers take them away."""
    return tuple(kind for kind in kinds.KINDS if kind.namespaced and kind is not kinds.POD)


def _namespace(obj: Object) -> Object:
    metadata = metadata_of(obj)
    labels = metadata.get("labels") or {}
    if isinstance(labels, dict):
        labels = {**labels, "kubernetes.io/metadata.name": metadata.get("name", "")}
    return {**obj, "metadata": {**metadata, "labels": labels}, "status": {"phase": "Active"}}


def _with_data(secret: Object) -> Object:
    """A secret with `stringData` moved into `data`, and a type."""
    texts, data = secret.get("stringData"), secret.get("data") or {}
    secret = {"type": "Opaque", **secret}
    if not texts or not isinstance(texts, dict) or not isinstance(data, dict):
        return secret
    if not all(isinstance(text, str) for text in texts.values()):
        return secret
    del secret["stringData"]
    return secret | {"data": data | {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}}


def _check_base64(obj: Object, field: str) -> None:
    for key, value in (obj.get(field) or {}).items():
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise invalid(obj, [(f"{field}[{key}]", "Invalid value: must be base64")]) from None
