"""How many replicas a revision has while a rollout is under way: tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from colonnade.control.rollouts.rollout import Past, Share
from colonnade.control.services.counting import Counting, Sight, Way
from colonnade.control.workload.components import Component
from colonnade.control.workload.revisions import Revision

from ..kserve_objects import isvc, pod, revision

A, B, BLUE = "iris-predictor-00001", "iris-predictor-00002", "iris-blue-predictor-00003"


@dataclass(frozen=True)
class Load:
    """A scale by whose load each stable revision needs so many replicas; None where nobody scales."""

    needs: int | None

    def wanted(self, namespace: str, revision: Revision, held: int = 0) -> int | None:
        return None if self.needs is None or revision.component.variant else max(self.needs, held)


def pods(old: int, new: int) -> list[dict[str, Any]]:
    return [pod(f"a{each}", 1) for each in range(old)] + [pod(f"b{each}", 2) for each in range(new)]


def counting(
    old: int, new: int, percent: int, share: int = 0, needs: int | None = 1, *, gradual: bool = False, **more: Any
) -> Counting:
    """Revision 1 has `old` replicas and the rest of the traffic, revision 2 has `new` and `share` percent."""
    component = Component("predictor", more.pop("variant", ""), {"minReplicas": more.pop("least", 1)})
    known = {A: revision(1, proven=True), B: revision(2, proven=True, **more), BLUE: revision(3, variant="blue")}
    before = Past(A, "", (Share(A, 100 - share), Share(B, share)))
    ways = {BLUE: Way(known[BLUE], 50, None)}
    return Counting(
        Sight(isvc(), component, before, pods(old, new), known), Load(needs), ways, B, percent, gradual=gradual
    )


@pytest.mark.parametrize(
    ("old", "percent", "count"),
    [
        pytest.param(1, 100, 1, id="one for one"),
        pytest.param(4, 100, 4, id="as many as it replaces"),
        pytest.param(4, 50, 2, id="its share of them"),
        pytest.param(4, 10, 1, id="rounded up"),
        pytest.param(4, 0, 1, id="pinned: what its own load asks for"),
        pytest.param(0, 100, 1, id="the one before sleeps"),
    ],
)
def test_a_new_revision_has_the_replicas_for_the_traffic_that_it_takes(old: int, percent: int, count: int) -> None:
    assert counting(old, 0, percent).of(B) == count
    assert counting(old, 0, percent, needs=None).of(B) == count


@pytest.mark.parametrize(
    ("new", "share", "percent", "ready"),
    [
        pytest.param(1, 0, 100, False, id="one of four is not enough for all the traffic"),
        pytest.param(4, 0, 100, True, id="four are"),
        pytest.param(1, 10, 100, False, id="nor is the one of a canary that is promoted"),
        pytest.param(1, 10, 10, True, id="which is enough for its share"),
        pytest.param(0, 10, 10, False, id="none is not"),
    ],
)
def test_it_gets_the_traffic_only_with_them(new: int, share: int, percent: int, ready: bool) -> None:
    assert counting(4, new, percent, share).ready(B) == ready


def test_a_rollout_in_steps_keeps_the_replicas_that_would_take_the_traffic_back() -> None:
    assert counting(4, 2, 50, 30, gradual=True).of(A) == 4
    assert counting(4, 2, 50, 50).of(A) == 1
    assert counting(4, 1, 100, variant="blue").of(A) == 4, "nobody scales it any more, and it still serves"


def test_what_must_prove_itself_has_a_replica() -> None:
    assert counting(0, 0, 100, needs=0).of(B) == 0
    assert counting(0, 0, 100, needs=0, fell="exit code 9").of(B) == 1
    assert counting(4, 4, 100, rejected="slow").of(B) == 0


def test_a_variant_has_its_number_from_the_manifest() -> None:
    assert counting(2, 0, 100, least=3).of(BLUE) == 2
