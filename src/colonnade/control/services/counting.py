"""How many replicas each revision of a component has, at one look.

The autoscaler says so for the stable revisions, the manifest for variants. A rollout has its own say: whoever takes
over traffic has the replicas for it first, and whoever gives it away step by step keeps its own until it is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, NamedTuple, Protocol

from colonnade.control.rollouts import rollout
from colonnade.control.rollouts.rollout import Past
from colonnade.control.workload import revisions
from colonnade.control.workload.components import Component
from colonnade.control.workload.podstatus import is_ready
from colonnade.control.workload.revisions import Revision


class Scale(Protocol):
    """Who knows how many replicas a revision needs now. See `autoscaler`."""

    def wanted(self, namespace: str, revision: Revision, held: int = 0) -> int | None:
        """The number, at least `held`; None where nobody scales and the manifest's own number counts."""


class Way(NamedTuple):
    """A variant of `spec.canary` that can run, with its percent and, if it has one, its own number of replicas."""

    revision: Revision
    percent: int
    replicas: int | None


@dataclass(frozen=True)
class Sight:
    """What there is of one component of a service.

    Attributes:
        past: what was decided before.
        pods: all of them.
        known: its revisions by name.
    """

    isvc: dict[str, Any]
    component: Component
    past: Past
    pods: Sequence[dict[str, Any]]
    known: dict[str, Revision]

    def of(self, revision: str) -> list[dict[str, Any]]:
        """The pods of a revision, without those on their way out."""
        return [pod for pod in self.pods if revisions.of_pod(pod) == revision and not revisions.draining(pod)]

    @property
    def alive(self) -> Counter[str]:
        """How many replicas of each revision take requests."""
        return Counter(revisions.of_pod(pod) for pod in self.pods if is_ready(pod) and not revisions.draining(pod))

    @property
    def served(self) -> frozenset[str]:
        """The revisions that get requests now."""
        return frozenset(share.revision for share in self.past.shares if share.percent)

    @property
    def running(self) -> frozenset[str]:
        """The revisions that one can go back to without a start."""
        return self.served | self.alive.keys()


@dataclass(frozen=True)
class Counting:
    """Counts the replicas of revisions.

    Attributes:
        ways: the variants that can run.
        latest: name of the revision that the manifest asks for, or "".
        percent: of the traffic that this one shall get next.
        gradual: its traffic comes step by step, and may go back at any of them.
    """

    sight: Sight
    scale: Scale
    ways: Mapping[str, Way]
    latest: str
    percent: int = 0
    gradual: bool = False

    def of(self, name: str) -> int:
        """Replicas of a revision that runs."""
        revision, component, isvc = self.sight.known[name], self.sight.component, self.sight.isvc
        if revision.rejected:
            return 0
        held = self._held(revision)
        scaled = self.scale.wanted(isvc["metadata"]["namespace"], revision, held)
        if scaled is not None:
            beside = self.sight.past.rolledout not in ("", name)
            unproven = not revision.proven or revision.fell
            return max(1, scaled) if beside and unproven else scaled  # it must prove itself first
        stable, way = rollout.replicas(component.spec), self.ways.get(name)
        if way is None:
            return max(stable, held)
        return way.replicas or max(1, ceil(stable * way.percent / 100))

    def ready(self, name: str) -> bool:
        """Whether a revision has all the replicas that its share needs. None are needed of what sleeps."""
        alive = self.sight.alive[name]
        if alive and name in self.sight.served and alive >= self._held(self.sight.known[name]):
            return True  # it serves, and goes on while the autoscaler adds to it
        return alive >= self.of(name)

    def _held(self, revision: Revision) -> int:
        """Replicas that a revision needs for the rollout that is under way, whatever its own load says."""
        base = self.sight.past.rolledout
        if base in ("", self.latest):
            return 0
        if revision.name == self.latest:
            return ceil(self.sight.alive[base] * self.percent / 100)
        leaves = self.gradual or revision.component.variant != self.sight.component.variant
        return len(self.sight.of(base)) if revision.name == base and leaves else 0
