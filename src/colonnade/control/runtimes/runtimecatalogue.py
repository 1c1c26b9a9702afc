"""The runtimes as they are stored, at hand for whoever plans a service; and the built-in ones kept there.

The built-in ClusterServingRuntimes (`builtin`) are objects like any other: `kubectl` lists and changes them, and one
that somebody changed is no longer touched. Where one was deleted, or a version of the product knows it better, it is
written anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from colonnade.control.objects import Change, Ref
from colonnade.control.runtimes import builtin
from colonnade.control.runtimes.selection import Runtime, Runtimes, read
from colonnade.control.store import Store
from colonnade.resources.kinds import CLUSTER_SERVING_RUNTIME, SERVING_RUNTIME
from colonnade.runtimes import images

GROUP = CLUSTER_SERVING_RUNTIME.group
RESOURCES = frozenset({SERVING_RUNTIME.plural, CLUSTER_SERVING_RUNTIME.plural})


class RuntimeCatalogue:
    """The stored runtimes. `of` is asked at each look at a service, so nothing is read from the store for that."""

    def __init__(self, store: Store, programs: frozenset[str] | None = None) -> None:
        """`programs` are the model servers that this machine has, if not those that are found now."""
        self._store = store
        self._programs = images.installed() if programs is None else programs
        self._known: dict[Ref, Runtime] = {}
        self._close: Callable[[], None] = store.subscribe(self._changed)
        for resource in RESOURCES:
            for found in store.list(GROUP, resource)[0]:
                self._keep(_ref(resource, found), found)

    def close(self) -> None:
        """Listen no more."""
        self._close()

    def of(self, namespace: str) -> Runtimes:
        """All runtimes that a service of a namespace may choose from."""
        runtimes = [self._known[ref] for ref in sorted(self._known)]
        return Runtimes(
            tuple(each for each in runtimes if each.namespace == namespace),
            tuple(each for each in runtimes if not each.namespace),
            self._programs,
        )

    def restore(self) -> None:
        """Write the built-in runtimes that are not there, and those that are not of this version or this machine."""
        for wanted in builtin.objects(self._programs):
            ref = _ref(CLUSTER_SERVING_RUNTIME.plural, wanted)
            found = self._store.get(ref)
            if found is None:
                self._store.create(ref, wanted)
            elif builtin.is_own(found) and not _same(found, wanted):
                metadata = {**found["metadata"], "annotations": wanted["metadata"]["annotations"]}
                self._store.update(ref, {**found, "metadata": metadata, "spec": wanted["spec"]})

    def _changed(self, change: Change) -> None:
        if change.ref.group != GROUP or change.ref.resource not in RESOURCES:
            return
        if change.type == "DELETED":
            self._known.pop(change.ref, None)
        else:
            self._keep(change.ref, change.object)

    def _keep(self, ref: Ref, found: Mapping[str, Any]) -> None:
        runtime = read(found)
        if builtin.is_own(found):  # was always there, whenever this state directory began: others are newer
            runtime = Runtime(runtime.name, runtime.namespace, runtime.spec, runtime.annotations)
        self._known[ref] = runtime


def _ref(resource: str, found: Mapping[str, Any]) -> Ref:
    return Ref(GROUP, resource, found["metadata"].get("namespace") or "", found["metadata"]["name"])


def _same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    stored = found["metadata"].get("annotations") or {}
    return bool(found["spec"] == wanted["spec"] and wanted["metadata"]["annotations"].items() <= stored.items())
