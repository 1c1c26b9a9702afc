"""Who is put to sleep for whom, on a real store with an autoscaler that is told by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonnade.control.events import Events
from colonnade.control.index import Index
from colonnade.control.machine.budget import Budget
from colonnade.control.machine.eviction import GOING, Eviction
from colonnade.control.objects import Ref
from colonnade.control.scaling.autoscaler import Autoscaler, ScaleKey
from colonnade.control.store import Store
from colonnade.control.workload import revisions
from colonnade.control.workload.components import Component
from colonnade.control.workload.revisions import Revision
from colonnade.control.workqueue import Key
from colonnade.platforms.budget import Claim, Machine


class Unmeasured:
    async def values(self, namespace: str, targets: Any, pods: Any) -> tuple[None, ...]:
        return (None,) * len(targets)


class House:
    """Services with one pod each, that ask for room in the order in which they are made."""

    def __init__(self, folder: Path, memory: int) -> None:
        self.now = 100.0
        self.store = Store(folder / "db")
        self.index = Index(self.store)
        self.events = Events(self.store)
        self.budget = Budget(Machine((0, 1), 2000, memory), lambda key: None)
        self.scaler = Autoscaler(
            self.index, self.events, Unmeasured(), lambda key: None, limit=4, clock=lambda: self.now
        )
        self.eviction = Eviction(self.budget, self.store, self.index, self.scaler, self.events, clock=lambda: self.now)

    def service(self, name: str, memory: int, least: int = 0, *, ready: bool = True, proven: bool = True) -> None:
        predictor = {"minReplicas": least, "maxReplicas": 1, "model": {"modelFormat": {"name": "python"}}}
        isvc = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name},
            "spec": {"predictor": predictor},
        }
        self.store.create(Ref("serving.kserve.io", "inferenceservices", "ns", name), isvc)
        revision = Revision(name, Component("predictor", "", predictor), 1, "x", proven=proven)
        pod = {
            "metadata": {"labels": revisions.labels(revision)},
            "spec": {"containers": [{"resources": {"requests": {"memory": memory}}}]},
            "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
        }
        self.store.create(Ref("", "pods", "ns", name), pod)
        self.scaler.wanted("ns", revision)
        self.budget.admit(Key("ns", name), self.store.get(Ref("", "pods", "ns", name)) or {})

    def line(self, name: str, **told: Any) -> None:
        named = {"namespace": "ns", "service": name, "component": "predictor", "revision": f"{name}-predictor-00001"}
        self.scaler.observe(0, {**named, "seconds": 1.0, **told})

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.scaler.observe(0, {})

    def asleep(self) -> set[str]:
        found = (event for event in self.store.list("", "events")[0] if event["reason"] == "Evicted")
        return {event["involvedObject"]["name"] for event in found}

    def gone(self, name: str) -> None:
        self.store.delete(Ref("", "pods", "ns", name))
        self.budget.release(Key("ns", name))


@pytest.fixture
def house(tmp_path: Path) -> Any:
    made = House(tmp_path, 10)
    yield made
    made.index.close()
    made.store.close()


def test_the_longest_unused_goes_and_no_second_one_while_it_goes(house: House) -> None:
    house.service("a", 5)
    house.service("b", 5)
    house.pass_time(1)
    house.line("a", requests=1)
    house.pass_time(10)
    house.service("new", 5)
    house.eviction.step()
    assert house.asleep() == {"b"}
    house.pass_time(5)
    house.eviction.step()
    assert house.asleep() == {"b"}, "its process ends yet"
    messages = {event["reason"]: event["message"] for event in house.store.list("", "events")[0]}
    assert messages["Evicted"] == "Scaled b-predictor-00001 to zero, unused for 11 s, to make room for ns/new"
    assert "Insufficient memory: requested 5, free 0 of 10. Scaled ns/b" in messages["MakingRoom"]
    house.gone("b")
    assert set(house.budget.held) == {"ns/a", "ns/new"}
    assert house.scaler.last(ScaleKey("ns", "b", "predictor", "b-predictor-00001")) is None
    house.pass_time(GOING + 1)
    house.eviction.step()
    assert house.asleep() == {"b"}, "nobody waits any more"


def test_one_that_stays_after_all_is_no_room_that_comes(house: House) -> None:
    house.service("a", 5)
    house.service("b", 5)
    house.pass_time(10)
    house.service("new", 5)
    house.eviction.step()
    house.pass_time(GOING + 1)
    house.line("a", held=1)  # a request woke it before its pod was retired
    house.eviction.step()
    assert house.asleep() == {"a", "b"}


@pytest.mark.parametrize("told", [{"concurrency": 0.01}, {"requests": 1}, {"held": 1}])
def test_one_with_requests_is_never_taken(house: House, told: dict[str, Any]) -> None:
    house.service("a", 10)
    house.pass_time(60)
    house.line("a", **told)
    house.service("new", 5)
    house.eviction.step()
    house.pass_time(4)
    house.line("a", **told)
    house.pass_time(4)
    house.eviction.step()
    assert house.asleep() == set()


def test_what_must_run_or_starts_or_would_not_be_enough_is_not_taken(house: House) -> None:
    house.service("kept", 6, least=1)
    house.service("starting", 2, ready=False)
    house.service("small", 2)
    house.pass_time(60)
    house.service("new", 5)
    house.eviction.step()
    assert house.asleep() == set()
    house.service("tiny", 2)  # behind it in line, and it would fit in place of the small one
    house.eviction.step()
    assert house.asleep() == set()


def test_nothing_is_taken_while_the_gateway_is_not_heard(house: House) -> None:
    house.service("a", 10)
    house.pass_time(10)
    house.service("new", 5)
    house.now += 60
    house.eviction.step()
    assert house.asleep() == set()
    house.pass_time(0)
    house.eviction.step()
    assert house.asleep() == {"a"}


def test_a_service_does_not_make_room_for_itself(house: House) -> None:
    house.service("a", 10)
    house.pass_time(10)
    labels = {"labels": (house.store.get(Ref("", "pods", "ns", "a")) or {})["metadata"]["labels"]}
    second = {"metadata": labels, "spec": {"containers": [{"resources": {"requests": {"memory": 5}}}]}}
    house.store.create(Ref("", "pods", "ns", "a2"), second)
    house.budget.admit(Key("ns", "a2"), house.store.get(Ref("", "pods", "ns", "a2")) or {})
    house.eviction.step()
    assert house.asleep() == set()


def test_a_request_wakes_what_was_put_to_sleep(house: House) -> None:
    house.service("a", 10)
    house.pass_time(10)
    house.service("new", 5)
    house.eviction.step()
    revision = Revision("a", Component("predictor", "", {}), 1, "x", proven=True)
    assert house.scaler.wanted("ns", revision) == 0
    house.line("a", held=1)
    assert house.scaler.wanted("ns", revision) == 1


def test_claims_of_nothing_never_wait(house: House) -> None:
    house.service("a", 10)
    house.service("free", 0)
    assert house.budget.held["ns/free"].claim == Claim()
