"""InferenceService → pods and status: the reconciler at the centre of the product.

It lets `deployments` bring each component closer to the manifest, writes the status, by which the traffic moves, and
then removes what the traffic has left. It starts no process and moves no traffic itself: `pods` and `router` do that
from what it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from colonnade.control.events import Events
from colonnade.control.index import Index
from colonnade.control.models import safety
from colonnade.control.objects import Ref, timestamp, utcnow
from colonnade.control.routes.router import GROUP, Router
from colonnade.control.routes.routing import STOP
from colonnade.control.runtimes.selection import Runtimes
from colonnade.control.services import remarks, status
from colonnade.control.services.deployed import Deployed
from colonnade.control.services.deployments import Deployments
from colonnade.control.store import Store
from colonnade.control.templates import template
from colonnade.control.workload import components, ports, revisions
from colonnade.control.workload.ports import Port, Ports
from colonnade.control.workqueue import Key
from colonnade.resources.defaulting import default

RESOURCE = "inferenceservices"
DRAIN_LIMIT = 5.0  # seconds after which a pod goes even if no gateway acknowledged that it left the routes


class InferenceServices:
    """Reconciles InferenceServices. `reconcile` and `keys` are for a `Controller`."""

    def __init__(
        self,
        store: Store,
        events: Events,
        index: Index,
        deployments: Deployments,
        router: Router,
        place: status.Place,
        ports: Ports,
        runtimes: Callable[[str], Runtimes],
        unlogged: Callable[[Mapping[str, Any]], str | None] = lambda isvc: None,
        parked: Callable[[Key], int] = lambda key: 0,
    ) -> None:
        """`ports` has the services' own ports; `runtimes` gives those that services of a namespace may choose from.

        `unlogged` says why payloads of a service are not logged (see `payloadplaces`); `parked` how many bytes of its
        model are kept in memory while it sleeps.
        """
        self._store = store
        self._events = events
        self._index = index
        self._deployments = deployments
        self._router = router
        self._place = place
        self._ports = ports
        self._runtimes = runtimes
        self._unlogged = unlogged
        self._parked = parked

    def keys(self) -> Iterable[Key]:
        """All services, and those of which only pods or revisions are left."""
        return self._index.keys()

    async def reconcile(self, key: Key) -> float | None:
        """Bring one service a step closer to its manifest. Returns seconds until the next look."""
        isvc = self._index.service(key)
        if isvc is None:
            self._ports.release_all(key)
            self._deployments.forget(self._index.revisions(key))
            return self._retire(self._index.pods(key))
        wanted = default(isvc)
        present = {component.name for component in components.of(wanted)}
        used = present | {revisions.component_of(pod) for pod in self._index.pods(key)}
        # Those of a service that had this name, and of components that it has no more.
        self._deployments.forget(
            each
            for each in self._index.revisions(key)
            if not revisions.owned(each, isvc) or revisions.component_of(each) not in used
        )
        gone = [
            pod
            for pod in self._index.pods(key)
            if not revisions.owned(pod, isvc) or revisions.component_of(pod) not in present
        ]
        stopped = (isvc["metadata"].get("annotations") or {}).get(STOP) == "true"
        own_ports = self._reserved(key, wanted, present)
        runtimes = self._runtimes(key.namespace)
        rolled = [
            self._deployments.roll(wanted, component, runtimes, stopped=stopped) for component in components.of(wanted)
        ]
        seen = [replace(each.seen, routed=self._routed(key.namespace, each.seen)) for each in rolled]
        self._write(key, wanted, seen, own_ports)  # first the traffic moves, then what it left is retired
        again = self._retire([*gone, *(pod for each in rolled for pod in each.retire)])
        return min(
            (seconds for seconds in (again, *(each.again for each in rolled)) if seconds is not None), default=None
        )

    def _reserved(self, key: Key, isvc: dict[str, Any], present: Collection[str]) -> dict[str, int]:
        """The ports that the service has now, by their use."""
        uses = {ports.DIRECT} if template.direct(isvc) else set()
        if len(present) > 1:
            uses.add(components.PREDICTOR)  # the others call it
        for use in (ports.DIRECT, *components.NAMES):
            if use not in uses:
                self._ports.release(Port(key, use))
        return {use: self._ports.reserve(Port(key, use), ports.recorded(isvc, use)) for use in uses}

    def _routed(self, namespace: str, seen: Deployed) -> frozenset[str]:
        """The names of the revisions that the gateway sends to, or would wake for a request."""
        told = (pod for pod in seen.pods if self._router.told(Key(namespace, pod["metadata"]["name"])))
        asleep = (name for name in seen.serving if seen.asleep(name) and self._router.knows(namespace, name))
        return frozenset((*map(revisions.of_pod, told), *asleep))

    def _retire(self, pods: Iterable[dict[str, Any]]) -> float | None:
        """Take pods out of the traffic; remove those that no gateway sends to. Returns seconds until the next look."""
        waiting = False
        for pod in pods:
            metadata = pod["metadata"]
            key = Key(metadata["namespace"], metadata["name"])
            since = (metadata.get("annotations") or {}).get(revisions.DRAINING_ANNOTATION)
            if since is None:
                annotations = (metadata.get("annotations") or {}) | {revisions.DRAINING_ANNOTATION: timestamp(utcnow())}
                changed = {**pod, "metadata": {**metadata, "annotations": annotations}}
                self._store.update(Ref("", "pods", *key), changed)
                self._router.look()
            if self._router.serves(key) and (since is None or _age(since) < DRAIN_LIMIT):
                waiting = True
                continue
            self._store.delete(Ref("", "pods", *key))
            self._events.record(pod, "Killing", f"Stopping container {pod['spec']['containers'][0]['name']}")
        return 1.0 if waiting else None

    def _write(self, key: Key, isvc: dict[str, Any], seen: Sequence[Deployed], own_ports: Mapping[str, int]) -> None:
        old = isvc.get("status") or {}
        shadow = remarks.shadow(isvc, seen[0].split.named) if seen[0].refusal is None else None
        found = [each for each in (shadow, remarks.payload_log(self._unlogged(isvc))) if each is not None]
        now = timestamp(utcnow())
        new = status.status(isvc, seen, self._place, now, own_ports, remarks=found, parked=self._parked(key))
        if not all(self._router.splits(key.namespace, each.split.now.shares) for each in seen):
            new["observedGeneration"] = old.get("observedGeneration", 0)  # who waits for it asks the new split at once
        if new == old:
            return
        ref = Ref(GROUP, RESOURCE, *key)
        stored = self._store.get(ref)
        if stored is None:
            return
        self._store.update(ref, {**stored, "status": new}, status=True)
        self._tell(isvc, old, new)

    def _tell(self, isvc: dict[str, Any], old: dict[str, Any], new: dict[str, Any]) -> None:
        """Events for the changes that people look for."""
        scanned, before = (_condition(found, safety.CONDITION) for found in (new, old))
        if scanned and (scanned["reason"], scanned.get("message")) != (before.get("reason"), before.get("message")):
            told = (isvc, scanned["reason"], scanned.get("message", ""))
            self._events.record(*told, "Warning" if scanned["status"] == "False" else "Normal")
        for kind in remarks.KINDS:
            remark, before = (_condition(found, kind) for found in (new, old))
            if remark.get("status") == "False" and remark.get("message") != before.get("message"):
                self._events.record(isvc, remark["reason"], remark["message"], "Warning")
        was, now = (_condition(found, "Ready") for found in (old, new))
        if now.get("status") == "True" and was.get("status") != "True":
            name = isvc["metadata"]["name"]
            self._events.record(isvc, "InferenceServiceReady", f"InferenceService [{name}] is Ready")
        elif now.get("status") == "False" and (was.get("status"), was.get("message")) != ("False", now.get("message")):
            self._events.record(isvc, now.get("reason", "NotReady"), now.get("message", ""), "Warning")


def _condition(found: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((each for each in found.get("conditions") or [] if each["type"] == kind), {})


def _age(since: str) -> float:
    return (utcnow() - datetime.strptime(since, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)).total_seconds()
