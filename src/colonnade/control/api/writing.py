"""create, replace, patch, apply and delete: from a request's body to an admitted object in the store.

Every write goes the same way: read the live object, form the new one, admit it (defaults, validation, unknown fields),
record who owns which field, store it. Nothing awaits in between, so no other write of this process comes between the
read and the store; what others wrote earlier is caught by `resourceVersion`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from colonnade.control import admission
from colonnade.control.api import ownership, patches
from colonnade.control.api.logs import flag
from colonnade.control.api.media import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    decode_body,
    media_type,
    to_json,
)
from colonnade.control.api.paths import Target
from colonnade.control.objects import Object, Ref, timestamp
from colonnade.control.store import Store
from colonnade.defaults import MAX_API_BODY_BYTES
from colonnade.errors import Conflict, Invalid, InvalidInput, NotFound, TooLarge, UnsupportedMediaType

_SUFFIX = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' alphabet for generated names: spells no words
_MANAGER = re.compile(r"[ -~]{1,128}")


@dataclass(frozen=True, slots=True)
class Written:
    """The outcome of a write: the object, whether it is new, and what to warn of."""

    object: Object
    created: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """The query of a write."""

    manager: str
    dry_run: bool = False
    force: bool = False
    validation: admission.FieldValidation = "Warn"


def write_options(parameters: Mapping[str, str], user_agent: bytes) -> WriteOptions:
    """Reads the query. The field manager is the client's program if it names none. Raises InvalidInput."""
    manager = parameters.get("fieldManager") or user_agent.decode("latin-1").partition("/")[0][:128] or "unknown"
    if not _MANAGER.fullmatch(manager):
        raise InvalidInput("fieldManager: must be 1 to 128 printable ASCII characters")
    asked = parameters.get("fieldValidation") or "Warn"
    validation = next((known for known in get_args(admission.FieldValidation) if known == asked), None)
    if validation is None:
        raise Invalid(f"fieldValidation: Unsupported value: {asked[:40]!r}: use Strict, Warn or Ignore")
    return WriteOptions(manager, dry_run(parameters.get("dryRun")), flag(parameters, "force"), validation)


def dry_run(value: Any) -> bool:
    """Whether a `dryRun` asks for one; a value that Kubernetes does not know is refused rather than carried out."""
    if value in (None, "", []):
        return False
    if value in ("All", ["All"]):
        return True
    raise Invalid(f"dryRun: Unsupported value: {str(value)[:40]!r}: use All")


class Writer:
    """Carries out the writes."""

    def __init__(self, store: Store, *, now: Callable[[], datetime], coming: Collection[str] = ()) -> None:
        """`coming` names namespaces that count as existing: for the dry run of a set that brings them."""
        self._store = store
        self._now = now
        self._coming = coming

    def create(self, target: Target, body: Any, options: WriteOptions) -> Written:
        """Adds an object; `generateName` is made a name. Raises AlreadyExists, NotFound (namespace), Invalid."""
        obj = _expected(target, body)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            raise InvalidInput("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and isinstance(metadata.get("generateName"), str) and metadata["generateName"]:
            suffix = "".join(secrets.choice(_SUFFIX) for _ in range(5))
            metadata["name"] = metadata["generateName"][:58] + suffix
        if not isinstance(metadata.get("name"), str) or not metadata["name"]:
            raise Invalid(
                f"{target.kind.kind}: metadata.name: Required value: name or generateName is required",
                (("metadata.name", "Required value: name or generateName is required"),),
            )
        ref = target.ref(metadata["name"])
        self._check_namespace(ref)
        metadata.pop("managedFields", None)
        warnings = admission.check_fields(target.kind, obj, None, options.validation)
        admitted = self._admit(target, obj, None)
        owned = ownership.updated(None, admitted, options.manager, self._time())
        return Written(self._store.create(ref, _bounded(owned), dry_run=options.dry_run), True, warnings)

    def replace(self, target: Target, body: Any, options: WriteOptions) -> Written:
        """PUT of an object or of its status. Raises NotFound, Conflict, Invalid."""
        obj = _expected(target, body)
        name = obj["metadata"].setdefault("name", target.name)
        if name != target.name:
            raise InvalidInput(
                f"the name of the object ({str(name)[:80]}) does not match the name on the URL ({target.name})"
            )
        live = self._live(target)
        if target.kind.group and not obj["metadata"].get("resourceVersion"):
            text = "Invalid value: 0x0: must be specified for an update"
            raise Invalid(
                f'{target.ref().qualified} "{target.name}" is invalid: metadata.resourceVersion: {text}',
                (("metadata.resourceVersion", text),),
            )
        return self._update(target, live, obj, options)

    def patch(self, target: Target, body: bytes, content_type: bytes, options: WriteOptions) -> Written:
        """PATCH in any of its forms, of an object or of its status. Raises also UnsupportedMediaType."""
        form = media_type(content_type)
        forms = [JSON_PATCH, MERGE_PATCH, *([] if target.kind.group else [STRATEGIC_PATCH]), APPLY_PATCH]
        if form not in forms or (form == APPLY_PATCH and target.subresource):
            raise UnsupportedMediaType(
                f"the body of the request was in an unknown format - accepted media types include: {', '.join(forms)}"
            )
        patch = decode_body(body, content_type)
        if form == APPLY_PATCH:
            return self._apply(target, patch, options)
        live = self._live(target)
        if form == JSON_PATCH:
            changed = patches.json_patch(live, patch)
        else:
            if not isinstance(patch, dict):
                raise InvalidInput("the patch must be an object")
            if form == MERGE_PATCH:
                changed = patches.merge(live, admission.translated(target.kind, patch, live))
            else:
                changed = patches.strategic(live, patch)
        obj = _expected(target, changed)
        if obj["metadata"].get("name") != target.name:
            raise Invalid(
                "metadata.name: Invalid value: field is immutable", (("metadata.name", "field is immutable"),)
            )
        return self._update(target, live, obj, options)

    def delete(self, target: Target, body: Any, parameters: Mapping[str, str]) -> Object:
        """Removes an object and returns a `Status` that names its uid. Raises NotFound, Conflict, Forbidden."""
        ref = target.ref()
        dry, uid, version = _delete_options(body, parameters)
        live = self._live(target)
        if ref.resource == "namespaces" and not ref.group:
            admission.check_namespace_deletion(ref.name)
            self._store.delete(ref, uid=uid, version=version, dry_run=True)
            if not dry:
                self._empty(ref.name)  # first, so that a crash leaves a namespace to delete again, not orphans
        self._store.delete(ref, uid=uid, version=version, dry_run=dry)
        details = {"name": ref.name, "kind": ref.resource, "uid": live["metadata"]["uid"]}
        if ref.group:
            details["group"] = ref.group
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}

    def delete_all(self, target: Target, items: list[Object], body: Any, parameters: Mapping[str, str]) -> None:
        """Removes the listed objects; one that is gone meanwhile is no error."""
        dry, _, _ = _delete_options(body, parameters)
        for item in items:
            metadata = item["metadata"]
            ref = target.ref(metadata["name"])._replace(namespace=metadata.get("namespace", ""))
            if ref.resource == "namespaces" and not ref.group:
                admission.check_namespace_deletion(ref.name)
            try:
                self._store.delete(ref, dry_run=dry)
            except NotFound:
                continue

    def _apply(self, target: Target, body: Any, options: WriteOptions) -> Written:
        obj = _expected(target, body)
        metadata = obj["metadata"]
        if metadata.get("managedFields"):
            raise InvalidInput("metadata.managedFields must be nil")
        if metadata.setdefault("name", target.name) != target.name:
            raise InvalidInput(f"the name of the object does not match the name on the URL ({target.name})")
        ref, time = target.ref(), self._time()
        live = self._store.get(ref)
        if live is None:
            if metadata.get("uid"):
                raise Conflict(f'uid mismatch: there is no {ref.qualified} "{ref.name}"')
            self._check_namespace(ref)
        warnings = admission.check_fields(target.kind, obj, live, options.validation)
        wanted = admission.expanded(target.kind, obj)
        merged = ownership.applied(live or {}, wanted, options.manager, time, force=options.force)
        merged.pop("status", None)
        merged["metadata"] |= {"name": ref.name} | {
            key: metadata[key] for key in ("resourceVersion", "uid") if metadata.get(key)
        }
        admitted = self._admit(target, merged, live)
        owned = ownership.updated(merged, admitted, options.manager, time)
        if live is None:
            return Written(self._store.create(ref, _bounded(owned), dry_run=options.dry_run), True, warnings)
        owned = _bounded(ownership.settled(live, owned))
        return Written(self._store.update(ref, owned, dry_run=options.dry_run), False, warnings)

    def _update(self, target: Target, live: Object, obj: Object, options: WriteOptions) -> Written:
        ref = target.ref()
        if target.subresource:
            if not isinstance(obj.get("status", {}), dict):
                raise Invalid("status: Invalid value: must be an object", (("status", "must be an object"),))
            return Written(self._store.update(ref, _bounded(obj), status=True, dry_run=options.dry_run))
        warnings = admission.check_fields(target.kind, obj, live, options.validation)
        admitted = self._admit(target, obj, live)
        owned = ownership.settled(live, ownership.updated(live, admitted, options.manager, self._time()))
        return Written(self._store.update(ref, _bounded(owned), dry_run=options.dry_run), False, warnings)

    def _admit(self, target: Target, obj: Object, live: Object | None) -> Object:
        if target.namespace:
            obj["metadata"]["namespace"] = target.namespace
        admitted = admission.admit(target.kind, obj, live)
        kind = target.kind
        admission.check_others(
            kind, admitted, lambda: self._store.list(kind.group, kind.plural, target.namespace or "")[0]
        )
        return admitted

    def _live(self, target: Target) -> Object:
        ref = target.ref()
        live = self._store.get(ref)
        if live is None:
            raise NotFound(f'{ref.qualified} "{ref.name}" not found')
        return live

    def _check_namespace(self, ref: Ref) -> None:
        if ref.namespace in self._coming:
            return
        if ref.namespace and self._store.get(Ref("", "namespaces", "", ref.namespace)) is None:
            raise NotFound(f'namespaces "{ref.namespace}" not found')

    def _empty(self, namespace: str) -> None:
        """Deletes what lies in a namespace. Pods go when the reconcilers see their services go."""
        for kind in admission.contents_of_namespaces():
            for item in self._store.list(kind.group, kind.plural, namespace)[0]:
                self._store.delete(Ref(kind.group, kind.plural, namespace, item["metadata"]["name"]))

    def _time(self) -> str:
        return timestamp(self._now())


def _expected(target: Target, body: Any) -> Object:
    """The body as an object of the kind and namespace that the path names. Raises InvalidInput."""
    kind = target.kind
    if not isinstance(body, dict):
        raise InvalidInput(f"the body must be a {kind.kind} object")
    obj = dict(body)
    if obj.setdefault("kind", kind.kind) != kind.kind:
        raise InvalidInput(
            f"the kind in the data ({str(obj['kind'])[:80]}) does not match the expected kind ({kind.kind})"
        )
    if obj.setdefault("apiVersion", kind.api_version) != kind.api_version:
        raise InvalidInput(
            f"the API version in the data ({str(obj['apiVersion'])[:80]}) does not match the expected API version "
            f"({kind.api_version})"
        )
    metadata = obj.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise InvalidInput("metadata must be an object")
    obj["metadata"] = metadata = dict(metadata)
    if not target.subresource:
        obj.pop("status", None)  # written through /status only
    for key in ("name", "namespace", "uid", "resourceVersion", "generateName"):
        if metadata.get(key) is None:
            metadata.pop(key, None)
        elif not isinstance(metadata[key], str):
            raise InvalidInput(f"metadata.{key} must be a string")
    if metadata.get("namespace", target.namespace or "") not in ("", target.namespace or ""):
        raise InvalidInput("the namespace of the provided object does not match the namespace sent on the request")
    return obj


def _bounded(obj: Object) -> Object:
    size = len(to_json(obj))
    if size > MAX_API_BODY_BYTES:
        raise TooLarge(f"the object has {size} bytes, the limit is {MAX_API_BODY_BYTES}")
    return obj


def _delete_options(body: Any, parameters: Mapping[str, str]) -> tuple[bool, str | None, str | None]:
    """Whether it is a dry run, and the uid and version that are preconditions."""
    options = {} if body is None else body
    if not isinstance(options, dict):
        raise InvalidInput("the body must be a DeleteOptions object")
    policy = parameters.get("propagationPolicy") or options.get("propagationPolicy")
    if policy not in (None, "Background", "Foreground", "Orphan"):
        raise Invalid(f"propagationPolicy: Unsupported value: {str(policy)[:40]!r}: use Background or Foreground")
    if policy == "Orphan" or options.get("orphanDependents") is True or flag(parameters, "orphanDependents"):
        raise Invalid("propagationPolicy: Orphan is not offered: replicas do not outlive their service")
    preconditions = options.get("preconditions") or {}
    if not isinstance(preconditions, dict):
        raise InvalidInput("preconditions must be an object")
    uid, version = preconditions.get("uid"), preconditions.get("resourceVersion")
    if not all(value is None or isinstance(value, str) for value in (uid, version)):
        raise InvalidInput("preconditions.uid and preconditions.resourceVersion must be strings")
    return dry_run(parameters.get("dryRun")) or dry_run(options.get("dryRun")), uid, version
