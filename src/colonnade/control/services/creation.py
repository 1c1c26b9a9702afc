"""The pods of a revision: stored once its models are there, and its Python environment is made.

Until then nothing is started, and what is missing is told instead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colonnade.control.events import Events
from colonnade.control.models import holding, safety
from colonnade.control.models.environments import EnvironmentBuilder
from colonnade.control.models.fetching import Fetched, Fetcher, FetchFailed
from colonnade.control.objects import Ref
from colonnade.control.replicas import trials
from colonnade.control.services.deployed import Failure
from colonnade.control.store import Store
from colonnade.control.templates import template
from colonnade.control.templates.template import Plan, Refusal
from colonnade.control.workload import revisions
from colonnade.control.workload.components import PREDICTOR, Component
from colonnade.control.workload.podstatus import is_ready, moment
from colonnade.control.workload.revisions import Revision
from colonnade.control.workload.sources import ORIGIN
from colonnade.control.workqueue import Key
from colonnade.storage.scan import Report
from colonnade.storage.uri import redacted


@dataclass(frozen=True)
class Manifest:
    """A service as one revision of a component has it, and how that revision runs."""

    isvc: dict[str, Any]
    component: Component
    plan: Plan | Refusal


@dataclass(frozen=True)
class Outcome:
    """Why pods are not made yet, if they are not; or what their models were taken from instead of their URIs."""

    failure: Failure | None = None
    fetching: bool = False
    again: float | None = None
    progress: str = ""
    origin: str = ""
    reports: tuple[Report, ...] = ()
    held: tuple[holding.Held, ...] = ()


class Creation:
    """Makes pods. `look` asks for another look at a service when something that was missing is there."""

    def __init__(
        self,
        store: Store,
        events: Events,
        fetcher: Fetcher,
        environments: EnvironmentBuilder,
        look: Callable[[Key], None],
    ) -> None:
        self._store = store
        self._events = events
        self._fetcher = fetcher
        self._environments = environments
        self._look = look

    def create(self, manifest: Manifest, revision: Revision, missing: int, found: Iterable[dict[str, Any]]) -> Outcome:
        """Store the missing pods of a revision, of whose component those in `found` are there."""
        plan = manifest.plan
        if isinstance(plan, Refusal):
            return Outcome(Failure(plan.reason, plan.message, revision=revision.name))
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
            if manifest.component.name == PREDICTOR:
                sample = trials.noted(sample, next(iter(models.values()), None))
        for _ in range(missing):
            pod = template.named(sample, revisions.pod_name(revision))
            name = pod["metadata"]["name"]
            self._store.create(Ref("", "pods", manifest.isvc["metadata"]["namespace"], name), pod)
            self._events.record(manifest.isvc, "SuccessfulCreate", f"Created pod: {name}")
        return Outcome()

    def forget(self, revision: str) -> None:
        """Drop what is known of the models and the environment of a revision that is gone (its namespace and name)."""
        self._fetcher.forget(revision)
        self._environments.forget(revision)

    def _models(self, isvc: dict[str, Any], revision: Revision, plan: Plan) -> tuple[dict[str, Path] | None, Outcome]:
        """Local path by URI if all are there, and else what is known of why not."""
        key = Key(isvc["metadata"]["namespace"], isvc["metadata"]["name"])
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
                return None, Outcome(failure, again=again, reports=refused)
            if not isinstance(outcome, Fetched):
                return None, Outcome(fetching=True, progress=outcome.text(source.uri))
            paths[source.mount] = outcome.path
            origins += [outcome.origin] if outcome.origin else []
            reports += [outcome.report] if outcome.report is not None else []
            held += [holding.held(outcome.path, source)] if outcome.in_place else []
        return paths, Outcome(origin="; ".join(origins), reports=tuple(reports), held=tuple(held))

    def _environment(
        self, isvc: dict[str, Any], revision: Revision, plan: Plan, models: Mapping[str, Path]
    ) -> tuple[Outcome | None, Path | None]:
        """Why the Python environment of a revision is not there yet, or else its folder if it has one of its own."""
        key = Key(isvc["metadata"]["namespace"], isvc["metadata"]["name"])
        owner = f"{key.namespace}/{revision.name}"
        model = models[plan.sources[0].mount] if plan.sources else None
        outcome = self._environments.ask(owner, revision.number, plan.isolation, model, lambda: self._look(key))
        if isinstance(outcome, FetchFailed):
            failure = Failure("ModelLoadFailed", outcome.message, "", revision.name, moment(outcome.at))
            return Outcome(failure, again=max(0.05, outcome.at + outcome.retry_in - time.time())), None
        if outcome is None or isinstance(outcome, Fetched):
            return None, None if outcome is None else outcome.path
        return Outcome(fetching=True, progress="Making the Python environment of its requirements"), None
