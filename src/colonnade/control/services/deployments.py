"""One component of one service: from its manifest to revisions, pods and shares of the traffic.

The shell round `revisions`, `rollout`, `probation` and `template`: it reads what is there, lets them decide, has new
revisions and pods stored (`history`, `creation`), and tells `inferenceservices` what it saw. It removes no pod: what
the traffic leaves is handed back, to be retired once the routes have changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from colonnade.control.events import Events
from colonnade.control.index import Index
from colonnade.control.models import safety
from colonnade.control.models.environments import EnvironmentBuilder
from colonnade.control.models.fetching import Fetcher
from colonnade.control.rollouts import probation, rollout, shadowing
from colonnade.control.rollouts.history import History
from colonnade.control.rollouts.progress import Move
from colonnade.control.rollouts.rollout import Past, Split, Wish
from colonnade.control.rollouts.underway import Rollouts
from colonnade.control.runtimes.selection import Runtimes
from colonnade.control.services.counting import Counting, Scale, Sight, Way
from colonnade.control.services.creation import Creation, Manifest, Outcome
from colonnade.control.services.deployed import Deployed, Variant
from colonnade.control.store import Store
from colonnade.control.templates import template
from colonnade.control.templates.template import Plan, Refusal
from colonnade.control.workload import components, revisions
from colonnade.control.workload.components import Component
from colonnade.control.workload.revisions import Revision
from colonnade.control.workqueue import Key

NO_AUTO_UPDATE = "serving.kserve.io/disable-auto-update"


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


class _Directed(NamedTuple):
    """Where the traffic goes, how far a gradual rollout is, if one is under way, and when to look at it again."""

    split: Split
    counting: Counting
    move: Move | None = None
    again: float | None = None


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
        now: Callable[[], float] = time.time,
    ) -> None:
        """`compared` has the outcomes of a shadow's copies, by namespace and name; `look` asks for another look."""
        self._events = events
        self._index = index
        self._scale = scale
        self._rollouts = rollouts
        self._compared = compared
        self._now = now
        self._creation = Creation(store, events, fetcher, environments, look)
        self._history = History(store, index, self._creation.forget)

    def roll(self, isvc: dict[str, Any], component: Component, runtimes: Runtimes, *, stopped: bool) -> Rolled:
        """Bring a component of a defaulted service a step closer to its manifest."""
        found, past = self._pods(isvc, component), rollout.past(isvc, component.name)
        if stopped:
            return Rolled(Deployed(component, split=Split(past, ()), stopped=True), tuple(found))
        sight = Sight(isvc, component, past, found, self._history.of(isvc, component))
        stable = _manifest(isvc, component, runtimes, sight.known.values())
        manifests: dict[str, Manifest] = {}
        latest = self._revision(stable, sight)
        if latest is not None:
            manifests[latest.name] = stable
        ways = self._variants(sight, runtimes, manifests)
        sight = self._fallen(sight, latest, ways)
        split, counting, move, looks = self._split(sight, latest, ways)
        if latest is not None:
            latest = sight.known[latest.name]
        counts = {name: counting.of(name) for name in sorted(split.named)}
        stays, until = self._stays(sight, latest, split)
        change = rollout.pods(found, counts | {name: len(sight.of(name)) for name in stays})
        outcome = Outcome()
        for name, missing in change.create.items():
            revision = sight.known[name]
            manifest = manifests.get(name) or _former(isvc, component, revision, runtimes)
            came = self._creation.create(manifest, revision, missing, found)
            if latest is None or name == latest.name:
                outcome = came
        found = self._pods(isvc, component)
        self._history.prove(isvc, sight.known, found)
        used = split.named | {split.now.rolledout, split.now.previous} | {revisions.of_pod(pod) for pod in found}
        self._history.prune(sight.known, used, isvc["metadata"]["namespace"])
        gone = {pod["metadata"]["name"] for pod in change.retire}
        here = [pod for pod in found if not revisions.draining(pod) and pod["metadata"]["name"] not in gone]
        seen = Deployed(
            component,
            latest,
            [pod for pod in here if revisions.of_pod(pod) not in stays],
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
        waits = (outcome.again, looks, until, shadowing.LOOK if seen.shadow else None)
        return Rolled(seen, change.retire, min((each for each in waits if each is not None), default=None))

    def forget(self, found: Iterable[Mapping[str, Any]]) -> None:
        """Remove stored revisions of a service, or of a component, that is gone."""
        self._history.forget(found)

    def _pods(self, isvc: Mapping[str, Any], component: Component) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self._index.pods(Key(isvc["metadata"]["namespace"], isvc["metadata"]["name"]))
            if revisions.component_of(pod) == component.name and revisions.owned(pod, isvc)
        ]

    # What shall be.

    def _revision(self, manifest: Manifest, sight: Sight) -> Revision | None:
        """The revision of a manifest, stored if it is new; None if the manifest cannot run here."""
        if isinstance(manifest.plan, Refusal):
            return None
        isvc, component = manifest.isvc, manifest.component
        made = components.template(isvc, component)
        if manifest.plan.chosen is not None:
            made["runtime"] = manifest.plan.chosen.snapshot()
        content = revisions.digest(made, manifest.plan.runtime_digest)
        # A part of the traffic is for a canary, and a canary is a revision of its own, as in Knative.
        back = sight.running if _percent(component) == 100 else frozenset()
        wanted = revisions.wanted(isvc["metadata"]["name"], component, made, content, sight.known.values(), back)
        return self._history.keep(isvc, wanted, sight.known)

    def _variants(self, sight: Sight, runtimes: Runtimes, manifests: dict[str, Manifest]) -> list[Way]:
        """The revisions of `spec.canary` that can run, with their percents."""
        ways, isvc = [], sight.isvc
        predictor = sight.component.name == components.PREDICTOR
        for canary, percent, replicas in components.canaries(isvc) if predictor else ():
            own = {**isvc, "spec": {**isvc["spec"], components.PREDICTOR: canary.spec}}
            manifest = _manifest(own, canary, runtimes, sight.known.values())
            revision = self._revision(manifest, sight)
            if revision is None:
                assert isinstance(manifest.plan, Refusal)
                self._events.record(isvc, manifest.plan.reason, f"{canary.variant}: {manifest.plan.message}", "Warning")
                continue
            manifests[revision.name] = manifest
            ways.append(Way(revision, percent, replicas))
        return ways

    def _fallen(self, sight: Sight, latest: Revision | None, ways: Iterable[Way]) -> Sight:
        """What there is; as if the latest revision had not been rolled out, if that fails soon after it was ready."""
        past = sight.past
        if latest is None or latest.name != past.rolledout or latest.name not in sight.served:
            return sight
        if latest.fell and not probation.failure(sight.of(latest.name)):
            self._history.mark(sight.isvc, latest, {revisions.FELL_ANNOTATION: None})  # it serves again
            sight.known[latest.name] = replace(latest, fell="")
        former = past.previous
        if former not in sight.known or not sight.alive[former] or not probation.left(latest, self._now()):
            return sight
        why = probation.failure(sight.of(latest.name))
        counting = Counting(sight, self._scale, {way.revision.name: way for way in ways}, latest.name)
        if not why or (sight.alive[latest.name] and not counting.ready(former)):
            return sight
        told = f"Revision {latest.name} failed soon after it was ready, and {former} takes the traffic again: {why}"
        self._events.record(sight.isvc, "RolloutRolledBack", told, "Warning")
        self._history.mark(sight.isvc, latest, {revisions.FELL_ANNOTATION: why})
        sight.known[latest.name] = replace(latest, fell=why)
        return replace(sight, past=Past(former, "", past.shares))

    def _split(self, sight: Sight, latest: Revision | None, ways: list[Way]) -> _Directed:
        """Where the traffic goes."""
        known, past, alive = sight.known, sight.past, sight.alive
        name = "" if latest is None else latest.name
        percent, again, move = _percent(sight.component), None, None
        if latest is not None:
            latest = known[name]
            held, again = self._held_back(sight, latest)
            back = name == past.previous  # it had all the traffic before, and gets it back at once
            if past.rolledout not in ("", name) and not back and not held and (alive[name] or latest.proven):
                move = self._rollouts.move(sight.isvc, sight.component.name, latest, past.rolledout)
            if move is not None:
                percent, again = min(percent, move.progress.percent), move.again
                if move.rejected:
                    known[name] = latest = self._reject(sight.isvc, latest, move.rejected)
                elif move.told:
                    self._events.record(sight.isvc, "RolloutStep", move.told)
            if held or latest.rejected:
                percent = 0
        gradual = move is not None and 0 < percent < 100
        counting = Counting(sight, self._scale, {way.revision.name: way for way in ways}, name, percent, gradual)
        wish = Wish(name, percent, tuple((way.revision.name, way.percent) for way in ways))
        serves, there = (lambda name: alive[name] > 0), known.__contains__
        split = rollout.split(wish, past, ready=counting.ready, serves=serves, known=there)
        return _Directed(split, counting, move, again)

    def _held_back(self, sight: Sight, latest: Revision) -> tuple[bool, float | None]:
        """Whether a revision that failed after it was ready must prove itself first; seconds until it may have."""
        if not latest.fell or sight.past.rolledout == latest.name:
            return False, None
        left = probation.unsteady(sight.of(latest.name), rollout.replicas(sight.component.spec), self._now())
        return left != 0.0, left or None

    def _stays(self, sight: Sight, latest: Revision | None, split: Split) -> tuple[frozenset[str], float | None]:
        """The revisions that get nothing any more and stay for now, in case their successor fails; and for how long.

        None in direct mode: there, whoever lives answers.
        """
        former = split.now.previous
        if latest is None or split.now.rolledout != latest.name or template.direct(sight.isvc):
            return frozenset(), None
        left = probation.left(latest, self._now())
        if not left or former in split.named or former not in sight.known or not sight.alive[former]:
            return frozenset(), None
        return frozenset((former,)), left

    def _shadow(self, isvc: dict[str, Any], component: Component) -> str:
        """How the answers of the shadow compared so far, as a record; "" without a shadow."""
        shadow = shadowing.of(isvc) if component.name == components.PREDICTOR else None
        if shadow is None:
            return ""
        return shadowing.record(shadow, self._compared(isvc["metadata"]["namespace"], shadow.revision))

    def _reject(self, isvc: dict[str, Any], revision: Revision, why: str) -> Revision:
        """Take the traffic from a revision for good."""
        self._events.record(isvc, "RolloutRolledBack", why, "Warning")
        self._history.mark(isvc, revision, {revisions.REJECTED_ANNOTATION: why})
        return replace(revision, rejected=why)


def _percent(component: Component) -> int:
    """Of the traffic that the manifest gives its latest revision."""
    given = component.spec.get("canaryTrafficPercent")
    return 100 if given is None else int(given)


def _former(isvc: dict[str, Any], component: Component, revision: Revision, runtimes: Runtimes) -> Manifest:
    """The manifest of an earlier revision."""
    own = components.restored(isvc, component, revision.template)
    plan = template.plan(own, component.name, _then(runtimes, revision), former=True)
    return Manifest(own, revision.component, plan)


def _manifest(isvc: dict[str, Any], component: Component, runtimes: Runtimes, known: Iterable[Revision]) -> Manifest:
    """The manifest as it is now. Where its user wants no automatic updates, the runtime alone changes nothing."""
    if (isvc["metadata"].get("annotations") or {}).get(NO_AUTO_UPDATE) == "true":
        newest = revisions.newest(each for each in known if each.component[:2] == component[:2])
        made = components.template(isvc, component)
        if newest is not None and made.items() <= newest.template.items():
            runtimes = _then(runtimes, newest)
    return Manifest(isvc, component, template.plan(isvc, component.name, runtimes))


def _then(runtimes: Runtimes, revision: Revision) -> Runtimes:
    """The runtimes of a revision: the one that it began with."""
    kept = revision.template.get("runtime")
    return runtimes if kept is None else runtimes.pinned(kept)
