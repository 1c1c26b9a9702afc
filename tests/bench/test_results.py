"""Ratios are paired by round; a goal is judged by the median of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.goals import GOALS, Goal, Verdict
from bench.report import goals_table
from bench.results import Figures, Series, Spread, difference, load, ratio, save
from bench.servers import SERVERS
from bench.workloads import WORKLOADS


def series(*rounds: dict[str, float]) -> Series:
    """One with a single measure, `rps`."""
    turns: list[dict[str, Figures]] = [{name: {"rps": value} for name, value in turn.items()} for turn in rounds]
    return Series(date="2026-01-01 00:00", seconds=1, rounds=turns)


def test_a_ratio_is_made_inside_a_round() -> None:
    measured = series({"us": 100, "peer": 50}, {"us": 10, "peer": 1}, {"us": 30, "peer": 10})
    assert ratio(measured, "us", ["peer"], "rps") == Spread(3, 2, 10)


def test_the_best_of_several_bases_is_that_of_the_round() -> None:
    measured = series({"us": 100, "a": 50, "b": 10}, {"us": 100, "a": 10, "b": 25})
    assert ratio(measured, "us", ["a", "b"], "rps") == Spread(3, 2, 4)
    assert ratio(measured, "us", ["a", "b"], "rps", best=False) == Spread(10, 10, 10)
    assert difference(measured, "us", ["a", "b"], "rps") == Spread(90, 90, 90)


@pytest.mark.parametrize("rounds", [[], [{"us": 1.0}], [{"peer": 1.0}], [{"us": 1.0}, {"peer": 1.0}]])
def test_rounds_that_lack_one_of_both_make_no_ratio(rounds: list[dict[str, float]]) -> None:
    assert ratio(series(*rounds), "us", ["peer"], "rps") is None


@pytest.mark.parametrize(
    ("at_least", "value", "verdict"),
    [
        (True, 2.0, Verdict.MET),
        (True, 1.9, Verdict.MISSED),
        (False, 2.0, Verdict.MET),
        (False, 2.1, Verdict.MISSED),
    ],
)
def test_a_goal_is_judged_by_the_median(at_least: bool, value: float, verdict: Verdict) -> None:
    def read(measured: Series, server: str) -> Spread | None:
        return Spread.of(measured.values(server, "rps"))

    goal = Goal("work", "us", "", read, 2.0, at_least=at_least)
    measured = series({"us": 0.0}, {"us": value}, {"us": 9.0})
    assert goal.judge({"work": measured}) == (Spread(value, 0.0, 9.0), verdict)


def test_what_was_not_measured_is_never_met() -> None:
    assert {goal.judge({})[1] for goal in GOALS} == {Verdict.UNMEASURED}
    empty = {name: series() for name in WORKLOADS}
    assert {goal.judge(empty)[1] for goal in GOALS} == {Verdict.UNMEASURED}
    assert len(goals_table(empty)) == len(GOALS) + 2


def test_goals_and_workloads_name_servers_that_take_part() -> None:
    for workload in WORKLOADS.values():
        assert set(workload.servers) <= set(SERVERS)
    for goal in GOALS:
        assert goal.server in WORKLOADS[goal.workload].servers


def test_results_survive_the_file(tmp_path: Path) -> None:
    found = {"work": series({"us": 1.5})}
    save(tmp_path / "results.json", found)
    assert load(tmp_path / "results.json") == found
    assert load(tmp_path / "none.json") == {}
