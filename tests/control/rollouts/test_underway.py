"""Rollouts in time: what is measured, from when on, and what a restart changes."""

from __future__ import annotations

from typing import Any

from colonnade import defaults
from colonnade.control.rollouts import progress
from colonnade.control.rollouts.analysis import Counts
from colonnade.control.rollouts.progress import Progress
from colonnade.control.rollouts.traffic import Traffic
from colonnade.control.rollouts.underway import Rollouts
from colonnade.observe import latency

from ..kserve_objects import isvc, revision

ONE, TWO = "iris-predictor-00001", "iris-predictor-00002"
ANALYSED = {"colonnade.dev/analysis": '{"steps": [10, 50], "interval": 60, "minRequests": 10}'}


class Scene:
    """A clock, what gateways answered, and a service in the middle of a rollout."""

    def __init__(self, annotations: dict[str, str]) -> None:
        self.now = 1000.0
        self.traffic = Traffic()
        self.rollouts = Rollouts(self.traffic.counts, now=lambda: self.now)
        self.isvc = isvc(annotations=annotations)

    def answered(self, name: str, answers: int, errors: int = 0, epoch: float = 1.0, **more: Any) -> None:
        line: dict[str, Any] = {"namespace": "ns", "revision": name, "epoch": epoch, "latencies": []}
        self.traffic.observe(0, {**line, "answers": answers, "errors": errors, **more})

    def move(self, **fields: Any) -> progress.Move | None:
        found = self.rollouts.move(self.isvc, "predictor", revision(2, **fields), ONE)
        if found is not None:
            noted = {progress.RECORD: progress.record({"predictor": found.progress})}
            self.isvc["status"] = {"annotations": noted}
        return found

    def wait(self, seconds: float, each: float = 0.5) -> int:
        """Let time pass, with a look `each` so many seconds; the percent in the end."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + each, until)
            found = self.percent()
        return found

    @property
    def annotations(self) -> dict[str, str]:
        found: dict[str, str] = self.isvc["metadata"]["annotations"]
        return found

    def percent(self) -> int:
        found = self.move()
        assert found is not None
        return found.progress.percent


def test_without_annotations_nothing_is_gradual() -> None:
    assert Scene({}).move() is None


def test_steps_over_time() -> None:
    scene = Scene(ANALYSED)
    assert scene.percent() == 10
    assert scene.percent() == 10  # from here on it is measured
    scene.answered(ONE, 100)
    scene.answered(TWO, 20)
    scene.now += 61
    assert scene.percent() == 50
    assert scene.percent() == 50
    scene.now += 61
    assert scene.percent() == 50, "nothing was answered since the step"
    scene.answered(TWO, 40)
    assert scene.percent() == 100


def test_errors_before_the_step_do_not_count_and_later_ones_do() -> None:
    scene = Scene(ANALYSED)
    scene.answered(TWO, 100, 100)
    scene.percent()
    scene.percent()
    scene.answered(ONE, 200)
    scene.answered(TWO, 150, 100)
    found = scene.move()
    assert found is not None
    assert not found.rejected
    scene.answered(TWO, 200, 150)
    found = scene.move()
    assert found is not None
    assert "errors 50.00% of 100 against 0.00% of 200" in found.rejected


def test_a_restarted_control_plane_measures_anew() -> None:
    scene = Scene(ANALYSED)
    scene.percent()
    scene.percent()
    scene.answered(TWO, 100, 100)
    scene.rollouts = Rollouts(scene.traffic.counts, now=lambda: scene.now)
    found = scene.move()
    assert found is not None
    assert (found.progress.percent, found.rejected) == (10, "")


def test_a_promoted_or_rejected_revision_is_not_gradual() -> None:
    assert Scene({**ANALYSED, defaults.ROLLOUT_PROMOTED: TWO}).move() is None
    assert Scene(ANALYSED).move(rejected="errors") is None
    assert Scene({progress.DURATION: "nonsense"}).move() is None


def test_another_revision_begins_anew() -> None:
    scene = Scene({progress.DURATION: "100s"})
    scene.isvc["status"] = {"annotations": {progress.RECORD: progress.record({"predictor": Progress(ONE, 70, 0.0)})}}
    assert scene.percent() == 1
    assert scene.wait(42) == 42


def test_a_pause_moves_nothing_and_it_goes_on_where_it_stood() -> None:
    scene = Scene({progress.DURATION: "100s"})
    scene.percent()
    assert scene.wait(40) == 40
    scene.annotations[defaults.ROLLOUT_PAUSED] = "true"
    assert scene.wait(300) == 40
    del scene.annotations[defaults.ROLLOUT_PAUSED]
    assert scene.percent() == 40
    assert scene.wait(59) == 99
    assert scene.wait(1) == 100


def test_a_restarted_control_plane_goes_on_where_the_traffic_stood() -> None:
    scene = Scene({progress.DURATION: "100s"})
    scene.percent()
    assert scene.wait(40) == 40
    scene.now += 3600  # it was down
    scene.rollouts = Rollouts(scene.traffic.counts, now=lambda: scene.now)
    assert scene.percent() == 40
    assert scene.wait(20) == 60


def test_a_time_without_a_look_moves_nothing() -> None:
    scene = Scene({progress.DURATION: "100s"})
    scene.percent()
    assert scene.wait(40) == 40
    scene.now += 3600  # the service was stopped, or its new revision not ready
    assert scene.percent() == 40


def test_looks_that_come_late_make_it_no_slower() -> None:
    scene = Scene({progress.DURATION: "100s"})
    scene.percent()
    assert scene.wait(60, each=3.7) == 60


def test_counts_are_summed_over_processes_and_their_restarts() -> None:
    traffic = Traffic()
    line: dict[str, Any] = {"namespace": "ns", "revision": ONE, "errors": 0}
    traffic.observe(0, {**line, "epoch": 1.0, "answers": 10, "latencies": [4, 6]})
    traffic.observe(1, {**line, "epoch": 2.0, "answers": 5, "errors": 1, "latencies": [5, 0]})
    assert traffic.counts("ns", ONE) == Counts(15, 1, (9, 6))
    traffic.observe(0, {**line, "epoch": 3.0, "answers": 1, "latencies": [1, 0]})
    assert traffic.counts("ns", ONE) == Counts(16, 1, (10, 6))
    traffic.observe(0, {})
    traffic.keep(set())
    assert traffic.counts("ns", ONE) == Counts()


def test_what_is_under_way_counts_as_long_as_its_process_is_heard() -> None:
    now = 10.0
    traffic = Traffic(now=lambda: now)
    line: dict[str, Any] = {"namespace": "ns", "revision": ONE, "answers": 1, "latencies": [1, 0]}
    traffic.observe(0, {**line, "epoch": 1.0, "late": [0, 3]})
    traffic.observe(1, {**line, "epoch": 1.0, "late": []})
    assert traffic.counts("ns", ONE) == Counts(2, 0, (2, 0), (0, 3))
    now += 4
    traffic.observe(1, {**line, "epoch": 1.0, "late": [2, 0]})
    assert traffic.counts("ns", ONE).late == (2, 3)
    now += 2
    assert traffic.counts("ns", ONE).late == (2, 0), "the first process tells nothing any more"
    traffic.observe(1, {**line, "epoch": 2.0, "late": []})
    assert traffic.counts("ns", ONE) == Counts(3, 0, (3, 0), ()), "what was under way ended with its process"


def test_a_revision_that_hangs_is_rolled_back_without_an_answer() -> None:
    scene = Scene(ANALYSED)
    scene.percent()
    scene.percent()
    scene.answered(ONE, 100, latencies=_latencies(0.01, 100))
    scene.answered(TWO, 0, late=_latencies(17.0, 4))
    found = scene.move()
    assert found is not None
    assert "4 of 4 requests hang, without an answer for more than 10 s" in found.rejected


def _latencies(seconds: float, count: int) -> list[int]:
    found = [0] * len(latency.BOUNDS)
    found[latency.bucket(seconds)] = count
    return found
