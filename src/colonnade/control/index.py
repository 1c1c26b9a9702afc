"""The services and what belongs to each, at hand: its pods and its revisions.

A reconciler asks for them at each look. Reading a whole namespace from the store for that would make a thousand idle
services cost more than the few that work, so they are kept here by service, told by the store's own notices.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from colonnade.control.objects import Ref
from colonnade.control.store import Change, Store
from colonnade.control.workload import revisions
from colonnade.control.workqueue import Key

SERVICES = "inferenceservices"
_KINDS = (("serving.kserve.io", SERVICES), ("", "pods"), (revisions.GROUP, revisions.RESOURCE))


class Index:
    """Services, with their pods and ControllerRevisions. Objects that it returns must not be changed."""

    def __init__(self, store: Store) -> None:
        self._objects: dict[Key, dict[Ref, dict[str, Any]]] = {}
        self._stamps: dict[Key, int] = {}
        self._changes = count()
        self._close: Callable[[], None] = store.subscribe(self._changed)
        for group, resource in _KINDS:
            for found in store.list(group, resource)[0]:
                self._keep(Ref(group, resource, found["metadata"]["namespace"], found["metadata"]["name"]), found)

    def close(self) -> None:
        """Listen no more."""
        self._close()

    def keys(self) -> list[Key]:
        """The services that exist, and those of which only something is left."""
        return list(self._objects)

    def service(self, service: Key) -> dict[str, Any] | None:
        """The InferenceService itself, or None if it is gone."""
        return next(iter(self._of(service, SERVICES)), None)

    def stamp(self, service: Key) -> int:
        """Another number after each change of a service, or of what belongs to it."""
        return self._stamps.get(service, -1)

    def pods(self, service: Key) -> list[dict[str, Any]]:
        """The pods of a service, by name."""
        return self._of(service, "pods")

    def revisions(self, service: Key) -> list[dict[str, Any]]:
        """The ControllerRevisions of a service, by name."""
        return self._of(service, revisions.RESOURCE)

    def _of(self, service: Key, resource: str) -> list[dict[str, Any]]:
        found = self._objects.get(service, {})
        return [found[ref] for ref in sorted(found) if ref.resource == resource]

    def _changed(self, change: Change) -> None:
        ref = change.ref
        if (ref.group, ref.resource) not in _KINDS:
            return
        if change.type != "DELETED":
            self._keep(ref, change.object)
            return
        service = _service(ref, change.object)
        mine = self._objects.get(service, {})
        mine.pop(ref, None)
        self._stamps[service] = next(self._changes)
        if not mine:
            self._objects.pop(service, None)
            del self._stamps[service]

    def _keep(self, ref: Ref, found: dict[str, Any]) -> None:
        service = _service(ref, found)
        self._objects.setdefault(service, {})[ref] = found
        self._stamps[service] = next(self._changes)


def _service(ref: Ref, found: dict[str, Any]) -> Key:
    """The service that an object is, or belongs to."""
    return Key(ref.namespace, ref.name if ref.resource == SERVICES else revisions.service_of(found))
