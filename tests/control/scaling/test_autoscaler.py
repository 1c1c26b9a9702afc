"""The autoscaler over a real store: lines of gateways in, numbers and events out. Only the clock is held still."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colonnade import defaults
from colonnade.autoscale.measured import Target
from colonnade.control.events import Events
from colonnade.control.index import Index
from colonnade.control.objects import Ref
from colonnade.control.scaling.autoscaler import Autoscaler, ScaleKey
from colonnade.control.store import Store
from colonnade.control.workload import components, revisions
from colonnade.control.workload.revisions import Revision
from colonnade.control.workqueue import Key

REVISION = "iris-predictor-00001"
KEY = ScaleKey("default", "iris", "predictor", REVISION)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Meter:
    """Values that a test sets, in the place of processes and metric servers."""

    def __init__(self) -> None:
        self.value: float | None = None
        self.asked = 0

    async def values(self, namespace: str, targets: tuple[Target, ...], pods: list[Any]) -> tuple[float | None, ...]:
        self.asked += 1
        return (self.value,) * len(targets)


class Scene:
    """A service, its pods, and an autoscaler that looks at them."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.index = Index(store)
        self.clock, self.meter = Clock(), Meter()
        self.changed: list[Key] = []
        self.restart()

    def restart(self) -> None:
        events = Events(self.store)
        self.autoscaler = Autoscaler(self.index, events, self.meter, self.changed.append, limit=100, clock=self.clock)

    def service(self, predictor: dict[str, Any] | None = None, annotations: dict[str, str] | None = None) -> None:
        isvc = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "iris", "annotations": annotations or {}},
            "spec": {"predictor": {"sklearn": {"storageUri": "/m"}, **(predictor or {})}},
        }
        ref = Ref("serving.kserve.io", "inferenceservices", "default", "iris")
        if self.store.get(ref) is None:
            self.store.create(ref, isvc)
        else:
            self.store.update(ref, isvc)

    def revision(self, *, proven: bool = True, variant: str = "") -> Revision:
        component = components.Component("predictor", variant, {})
        return Revision("iris", component, 1, "0" * 16, proven=proven)

    def wanted(self, *, proven: bool = True) -> int | None:
        return self.autoscaler.wanted("default", self.revision(proven=proven))

    def pods(self, count: int, *, ready: bool = True) -> None:
        """Exactly so many pods of the revision."""
        for pod in self.index.pods(Key("default", "iris")):
            self.store.delete(Ref("", "pods", "default", pod["metadata"]["name"]))
        for number in range(count):
            condition = {"type": "Ready", "status": "True" if ready else "False"}
            metadata = {"name": f"p{number}", "labels": revisions.labels(self.revision())}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"conditions": [condition]}}
            self.store.create(Ref("", "pods", "default", f"p{number}"), pod)

    def tell(self, concurrency: float, *, held: int = 0, seconds: int = 1, worker: int = 0) -> None:
        """Lines of a gateway for so many seconds."""
        for _ in range(seconds):
            self.clock.now += 1.0
            told: dict[str, Any] = {
                "namespace": "default",
                "service": "iris",
                "component": "predictor",
                "revision": REVISION,
            }
            told |= {"concurrency": concurrency, "requests": 10, "held": held, "seconds": 1.0, "answers": 5}
            self.autoscaler.observe(worker, told)

    def quiet(self, seconds: int, worker: int = 0) -> None:
        """A gateway that lives and has nothing to tell."""
        for _ in range(seconds):
            self.clock.now += 1.0
            self.autoscaler.observe(worker, {})

    def decide(self) -> int | None:
        self.autoscaler.poke(KEY)
        return self.wanted()

    @property
    def events(self) -> list[str]:
        return [event["message"] for event in self.store.list("", "events")[0]]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    store = Store(tmp_path / "store.db")
    yield Scene(store)
    store.close()


def test_a_new_revision_begins_with_its_initial_scale(scene: Scene) -> None:
    scene.service({"minReplicas": 0}, {"autoscaling.knative.dev/initial-scale": "2"})
    assert scene.wanted(proven=False) == 2


def test_load_brings_replicas_with_an_event_that_has_the_numbers(scene: Scene) -> None:
    scene.service({"scaleTarget": 10})
    scene.pods(1)
    assert scene.wanted() == 1
    scene.tell(35.0, seconds=6)
    assert scene.decide() == 5
    assert scene.changed == [Key("default", "iris")]
    assert scene.events == [
        f"New size: 5, was 1, of {REVISION}; reason: 35 requests at a time over 6 s, 7 a replica, in panic"
    ]


def test_the_processes_of_a_gateway_are_added_up(scene: Scene) -> None:
    scene.service({"scaleTarget": 10, "scaleMetric": "concurrency"})
    scene.pods(4)
    scene.wanted()
    for _ in range(10):
        scene.tell(14.0)
        scene.clock.now -= 1.0
        scene.tell(21.0, worker=1)
    assert scene.decide() == 5


def test_a_held_request_wakes_a_sleeping_revision_at_once(scene: Scene) -> None:
    scene.service({"minReplicas": 0})
    assert scene.wanted() == 0
    scene.tell(0.0, held=1)
    assert scene.wanted() == 1
    assert scene.changed == [Key("default", "iris")]


def test_what_a_dead_gateway_process_held_keeps_nothing_awake(scene: Scene) -> None:
    scene.service({"minReplicas": 0}, {"autoscaling.knative.dev/window": "10s"})
    scene.wanted()
    scene.tell(1.0, held=3)
    assert scene.wanted() == 1
    scene.quiet(20)
    assert scene.decide() == 0


def test_it_sleeps_when_nobody_asked_for_a_window(scene: Scene) -> None:
    scene.service({"minReplicas": 0}, {"autoscaling.knative.dev/window": "10s"})
    scene.pods(1)
    scene.wanted()
    scene.tell(1.0, seconds=3)
    scene.quiet(9)
    assert scene.decide() == 1
    scene.quiet(2)
    assert scene.decide() == 0


def test_nothing_is_taken_away_while_a_gateway_is_not_heard(scene: Scene) -> None:
    scene.service({"minReplicas": 0})
    scene.pods(1)
    scene.wanted()
    scene.tell(1.0)
    scene.clock.now += 500.0
    assert scene.decide() == 1
    scene.quiet(100, worker=1)  # of two processes one is heard
    assert scene.decide() == 1
    scene.quiet(1)
    assert scene.decide() == 0


def test_a_restarted_control_plane_keeps_what_runs_for_a_window(scene: Scene) -> None:
    scene.service({"minReplicas": 0})
    scene.pods(4)
    scene.restart()
    assert scene.wanted() == 4
    scene.quiet(59)
    assert scene.decide() == 4
    scene.quiet(3)
    assert scene.decide() == 2


def test_what_a_rollout_holds_stays_for_a_window_after_it(scene: Scene) -> None:
    scene.service({"minReplicas": 1, "maxReplicas": 5})
    wanted, revision = scene.autoscaler.wanted, scene.revision(proven=False)
    assert wanted("default", revision, 4) == 4
    scene.pods(4)
    scene.quiet(120)
    scene.autoscaler.poke(KEY)
    assert wanted("default", revision, 4) == 4, "they are held, however long they start"
    assert wanted("default", revision) == 4
    scene.quiet(59)
    assert scene.decide() == 4
    scene.quiet(3)
    assert scene.decide() == 2
    assert wanted("default", revision, 9) == 5, "no rollout goes beyond maxReplicas"


def test_a_change_of_the_manifest_counts_at_once(scene: Scene) -> None:
    scene.service()
    scene.pods(1)
    assert scene.wanted() == 1
    scene.service({"minReplicas": 3})
    assert scene.wanted() == 3
    scene.service({"minReplicas": 3, "maxReplicas": 3}, {"serving.kserve.io/autoscalerClass": "none"})
    assert scene.wanted() == 3


def test_without_a_limit_of_the_manifest_the_machine_is_the_limit(scene: Scene) -> None:
    scene.service({"scaleTarget": 1})
    scene.pods(1)
    scene.wanted()
    scene.tell(5000.0, seconds=6)
    assert scene.decide() == 100


def test_a_canary_has_its_number_from_the_manifest(scene: Scene) -> None:
    scene.service()
    assert scene.autoscaler.wanted("default", scene.revision(variant="blue")) is None
    assert (
        scene.autoscaler.wanted("default", Revision("gone", components.Component("predictor", "", {}), 1, "0")) is None
    )


def test_lines_of_what_is_not_scaled_are_passed_over(scene: Scene) -> None:
    scene.tell(5.0, held=3)
    assert scene.changed == []
    assert scene.autoscaler.last(KEY) is None


def test_a_stored_manifest_that_cannot_be_scaled_by_runs_with_its_least_number(scene: Scene) -> None:
    scene.service({"minReplicas": 2}, {"autoscaling.knative.dev/window": "1s"})
    assert scene.wanted() == 2


async def test_the_loop_decides_measures_and_forgets(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "AUTOSCALE_TICK", 0.01)
    scene.service({"scaleMetric": "cpu", "scaleTarget": 50, "maxReplicas": 8})
    scene.pods(2)
    scene.meter.value = 100.0
    assert scene.wanted() == 2
    task = asyncio.create_task(scene.autoscaler.run())
    try:
        async with asyncio.timeout(10):
            while scene.wanted() != 4:
                await asyncio.sleep(0.01)
            assert scene.meter.asked == 1  # values have a pace of their own
            scene.pods(4)
            assert scene.decide() == 4  # and are not counted twice: they were of two replicas
            assert "cpu 100% against 50%" in scene.events[-1]
            scene.clock.now += 1000.0
            while scene.autoscaler.last(KEY) is not None:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_how_revisions_are_scaled_is_told(scene: Scene) -> None:
    scene.service({"minReplicas": 0, "scaleTarget": 1, "scaleMetric": "concurrency"})
    assert list(scene.autoscaler.scaled()) == []
    scene.pods(1)
    scene.wanted()
    scene.tell(5.0, held=3, seconds=7)
    scene.decide()
    (found,) = scene.autoscaler.scaled()
    assert (found.key, found.ready, found.held) == (KEY, 1, 3)
    assert found.wanted > 1
    assert found.last is not None
    assert found.last.panic
