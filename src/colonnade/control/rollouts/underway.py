"""The gradual rollouts that are under way: the clock and the measurements round `progress`."""

from __future__ import annotations

import time
from collections.abc import Callable, Container
from typing import Any, NamedTuple

from colonnade import defaults
from colonnade.control.rollouts import analysis, progress
from colonnade.control.rollouts.analysis import Counts, Judgement
from colonnade.control.rollouts.progress import Move, Pace, Progress
from colonnade.control.workload.revisions import Revision
from colonnade.errors import InvalidInput

Measure = Callable[[str, str], Counts]
"""What a revision (namespace, name) has answered so far, at all gateways."""


class _Mark(NamedTuple):
    """What two revisions had answered when a step began."""

    moved: float
    stable: Counts
    fresh: Counts


class _Going(NamedTuple):
    """A rollout that moves evenly.

    Attributes:
        since: from then on time has moved nothing yet.
        looked: the last look at it.
    """

    since: float
    looked: float


_MISSED = 5.0  # seconds beyond the time of a look after which the rollout was not looked at, and stood still


class Rollouts:
    """Moves rollouts on. A control plane that was restarted goes on with the share that it finds, and measures the step
    from then on."""

    def __init__(self, measure: Measure, *, now: Callable[[], float] = time.time) -> None:
        self._measure = measure
        self._now = now
        self._marks: dict[tuple[str, str], _Mark] = {}
        self._going: dict[tuple[str, str], _Going] = {}

    def move(self, isvc: dict[str, Any], component: str, latest: Revision, stable: str) -> Move | None:
        """The next step of a component's rollout; None if its traffic moves at once."""
        namespace = isvc["metadata"]["namespace"]
        annotations = isvc["metadata"].get("annotations") or {}
        try:
            pace = progress.pace(annotations)
        except InvalidInput:  # `template` has refused the manifest
            return None
        if not pace.gradual or latest.rejected or annotations.get(defaults.ROLLOUT_PROMOTED) == latest.name:
            self._marks.pop((namespace, latest.name), None)
            self._going.pop((namespace, latest.name), None)
            return None
        noted = (isvc.get("status") or {}).get("annotations") or {}
        found = progress.recorded(noted).get(component)
        now = self._now()
        key = (namespace, latest.name)
        since = self._since(key, pace, now)
        if found is None or found.revision != latest.name:
            moved = progress.begin(latest.name, pace, now)
        else:
            judgement = self._judge(namespace, stable, found, pace.analysis)
            moved = progress.move(found, pace, judgement, now, now - since)
        if pace.paused:
            self._going.pop(key, None)
        else:
            self._going[key] = _Going(since + moved.spent, now)
        return moved

    def keep(self, revisions: Container[tuple[str, str]]) -> None:
        """Forget what was measured of all revisions but these, each known by its namespace and name."""
        known: tuple[dict[tuple[str, str], Any], ...] = (self._marks, self._going)
        for noted in known:
            for key in [key for key in noted if key not in revisions]:
                del noted[key]

    def _since(self, key: tuple[str, str], pace: Pace, now: float) -> float:
        """From when on time counts for a rollout that moves evenly: now, if it stood still until now."""
        going = self._going.get(key)
        if going is None or now - going.looked > (progress.tick(pace) or 0.0) + _MISSED:
            return now
        return going.since

    def _judge(
        self, namespace: str, stable: str, found: Progress, wanted: analysis.Settings | None
    ) -> Judgement | None:
        if wanted is None:
            return None
        key = (namespace, found.revision)
        one, other = self._measure(namespace, stable), self._measure(namespace, found.revision)
        mark = self._marks.get(key)
        if mark is None or mark.moved != found.moved:
            self._marks[key] = _Mark(found.moved, one, other)
            return None
        return analysis.judge(one.since(mark.stable), other.since(mark.fresh), wanted)
