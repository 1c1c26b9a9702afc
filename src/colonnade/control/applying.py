"""Applying manifests from inside the control plane, by the same way as those that come over the API."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from colonnade.control.api.media import APPLY_PATCH
from colonnade.control.api.paths import Target
from colonnade.control.api.writing import WriteOptions, Writer, Written
from colonnade.control.objects import utcnow
from colonnade.control.store import Store
from colonnade.errors import InvalidInput
from colonnade.resources.kinds import NAMESPACE, by_kind

MANAGER = "colonnade"  # of `colonnade apply` too: what the one has applied the other can take away


def apply_all(store: Store, manifests: Sequence[dict[str, Any]], *, dry_run: bool = False) -> None:
    """Apply a set of objects, its namespaces first: what lies in them may stand before them. See `apply`."""
    names = {_name(manifest) for manifest in manifests if _is_namespace(manifest)}
    for manifest in sorted(manifests, key=_is_namespace, reverse=True):
        apply(store, manifest, dry_run=dry_run, coming=names if dry_run else ())


def apply(store: Store, manifest: dict[str, Any], *, dry_run: bool = False, coming: Collection[str] = ()) -> Written:
    """Server-side apply of one object, into namespace `default` if it names none; `dry_run` only says what would be.

    An unknown field refuses it. `coming` names namespaces that do not exist yet and will when the object is applied.

    Raises:
        errors.Error: the manifest is refused; the message says which field and why.
    """
    kind = by_kind(manifest.get("apiVersion"), manifest.get("kind"))
    if kind is None:
        raise InvalidInput(f"{manifest.get('apiVersion')} {manifest.get('kind')} is no kind that is served here")
    metadata, name = manifest.get("metadata") or {}, _name(manifest)
    if not name:
        raise InvalidInput(f"{kind.kind}: metadata.name is missing")
    namespace = (metadata.get("namespace") or "default") if kind.namespaced else None
    target = Target(kind, namespace, name)
    writer = Writer(store, now=utcnow, coming=coming)
    options = WriteOptions(MANAGER, dry_run, force=True, validation="Strict")
    return writer.patch(target, msgspec.json.encode(manifest), APPLY_PATCH.encode(), options)


def _is_namespace(manifest: dict[str, Any]) -> bool:
    return by_kind(manifest.get("apiVersion"), manifest.get("kind")) is NAMESPACE


def _name(manifest: dict[str, Any]) -> str:
    return str((manifest.get("metadata") or {}).get("name") or "")
