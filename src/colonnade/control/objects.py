"""Resources as the store keeps them: plain JSON dicts, where they live, how they change, and what a write may touch.

Pure functions only; the disk is in `store`.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec


class Ref(NamedTuple):
    """Where an object lives: `group` is "" for the core group, `namespace` "" for cluster-scoped kinds."""

    group: str
    resource: str
    namespace: str
    name: str

    @property
    def qualified(self) -> str:
        """The resource as Kubernetes' messages name it: `inferenceservices.serving.kserve.io`, or `pods`."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


Object = dict[str, Any]  # a resource as plain JSON


class Change(NamedTuple):
    """One committed write. `object` is the state after it (for DELETED: the last state) and must not be mutated."""

    type: Literal["ADDED", "MODIFIED", "DELETED"]
    version: int
    ref: Ref
    object: Object
    previous: int = 0
    """Version of the state before this write, 0 for ADDED; `Store.at` gives that state while it is kept."""


Objects = list[Object]
Changes = list[Change]


def utcnow() -> datetime:
    """The wall clock, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """A moment as Kubernetes writes `metav1.Time`: RFC 3339 in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def metadata_of(obj: Object) -> Object:
    """The metadata, empty if there is none."""
    found = obj.get("metadata")
    return found if isinstance(found, dict) else {}


def created(ref: Ref, obj: Object, version: int, moment: datetime) -> Object:
    """`obj` as it is first stored, with the metadata that only the store may set."""
    metadata = {**metadata_of(obj), "name": ref.name}
    for key in ("namespace", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"):
        metadata.pop(key, None)
    if ref.namespace:
        metadata["namespace"] = ref.namespace
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = timestamp(moment)
    metadata["resourceVersion"] = str(version)
    metadata["generation"] = 1
    return decode(encode({**obj, "metadata": metadata}))


def replaced(ref: Ref, stored: Object, obj: Object) -> Object:
    """`obj` with what only the store may set, and the status, taken from `stored`."""
    kept = stored["metadata"]
    metadata = {**metadata_of(obj), "name": ref.name}
    for key in ("namespace", "uid", "creationTimestamp", "generation", "resourceVersion", "selfLink"):
        metadata.pop(key, None)
        if key in kept:
            metadata[key] = kept[key]
    changed = {**obj, "metadata": metadata}
    changed.pop("status", None)
    if "status" in stored:
        changed["status"] = stored["status"]
    return changed


def with_status(stored: Object, obj: Object) -> Object:
    """`stored` with the status of `obj` and nothing else of it."""
    changed = {**stored, "metadata": dict(stored["metadata"])}
    changed.pop("status", None)
    if obj.get("status") is not None:
        changed["status"] = obj["status"]
    return changed


def specified(obj: Object) -> Object:
    """What a new `generation` is counted for: all but metadata and status."""
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


encode = msgspec.json.Encoder(order="sorted").encode
decode: Callable[[bytes], Object] = msgspec.json.Decoder(Object).decode
