"""The ledger: who is admitted, who is looked at again, and what a restart remembers."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade import defaults
from colonnade.control.machine.budget import Budget, Offer
from colonnade.control.workload.podstatus import Unschedulable
from colonnade.control.workqueue import Key
from colonnade.platforms.base import ReplicaSpec, ReplicaState
from colonnade.platforms.budget import Claim, Held, Machine

MACHINE = Machine((0, 1), 2000, 10)


class Ledger:
    """A budget, and the pods that it asked to be looked at."""

    def __init__(self) -> None:
        self.looks: list[str] = []
        self.changes = 0
        self.budget = Budget(MACHINE, lambda key: self.looks.append(key.name), self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def admit(self, name: str, memory: int, created: str = "2026-01-01T00:00:00Z", **spec: Any) -> bool:
        container = {"resources": {"requests": {"memory": memory}}}
        pod = {"metadata": {"creationTimestamp": created}, "spec": {"containers": [container], **spec}}
        return isinstance(self.budget.admit(Key("ns", name), pod), Held)

    def release(self, name: str) -> None:
        self.looks.clear()
        self.budget.release(Key("ns", name))


def test_one_that_waits_is_looked_at_when_there_is_room_and_holds_it_already() -> None:
    ledger = Ledger()
    assert ledger.admit("a", 8)
    assert not ledger.admit("b", 8)
    assert not ledger.admit("c", 8)
    ledger.release("a")
    assert ledger.looks == ["b"], "for c the numbers are as they were"
    assert not ledger.admit("late", 8, priority=9)
    assert ledger.admit("b", 8), "nobody takes what it was given"


def test_a_pod_keeps_what_it_holds_until_it_is_released() -> None:
    ledger = Ledger()
    assert ledger.admit("a", 8)
    assert ledger.admit("a", 8)
    assert ledger.budget.held.keys() == {"ns/a"}
    ledger.release("a")
    assert not ledger.budget.held


def test_the_oldest_comes_first_whoever_asks_first() -> None:
    ledger = Ledger()
    assert ledger.admit("holder", 10)
    assert not ledger.admit("young", 6, "2026-01-01T00:00:05Z")
    assert not ledger.admit("old", 6, "2026-01-01T00:00:01Z")
    assert not ledger.admit("first-of-its-second", 6, "2026-01-01T00:00:05Z")
    assert [one.key for one, _ in ledger.budget.waiting] == ["ns/old", "ns/young", "ns/first-of-its-second"]
    ledger.release("holder")
    assert ledger.admit("old", 6)
    assert not ledger.admit("young", 6)


def test_one_that_stops_waiting_makes_way() -> None:
    ledger = Ledger()
    assert ledger.admit("a", 5)
    assert not ledger.admit("large", 10)
    assert not ledger.admit("small", 5), "what the large one could have is kept for it"
    ledger.release("large")
    assert ledger.looks == ["small"]
    assert ledger.admit("small", 5)


def test_what_never_fits_is_said_and_stands_in_nobody_s_way() -> None:
    ledger = Ledger()
    container = {"resources": {"requests": {"memory": 11}}}
    pod = {"metadata": {}, "spec": {"containers": [container]}}
    found = ledger.budget.admit(Key("ns", "never"), pod)
    assert isinstance(found, Unschedulable)
    assert found.never
    assert ledger.admit("small", 10)


def test_a_restart_knows_what_runs_also_where_it_is_too_much() -> None:
    ledger = Ledger()
    specs = [
        ReplicaSpec(name, "ns", ("x",), "unix:/s", held=Held(Claim(memory=amount)))
        for name, amount in (("a", 8), ("b", 8), ("gone", 8))
    ]
    states = [ReplicaState(spec, 1, 0.0, running=spec.name != "gone") for spec in specs]
    ledger.budget.adopt(states)
    assert ledger.changes == 1
    assert ledger.admit("a", 8)
    assert not ledger.admit("c", 1)
    ledger.release("a")
    assert ledger.admit("c", 1)


@pytest.mark.parametrize(
    ("offer", "claimable"),
    [
        (Offer(2000, 10, 1), {"cpu": 2000 * defaults.OVERCOMMIT_CPU, "memory": 10, "gpu": 1000}),
        (Offer(2000, 10, 0, {"cpu": 1.5, "memory": 2}), {"cpu": 3000, "memory": 20, "gpu": 0}),
    ],
)
def test_what_is_offered(offer: Offer, claimable: dict[str, float]) -> None:
    assert offer.machine({}).claimable == claimable


def test_what_the_machine_has_is_offered() -> None:
    found = Offer().machine({"PATH": ""})
    assert found.cpu >= 1
    assert found.memory > 1 << 20
    assert found.gpus == ()
