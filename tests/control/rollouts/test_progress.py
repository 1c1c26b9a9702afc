"""How the share of a new revision grows."""

from __future__ import annotations

import pytest

from colonnade.control.rollouts import progress
from colonnade.control.rollouts.analysis import Judgement, Settings
from colonnade.control.rollouts.progress import Pace, Progress
from colonnade.errors import InvalidInput

NEW = "iris-predictor-00002"
STEPS = Pace(analysis=Settings(steps=(10, 50), interval=60))
GOOD, EARLY, BAD = (Judgement(verdict, "numbers") for verdict in ("step", "hold", "rollback"))


@pytest.mark.parametrize(
    ("pace", "percent"),
    [
        pytest.param(Pace(100.0), 1, id="evenly"),
        pytest.param(STEPS, 10, id="in steps"),
        pytest.param(Pace(paused=True), 0, id="paused"),
        pytest.param(Pace(100.0, paused=True), 0, id="evenly, paused"),
        pytest.param(STEPS._replace(paused=True), 0, id="in steps, paused"),
    ],
)
def test_the_first_share(pace: Pace, percent: int) -> None:
    begun = progress.begin(NEW, pace, 5.0)
    assert begun.progress == Progress(NEW, percent, 5.0)


@pytest.mark.parametrize(
    ("elapsed", "percent", "spent"),
    [(0.5, 30, 0.0), (2.0, 31, 2.0), (5.5, 32, 4.0), (138.0, 99, 138.0), (140.0, 100, 140.0), (500.0, 100, 500.0)],
)
def test_evenly_over_a_time(elapsed: float, percent: int, spent: float) -> None:
    moved = progress.move(Progress(NEW, 30, 0.0), Pace(200.0), None, 1000.0, elapsed)
    assert (moved.progress.percent, moved.spent) == (percent, spent)
    assert moved.progress.moved == (1000.0 if percent > 30 else 0.0)


def test_a_paused_one_stays() -> None:
    found = Progress(NEW, 30, 0.0)
    assert progress.move(found, Pace(100.0, paused=True), None, 90.0, 90.0).progress == found


@pytest.mark.parametrize(
    ("pace", "percent"),
    [
        pytest.param(Pace(), 100, id="at once"),
        pytest.param(Pace(100.0), 1, id="evenly"),
        pytest.param(STEPS, 10, id="in steps"),
        pytest.param(STEPS._replace(paused=True), 0, id="still paused"),
    ],
)
def test_one_that_was_paused_before_its_first_share_begins_when_it_goes_on(pace: Pace, percent: int) -> None:
    assert progress.move(Progress(NEW, 0, 0.0), pace, EARLY, 50.0).progress.percent == percent


@pytest.mark.parametrize(
    ("percent", "judgement", "now", "expected"),
    [
        pytest.param(10, None, 70.0, 10, id="nothing measured yet"),
        pytest.param(10, GOOD, 30.0, 10, id="the step is not over"),
        pytest.param(10, EARLY, 70.0, 10, id="held"),
        pytest.param(10, GOOD, 70.0, 50, id="the next step"),
        pytest.param(50, GOOD, 70.0, 100, id="the last step"),
        pytest.param(100, BAD, 70.0, 100, id="it has everything"),
    ],
)
def test_steps(percent: int, judgement: Judgement | None, now: float, expected: int) -> None:
    moved = progress.move(Progress(NEW, percent, 0.0), STEPS, judgement, now)
    assert (moved.progress.percent, moved.rejected) == (expected, "")
    assert (moved.progress.moved == now) is (percent != expected)
    assert bool(moved.told) is (percent != expected)


@pytest.mark.parametrize("paused", [False, True])
def test_a_bad_one_goes_back_at_once_also_when_paused(paused: bool) -> None:
    moved = progress.move(Progress(NEW, 10, 0.0), STEPS._replace(paused=paused), BAD, 1.0)
    assert moved.rejected == f"Revision {NEW} was rolled back at 10 %: numbers."


def test_where_it_stands_survives() -> None:
    found = {"predictor": Progress(NEW, 10, 2.5)}
    assert progress.recorded({progress.RECORD: progress.record(found)}) == found
    assert progress.recorded({}) == progress.recorded({progress.RECORD: "garbage"}) == {}


@pytest.mark.parametrize(("text", "seconds"), [("380s", 380.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("250ms", 0.25)])
def test_durations(text: str, seconds: float) -> None:
    assert progress.pace({progress.DURATION: text}).duration == seconds


@pytest.mark.parametrize("text", ["380", "s", "1m 30s", "-3s", "1d"])
def test_no_durations(text: str) -> None:
    with pytest.raises(InvalidInput, match="rollout-duration"):
        progress.pace({progress.DURATION: text})
