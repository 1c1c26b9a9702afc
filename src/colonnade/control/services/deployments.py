"""One component of one service: from its manifest to revisions, pods and shares of the traffic.

The shell round `revisions`, `rollout` and `template`: it reads what is there, lets them decide, stores new revisions
and pods, and tells `inferenceservices` what it saw. It removes no pod: what the traffic leaves is handed back, to be
retired once the routes have changed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from colonnade import defaults
from colonnade.control.events import Events
from colonnade.control.index import Index
from colonnade.control.models import holding, safety
from colonnade.control.models.fetching import Fetched, Fetcher, FetchFailed
from colonnade.control.models.sources import ORIGIN
from colonnade.control.objects import Ref, timestamp, utcnow
from colonnade.control.replicas.podstatus import is_ready, moment
from colonnade.control.rollouts import revisions, rollout, shadowing
from colonnade.control.rollouts.progress import Move
from colonnade.control.rollouts.revisions import Revision
from colonnade.control.rollouts.rollout import Split, Wish
from colonnade.control.rollouts.underway import Rollouts
from colonnade.control.runtimes.environments import EnvironmentBuilder
from colonnade.control.runtimes.selection import Runtimes
from colonnade.control.services import components, template
from colonnade.control.services.components import Component
from colonnade.control.services.deployed import Deployed, Failure, Variant
from colonnade.control.services.template import Plan, Refusal
from colonnade.control.store import Store
from colonnade.control.workqueue import Key
from colonnade.storage.scan import Report
from colonnade.storage.uri import redacted

NO_AUTO_UPDATE = "serving.kserve.io/disable-auto-update"


class Scale(Protocol):
    """Who knows how many replicas a revision needs now. See `autoscaler`."""

    def wanted(self, namespace: str, revision: Revision) -> int | None:
        """The number, or None where nobody scales and the manifest's own number counts."""


@dataclass(frozen=True)
class Rolled:
    """What became of a component.

    Attributes:
        seen: for the status.
        retire: pods that shall go once the gateway sends to them no more.
        again: seconds until the next look, or None.
    """

    seen: Deployed
    retire: tuple[dict[str, Any], ...] = ()
    again: float | None = None


@dataclass(frozen=True)
class _Manifest:
    """A service as one revision of a component has it, and how that revision runs."""

    isvc: dict[str, Any]
    component: Component
    plan: Plan | Refusal


class _Way(NamedTuple):
    """A variant of `spec.canary` that can run, with its percent and, if it has one, its own number of replicas."""

    revision: Revision
    percent: int
    replicas: int | None


class Deployments:
    """Rolls components out, a step at each call."""

    def __init__(
        self,
        store: Store,
        events: Events,
        fetcher: Fetcher,
        environments: EnvironmentBuilder,
        index: Index,
        scale: Scale,
        rollouts: Rollouts,
        compared: Callable[[str, str], Mapping[str, int]],
        look: Callable[[Key], None],
    ) -> None:
        """`compared` has the outcomes of a shadow's copies, by namespace and name; `look` asks for another look."""
        self._store = store
        self._events = events
        self._fetcher = fetcher
        self._environments = environments
        self._index = index
        self._scale = scale
        self._rollouts = rollouts
        self._compared = compared
        self._look = look

    def roll(self, isvc: dict[str, Any], component: Component, runtimes: Runtimes, *, stopped: bool) -> Rolled:
        """Bring a component of a defaulted service a step closer to its manifest."""
        found = self._pods(isvc, component)
        if stopped:
            remembered = Split(rollout.past(isvc, component.name), ())
            return Rolled(Deployed(component, split=remembered, stopped=True), tuple(found))
        history = self._history(isvc, component)
        stable = _manifest(isvc, component, runtimes, history.values())
        manifests: dict[str, _Manifest] = {}
        latest = self._revision(stable, history)
        if latest is not None:
            manifests[latest.name] = stable
        ways = self._variants(isvc, component, runtimes, history, manifests)
        split, move = self._split(isvc, component, latest, ways, history, found)
        if latest is not None:
            latest = history[latest.name]
        counts = {name: self._count(isvc, history[name], component, ways) for name in sorted(split.named)}
        change = rollout.pods(found, counts)
        outcome = _Outcome()
        for name, missing in change.create.items():
            revision = history[name]
            manifest = manifests.get(name) or _former(isvc, component, revision, runtimes)
            came = self._create(manifest, revision, missing, found)
            if latest is None or name == latest.name:
                outcome = came
        found = self._pods(isvc, component)
        self._prove(isvc, history.values(), found)
        self._prune(isvc, history.values(), split, found)
        gone = {pod["metadata"]["name"] for pod in change.retire}
        seen = Deployed(
            component,
            latest,
            [pod for pod in found if not revisions.draining(pod) and pod["metadata"]["name"] not in gone],
            counts,
            split,
            runtime=stable.plan.runtime if isinstance(stable.plan, Plan) else "",
            runtime_kind=stable.plan.runtime_kind if isinstance(stable.plan, Plan) else "",
            refusal=stable.plan if isinstance(stable.plan, Refusal) else None,
            failure=outcome.failure,
            fetching=outcome.fetching,
            download=outcome.progress,
            scanned=safety.record(outcome.reports),
            progress=None if move is None or split.now.rolledout == move.progress.revision else move.progress,
            variants=tuple(Variant(way.revision.component.variant, way.revision.name, way.percent) for way in ways),
            shadow=self._shadow(isvc, component),
        )
        looks = outcome.again, None if move is None else move.again, shadowing.LOOK if seen.shadow else None
        waits = [each for each in looks if each is not None]
        return Rolled(seen, change.retire, min(waits, default=None))

    def forget(self, found: Iterable[Mapping[str, Any]]) -> None:
        """Remove the stored revisions of a service that is gone."""
        for each in found:
            metadata = each["metadata"]
            self._fetcher.forget(f"{metadata['namespace']}/{metadata['name']}")
            self._environments.forget(f"{metadata['namespace']}/{metadata['name']}")
            self._store.delete(Ref(revisions.GROUP, revisions.RESOURCE, metadata["namespace"], metadata["name"]))

    # What there is.

    def _pods(self, isvc: Mapping[str, Any], component: Component) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self._index.pods(_key(isvc))
            if revisions.component_of(pod) == component.name and revisions.owned(pod, isvc)
        ]

    def _history(self, isvc: Mapping[str, Any], component: Component) -> dict[str, Revision]:
        known = (
            revisions.read(found)
            for found in self._index.revisions(_key(isvc))
            if revisions.component_of(found) == component.name and revisions.owned(found, isvc)
        )
        annotations = isvc["metadata"].get("annotations") or {}
        promoted = annotations.get(defaults.ROLLOUT_PROMOTED)  # by hand: whatever an analysis said
        return {one.name: replace(one, rejected="") if one.name == promoted else one for one in known}

    # What shall be.

    def _revision(self, manifest: _Manifest, history: dict[str, Revision]) -> Revision | None:
        """The revision of a manifest, stored if it is new; None if the manifest cannot run here."""
        if isinstance(manifest.plan, Refusal):
            return None
        isvc, component = manifest.isvc, manifest.component
        made = components.template(isvc, component)
        if manifest.plan.chosen is not None:
            made["runtime"] = manifest.plan.chosen.snapshot()
        content = revisions.digest(made, manifest.plan.runtime_digest)
        wanted = revisions.wanted(isvc["metadata"]["name"], component, made, content, history.values())
        if wanted.name not in history:
            while self._store.get(_ref(isvc, wanted)) is not None:  # another service's variant is called so
                wanted = replace(wanted, number=wanted.number + 1)
            fresh = revisions.stored(isvc, wanted)
            ref = _ref(isvc, wanted)
            wanted = revisions.read(self._store.create(ref, fresh))
            history[wanted.name] = wanted
        return wanted

    def _variants(
        self,
        isvc: dict[str, Any],
        component: Component,
        runtimes: Runtimes,
        history: dict[str, Revision],
        manifests: dict[str, _Manifest],
    ) -> list[_Way]:
        """The revisions of `spec.canary` that can run, with their percents."""
        ways = []
        for canary, percent, replicas in components.canaries(isvc) if component.name == components.PREDICTOR else ():
            own = {**isvc, "spec": {**isvc["spec"], components.PREDICTOR: canary.spec}}
            manifest = _manifest(own, canary, runtimes, history.values())
            revision = self._revision(manifest, history)
            if revision is None:
                assert isinstance(manifest.plan, Refusal)
                self._events.record(isvc, manifest.plan.reason, f"{canary.variant}: {manifest.plan.message}", "Warning")
                continue
            manifests[revision.name] = manifest
            ways.append(_Way(revision, percent, replicas))
        return ways

    def _split(
        self,
        isvc: dict[str, Any],
        component: Component,
        latest: Revision | None,
        ways: list[_Way],
        history: dict[str, Revision],
        found: Iterable[dict[str, Any]],
    ) -> tuple[Split, Move | None]:
        """Where the traffic goes, and how far a gradual rollout is, if one is under way."""
        past = rollout.past(isvc, component.name)
        now = {share.revision for share in past.shares if share.percent}
        alive = Counter(revisions.of_pod(pod) for pod in found if is_ready(pod) and not revisions.draining(pod))

        def ready(name: str) -> bool:
            if alive[name] and name in now:
                return True
            count = self._count(isvc, history[name], component, ways)
            return alive[name] >= count  # none are needed of what sleeps, or may begin asleep

        given = component.spec.get("canaryTrafficPercent")
        percent = 100 if given is None else int(given)
        move = None
        if latest is not None and past.rolledout not in ("", latest.name) and ready(latest.name):
            move = self._rollouts.move(isvc, component.name, latest, past.rolledout)
        if move is not None:
            percent = min(percent, move.progress.percent)
            if move.rejected and latest is not None:
                history[latest.name] = latest = self._reject(isvc, latest, move.rejected)
            elif move.told:
                self._events.record(isvc, "RolloutStep", move.told)
        if latest is not None and latest.rejected:
            percent = 0
        name = "" if latest is None else latest.name
        wish = Wish(name, percent, tuple((way.revision.name, way.percent) for way in ways))
        split = rollout.split(wish, past, ready=ready, serves=lambda name: alive[name] > 0, known=history.__contains__)
        return split, move

    def _shadow(self, isvc: dict[str, Any], component: Component) -> str:
        """How the answers of the shadow compared so far, as a record; "" without a shadow."""
        shadow = shadowing.of(isvc) if component.name == components.PREDICTOR else None
        if shadow is None:
            return ""
        return shadowing.record(shadow, self._compared(isvc["metadata"]["namespace"], shadow.revision))

    def _reject(self, isvc: dict[str, Any], revision: Revision, why: str) -> Revision:
        """Take the traffic from a revision for good."""
        self._events.record(isvc, "RolloutRolledBack", why, "Warning")
        self._annotate(isvc, revision, {revisions.REJECTED_ANNOTATION: why})
        return replace(revision, rejected=why)

    def _count(self, isvc: Mapping[str, Any], revision: Revision, component: Component, ways: Iterable[_Way]) -> int:
        """Replicas of a revision that runs."""
        if revision.rejected:
            return 0
        scaled = self._scale.wanted(isvc["metadata"]["namespace"], revision)
        if scaled is not None:
            beside = rollout.past(isvc, component.name).rolledout not in ("", revision.name)
            return max(1, scaled) if beside and not revision.proven else scaled  # it must prove itself first
        stable = rollout.replicas(component.spec)
        way = next((way for way in ways if way.revision.name == revision.name), None)
        if way is None:
            return stable
        return way.replicas or max(1, ceil(stable * way.percent / 100))

    # What is done.

    def _create(
        self, manifest: _Manifest, revision: Revision, missing: int, found: Iterable[dict[str, Any]]
    ) -> _Outcome:
        """Store the missing pods of a revision, once its models are there."""
        plan = manifest.plan
        if isinstance(plan, Refusal):
            return _Outcome(Failure(plan.reason, plan.message, revision=revision.name))
        sample = next((pod for pod in found if revisions.of_pod(pod) == revision.name and is_ready(pod)), None)
        if sample is None:  # all pods of a revision are alike: where one serves, no second fetch may fail
            models, outcome = self._models(manifest.isvc, revision, plan)
            if models is None:
                return outcome
            waits, environment = self._environment(manifest.isvc, revision, plan, models)
            if waits is not None:
                return waits
            sample = template.pod(manifest.isvc, manifest.component.name, plan, revision, models, environment)
            if outcome.origin:
                sample["metadata"]["annotations"][ORIGIN] = outcome.origin
                self._events.record(manifest.isvc, "ModelTaken", f"Took {outcome.origin}")
            sample = holding.noted(safety.noted(sample, outcome.reports), outcome.held)
        for _ in range(missing):
            pod = template.named(sample, revisions.pod_name(revision))
            name = pod["metadata"]["name"]
            self._store.create(Ref("", "pods", manifest.isvc["metadata"]["namespace"], name), pod)
            self._events.record(manifest.isvc, "SuccessfulCreate", f"Created pod: {name}")
        return _Outcome()

    def _models(self, isvc: dict[str, Any], revision: Revision, plan: Plan) -> tuple[dict[str, Path] | None, _Outcome]:
        """Local path by URI if all are there, and else what is known of why not."""
        key = _key(isvc)
        paths: dict[str, Path] = {}
        origins: list[str] = []
        reports: list[Report] = []
        held: list[holding.Held] = []
        for source in plan.sources:
            # Each revision has an owner's entry of its own: the models of several are asked for side by side.
            owner = f"{key.namespace}/{revision.name}"
            outcome = self._fetcher.ask(owner, revision.number, source, lambda: self._look(key))
            if isinstance(outcome, FetchFailed):
                shown = redacted(source.uri)
                failure = Failure("ModelLoadFailed", outcome.message, shown, revision.name, moment(outcome.at))
                refused = () if outcome.report is None else (outcome.report,)
                again = max(0.05, outcome.at + outcome.retry_in - time.time())
                return None, _Outcome(failure, again=again, reports=refused)
            if not isinstance(outcome, Fetched):
                return None, _Outcome(fetching=True, progress=outcome.text(source.uri))
            paths[source.mount] = outcome.path
            origins += [outcome.origin] if outcome.origin else []
            reports += [outcome.report] if outcome.report is not None else []
            held += [holding.held(outcome.path, source)] if outcome.in_place else []
        return paths, _Outcome(origin="; ".join(origins), reports=tuple(reports), held=tuple(held))

    def _environment(
        self, isvc: dict[str, Any], revision: Revision, plan: Plan, models: Mapping[str, Path]
    ) -> tuple[_Outcome | None, Path | None]:
        """Why the Python environment of a revision is not there yet, or else its folder if it has one of its own."""
        key = _key(isvc)
        owner = f"{key.namespace}/{revision.name}"
        model = models[plan.sources[0].mount] if plan.sources else None
        outcome = self._environments.ask(owner, revision.number, plan.isolation, model, lambda: self._look(key))
        if isinstance(outcome, FetchFailed):
            failure = Failure("ModelLoadFailed", outcome.message, "", revision.name, moment(outcome.at))
            return _Outcome(failure, again=max(0.05, outcome.at + outcome.retry_in - time.time())), None
        if outcome is None or isinstance(outcome, Fetched):
            return None, None if outcome is None else outcome.path
        return _Outcome(fetching=True, progress="Making the Python environment of its requirements"), None

    def _prove(self, isvc: Mapping[str, Any], known: Iterable[Revision], found: Iterable[dict[str, Any]]) -> None:
        """Note on revisions that a replica of theirs was ready: from then on they may be scaled to zero."""
        ready = {revisions.of_pod(pod) for pod in found if is_ready(pod)}
        for revision in known:
            if revision.name in ready and not revision.proven:
                self._annotate(isvc, revision, {revisions.PROVEN_ANNOTATION: timestamp(utcnow())})

    def _prune(
        self, isvc: Mapping[str, Any], known: Iterable[Revision], split: Split, found: Iterable[dict[str, Any]]
    ) -> None:
        """Forget the oldest revisions that nothing refers to; the newest stays, since numbers are counted from it."""
        used = split.named | {split.now.rolledout, split.now.previous} | {revisions.of_pod(pod) for pod in found}
        numbered = sorted(known, key=lambda each: each.number)
        idle = [revision for revision in numbered[:-1] if revision.name not in used]
        for revision in idle[: max(0, len(idle) - defaults.REVISION_HISTORY)]:
            ref = _ref(isvc, revision)
            self._fetcher.forget(f"{ref.namespace}/{ref.name}")
            self._environments.forget(f"{ref.namespace}/{ref.name}")
            self._store.delete(ref)

    def _annotate(self, isvc: Mapping[str, Any], revision: Revision, marks: Mapping[str, str]) -> None:
        ref = _ref(isvc, revision)
        found = self._store.get(ref)
        if found is not None:
            metadata = found["metadata"]
            annotations = {**(metadata.get("annotations") or {}), **marks}
            self._store.update(ref, {**found, "metadata": {**metadata, "annotations": annotations}})


@dataclass(frozen=True)
class _Outcome:
    """Why pods are not made yet, if they are not; or what their models were taken from instead of their URIs."""

    failure: Failure | None = None
    fetching: bool = False
    again: float | None = None
    progress: str = ""
    origin: str = ""
    reports: tuple[Report, ...] = ()
    held: tuple[holding.Held, ...] = ()


def _ref(isvc: Mapping[str, Any], revision: Revision) -> Ref:
    """Where a revision is stored."""
    return Ref(revisions.GROUP, revisions.RESOURCE, isvc["metadata"]["namespace"], revision.name)


def _key(isvc: Mapping[str, Any]) -> Key:
    return Key(isvc["metadata"]["namespace"], isvc["metadata"]["name"])


def _former(isvc: dict[str, Any], component: Component, revision: Revision, runtimes: Runtimes) -> _Manifest:
    """The manifest of an earlier revision."""
    own = components.restored(isvc, component, revision.template)
    return _Manifest(own, revision.component, template.plan(own, component.name, _then(runtimes, revision)))


def _manifest(isvc: dict[str, Any], component: Component, runtimes: Runtimes, known: Iterable[Revision]) -> _Manifest:
    """The manifest as it is now. Where its user wants no automatic updates, the runtime alone changes nothing."""
    if (isvc["metadata"].get("annotations") or {}).get(NO_AUTO_UPDATE) == "true":
        same = [each for each in known if each.component[:2] == component[:2]]
        newest = max(same, key=lambda each: each.number, default=None)
        made = components.template(isvc, component)
        if newest is not None and made.items() <= newest.template.items():
            runtimes = _then(runtimes, newest)
    return _Manifest(isvc, component, template.plan(isvc, component.name, runtimes))


def _then(runtimes: Runtimes, revision: Revision) -> Runtimes:
    """The runtimes of a revision: the one that it began with."""
    kept = revision.template.get("runtime")
    return runtimes if kept is None else runtimes.pinned(kept)
