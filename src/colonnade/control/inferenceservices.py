"""InferenceService → pods and status: the reconciler at the centre of the product.

It observes (stored pods, fetched models), lets `template`, `revisions`, `rollout` and `status` decide, and writes the
result. It starts no process and moves no traffic itself: `pods` and `router` do that from what it writes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from colonnade.control import direct, revisions, rollout, routing, status, template
from colonnade.control.direct import DirectPorts
from colonnade.control.events import Events
from colonnade.control.fetching import Fetched, Fetcher, FetchFailed
from colonnade.control.objects import Ref, timestamp, utcnow
from colonnade.control.podstatus import is_ready, moment
from colonnade.control.router import GROUP, Router
from colonnade.control.store import Store
from colonnade.control.workqueue import Key
from colonnade.resources.defaulting import default
from colonnade.storage.fetch import fetch

RESOURCE = "inferenceservices"
STOP = "serving.kserve.io/stop"
DRAIN_LIMIT = 5.0  # seconds after which a pod goes even if no gateway acknowledged that it left the routes


class InferenceServices:
    """Reconciles InferenceServices. `reconcile` and `keys` are for a `Controller`."""

    def __init__(
        self,
        store: Store,
        events: Events,
        fetcher: Fetcher,
        router: Router,
        place: status.Place,
        ports: DirectPorts,
        look: Callable[[Key], None],
    ) -> None:
        """`ports` has the services' own ports. `look` asks the controller for a look at a key."""
        self._store = store
        self._events = events
        self._fetcher = fetcher
        self._router = router
        self._place = place
        self._ports = ports
        self._look = look

    def keys(self) -> Iterable[Key]:
        """All services, and those of which only pods are left."""
        services, _ = self._store.list(GROUP, RESOURCE)
        pods, _ = self._store.list("", "pods")
        found = {Key(isvc["metadata"]["namespace"], isvc["metadata"]["name"]) for isvc in services}
        return found | {Key(pod["metadata"]["namespace"], revisions.service_of(pod)) for pod in pods}

    async def reconcile(self, key: Key) -> float | None:
        """Bring one service a step closer to its manifest. Returns seconds until the next look."""
        isvc = self._store.get(Ref(GROUP, RESOURCE, *key))
        everything, _ = self._store.list("", "pods", key.namespace)
        pods = [pod for pod in everything if revisions.service_of(pod) == key.name]
        if isvc is None:
            self._fetcher.forget(str(key))
            self._ports.release(key)
            return self._retire(pods)
        wanted = default(isvc)
        own = [pod for pod in pods if _owned(pod, isvc)]
        foreign = self._retire([pod for pod in pods if not _owned(pod, isvc)])  # of an earlier service of this name
        return _sooner(foreign, self._roll(key, wanted, own))

    def _roll(self, key: Key, isvc: dict[str, Any], pods: list[dict[str, Any]]) -> float | None:
        stopped = (isvc["metadata"].get("annotations") or {}).get(STOP) == "true"
        plan = template.plan(isvc)
        serving = routing.serving_revision(isvc)
        count = rollout.replicas(isvc["spec"]["predictor"])
        port: int | None = None
        if template.direct(isvc):
            port = self._ports.reserve(key, direct.recorded(isvc))
        else:
            self._ports.release(key)
        if stopped or isinstance(plan, template.Refusal):
            refusal = plan if isinstance(plan, template.Refusal) and not stopped else None
            decision = rollout.decide(pods, "" if stopped else serving, serving, count)
            active = _remaining(pods, decision)
            routed = self._routed(pods)
            seen = status.Observation(
                active, count, None, "", decision.serving, routed=routed, refusal=refusal, stopped=stopped, direct=port
            )
            self._write(key, isvc, seen)
            return self._retire(decision.retire)
        revision = revisions.current(isvc, revisions.digest(isvc))
        name = revision.name(key.name)
        decision = rollout.decide(pods, name, serving, count)
        failure, fetching, again = None, False, None
        if decision.create:
            sample = next((pod for pod in pods if revisions.of_pod(pod) == name and is_ready(pod)), None)
            if sample is None:
                models, failure, again = self._models(key, revision, plan)
                fetching = models is None and failure is None
                sample = None if models is None else template.pod(isvc, plan, revision, models)
            if sample is not None:  # all pods of a revision are alike: where one serves, no second fetch may fail
                for _ in range(decision.create):
                    self._create(isvc, template.named(sample, revisions.pod_name(key.name, revision)))
                pods = self._pods(key, isvc)
        active = _remaining(pods, decision)
        seen = status.Observation(
            active,
            count,
            revision,
            name,
            decision.serving,
            plan.runtime,
            routed=self._routed(pods),
            fetching=fetching,
            failure=failure,
            direct=port,
        )
        self._write(key, isvc, seen)  # first the traffic moves, then what it left is retired
        return _sooner(again, self._retire(decision.retire))

    def _routed(self, pods: Iterable[dict[str, Any]]) -> frozenset[str]:
        """The names of the revisions that the gateway sends to."""
        told = (pod for pod in pods if self._router.told(Key(pod["metadata"]["namespace"], pod["metadata"]["name"])))
        return frozenset(revisions.of_pod(pod) for pod in told)

    def _models(
        self, key: Key, revision: revisions.Revision, plan: template.Plan
    ) -> tuple[dict[str, Path] | None, status.Failure | None, float | None]:
        """(local path by URI if all are there, why not if one failed, seconds until the next attempt)."""
        paths: dict[str, Path] = {}
        for source in plan.sources:
            outcome = self._fetcher.ask(str(key), revision.number, source.uri, lambda: self._look(key))
            if isinstance(outcome, FetchFailed):
                failure = status.Failure(
                    "ModelLoadFailed", outcome.message, source.uri, revision.name(key.name), moment(outcome.at)
                )
                return None, failure, max(0.05, outcome.at + outcome.retry_in - time.time())
            if not isinstance(outcome, Fetched):
                return None, None, None
            paths[source.uri] = outcome.path
        return paths, None, None

    def _create(self, isvc: dict[str, Any], pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        self._store.create(Ref("", "pods", isvc["metadata"]["namespace"], name), pod)
        self._events.record(isvc, "SuccessfulCreate", f"Created pod: {name}")

    def _pods(self, key: Key, isvc: dict[str, Any]) -> list[dict[str, Any]]:
        everything, _ = self._store.list("", "pods", key.namespace)
        return [pod for pod in everything if revisions.service_of(pod) == key.name and _owned(pod, isvc)]

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

    def _write(self, key: Key, isvc: dict[str, Any], seen: status.Observation) -> None:
        old = isvc.get("status") or {}
        new = status.status(isvc, seen, self._place, timestamp(utcnow()))
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
        was, now = (_condition(found, "Ready") for found in (old, new))
        if now.get("status") == "True" and was.get("status") != "True":
            name = isvc["metadata"]["name"]
            self._events.record(isvc, "InferenceServiceReady", f"InferenceService [{name}] is Ready")
        elif now.get("status") == "False" and (was.get("status"), was.get("message")) != ("False", now.get("message")):
            self._events.record(isvc, now.get("reason", "NotReady"), now.get("message", ""), "Warning")


def fetch_into(cache: Path) -> Callable[[str], Path]:
    """The blocking fetch of `storage` into one cache, for a `Fetcher`."""
    return lambda uri: fetch(uri, cache)


def _remaining(pods: Iterable[dict[str, Any]], decision: rollout.Decision) -> list[dict[str, Any]]:
    """The pods that are not on their way out, now or by this decision."""
    gone = {pod["metadata"]["name"] for pod in decision.retire}
    return [pod for pod in pods if not revisions.draining(pod) and pod["metadata"]["name"] not in gone]


def _owned(pod: dict[str, Any], isvc: dict[str, Any]) -> bool:
    references = pod["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == isvc["metadata"]["uid"] for reference in references)


def _condition(found: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((each for each in found.get("conditions") or [] if each["type"] == kind), {})


def _age(since: str) -> float:
    return (utcnow() - datetime.strptime(since, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)).total_seconds()


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((seconds for seconds in (one, other) if seconds is not None), default=None)
