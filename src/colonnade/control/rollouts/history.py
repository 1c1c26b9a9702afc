"""The revisions of components as they are stored: read, added, marked, and forgotten once there are too many."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

from colonnade import defaults
from colonnade.control.index import Index
from colonnade.control.objects import Ref, timestamp, utcnow
from colonnade.control.store import Store
from colonnade.control.workload import revisions
from colonnade.control.workload.components import Component
from colonnade.control.workload.podstatus import is_ready
from colonnade.control.workload.revisions import Revision
from colonnade.control.workqueue import Key

Known = dict[str, Revision]
"""The revisions of one component by name."""


class History:
    """Keeps revisions as ControllerRevisions. `forgotten` is called with namespace and name of each that goes."""

    def __init__(self, store: Store, index: Index, forgotten: Callable[[str], None]) -> None:
        self._store = store
        self._index = index
        self._forgotten = forgotten

    def of(self, isvc: Mapping[str, Any], component: Component) -> Known:
        """Those of a component of a service."""
        service = Key(isvc["metadata"]["namespace"], isvc["metadata"]["name"])
        known = (
            revisions.read(found)
            for found in self._index.revisions(service)
            if revisions.component_of(found) == component.name and revisions.owned(found, isvc)
        )
        annotations = isvc["metadata"].get("annotations") or {}
        promoted = annotations.get(defaults.ROLLOUT_PROMOTED)  # by hand: whatever an analysis said
        return {one.name: replace(one, rejected="") if one.name == promoted else one for one in known}

    def keep(self, isvc: Mapping[str, Any], wanted: Revision, known: Known) -> Revision:
        """Store a revision that is wanted, if it is new or has a new number."""
        there = known.get(wanted.name)
        if there is None:
            while self._store.get(_ref(isvc, wanted)) is not None:  # another service's variant is called so
                wanted = replace(wanted, number=wanted.number + 1)
            wanted = revisions.read(self._store.create(_ref(isvc, wanted), revisions.stored(isvc, wanted)))
        elif there.order != wanted.order:
            found = self._store.get(_ref(isvc, wanted))
            if found is not None:
                self._store.update(_ref(isvc, wanted), {**found, "revision": wanted.order})
        known[wanted.name] = wanted
        return wanted

    def prove(self, isvc: Mapping[str, Any], known: Known, pods: Iterable[dict[str, Any]]) -> None:
        """Note on revisions when a replica of theirs was ready first: from then on they may be scaled to zero."""
        ready = {revisions.of_pod(pod) for pod in pods if is_ready(pod)}
        for revision in known.values():
            if revision.name in ready and not revision.proven:
                self.mark(isvc, revision, {revisions.PROVEN_ANNOTATION: timestamp(utcnow())})

    def mark(self, isvc: Mapping[str, Any], revision: Revision, marks: Mapping[str, str | None]) -> None:
        """Annotate a revision; None removes an annotation."""
        ref = _ref(isvc, revision)
        found = self._store.get(ref)
        if found is not None:
            metadata = found["metadata"]
            annotations = {**(metadata.get("annotations") or {}), **marks}
            annotations = {name: value for name, value in annotations.items() if value is not None}
            self._store.update(ref, {**found, "metadata": {**metadata, "annotations": annotations}})

    def prune(self, known: Known, used: Container[str], namespace: str) -> None:
        """Forget the oldest that nothing uses; the newest stays, since numbers are counted from it."""
        numbered = sorted(known.values(), key=lambda each: each.order)
        idle = [revision for revision in numbered[:-1] if revision.name not in used]
        for revision in idle[: max(0, len(idle) - defaults.REVISION_HISTORY)]:
            self._forget(namespace, revision.name)

    def forget(self, found: Iterable[Mapping[str, Any]]) -> None:
        """Forget stored revisions of a service, or of a component, that is gone."""
        for each in found:
            self._forget(each["metadata"]["namespace"], each["metadata"]["name"])

    def _forget(self, namespace: str, name: str) -> None:
        self._forgotten(f"{namespace}/{name}")
        self._store.delete(Ref(revisions.GROUP, revisions.RESOURCE, namespace, name))


def _ref(isvc: Mapping[str, Any], revision: Revision) -> Ref:
    """Where a revision is stored."""
    return Ref(revisions.GROUP, revisions.RESOURCE, isvc["metadata"]["namespace"], revision.name)
