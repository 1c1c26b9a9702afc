"""Applying a manifest from inside the control plane, by the same way as one that comes over the API."""

from __future__ import annotations

from typing import Any

import msgspec

from colonnade.control.api.media import APPLY_PATCH
from colonnade.control.api.paths import Target
from colonnade.control.api.writing import WriteOptions, Writer, Written
from colonnade.control.objects import utcnow
from colonnade.control.store import Store
from colonnade.errors import InvalidInput
from colonnade.resources.kinds import by_kind

MANAGER = "colonnade"  # of `colonnade apply` too: what the one has applied the other can take away


def apply(store: Store, manifest: dict[str, Any], *, dry_run: bool = False) -> Written:
    """Server-side apply of one object, into namespace `default` if it names none; `dry_run` only says what would be.

    Raises:
        errors.Error: the manifest is refused; the message says which field and why.
    """
    kind = by_kind(manifest.get("apiVersion"), manifest.get("kind"))
    if kind is None:
        raise InvalidInput(f"{manifest.get('apiVersion')} {manifest.get('kind')} is no kind that is served here")
    metadata = manifest.get("metadata") or {}
    name = metadata.get("name")
    if not name:
        raise InvalidInput(f"{kind.kind}: metadata.name is missing")
    namespace = (metadata.get("namespace") or "default") if kind.namespaced else None
    target = Target(kind, namespace, name)
    writer = Writer(store, now=utcnow)
    return writer.patch(
        target, msgspec.json.encode(manifest), APPLY_PATCH.encode(), WriteOptions(MANAGER, dry_run, force=True)
    )
