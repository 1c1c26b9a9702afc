"""Recorded loads through the decision: what comes out, second by second, as a picture and as a summary."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from colonnade.autoscale import plot, settings
from colonnade.autoscale.decision import Fixed, Settings
from colonnade.autoscale.requests import RequestRule
from colonnade.autoscale.simulation import Moment, simulate, summary
from colonnade.autoscale.trace import Second
from colonnade.errors import InvalidInput

TEN = RequestRule(target=7.0, capacity=10.0)


def steady(concurrency: float, seconds: int) -> list[Second]:
    return [Second(concurrency, concurrency)] * seconds


def test_a_step_from_one_to_eight_replicas_of_load_and_back() -> None:
    of = Settings(TEN, 1, 20)
    trace = steady(7.0, 120) + steady(56.0, 180) + steady(7.0, 180)
    moments = simulate(trace, of, start=5.0)
    assert [moments[119].wanted, moments[119].ready] == [1, 1]
    in_panic = next(moment.second for moment in moments if moment.panic)
    assert 120 <= in_panic <= 123
    full = next(moment.second for moment in moments if moment.ready >= 8)
    assert full <= 120 + 6 + 2 + 5 + 2  # a panic window, a tick, a start, and the second that is told later
    assert {moment.ready for moment in moments[full:300]} == {8}
    assert moments[359].ready >= 2  # nothing is taken away before the panic is a window old
    assert moments[-1].wanted == 1


def test_from_zero_and_back_with_one_cold_start() -> None:
    of = Settings(TEN, 0, initial=0)
    moments = simulate(steady(0.0, 30) + steady(3.0, 60) + steady(0.0, 1), of, start=4.0, tail=120)
    assert all(moment.wanted == 0 for moment in moments[:30])
    assert moments[30].wanted == 1  # at once, and not at the next tick
    assert moments[30].reason == "1 waiting for a first replica"
    assert [moment.ready for moment in moments[30:36]] == [0, 0, 0, 0, 1, 1]
    gone = next(moment.second for moment in moments[31:] if not moment.wanted)
    assert 90 + 58 <= gone <= 90 + 62
    told = summary(moments, of)
    assert (told.cold_starts, told.most, told.short) == (1, 1, 4)
    assert told.replica_seconds == gone - 30


def test_a_fixed_number_costs_what_it_costs() -> None:
    of = Settings(Fixed("so it is"), 3, 3)
    told = summary(simulate(steady(100.0, 50), of), of)
    assert (told.replica_seconds, told.peak_seconds, told.changes) == (150, 150, 0)


def test_what_is_measured_is_shared_by_the_replicas() -> None:
    of = settings.of({}, {"scaleMetric": "cpu", "scaleTarget": 50, "maxReplicas": 9})
    moments = simulate([Second(cpu=300.0)] * 200, of, start=1.0)
    assert moments[-1].ready == 6
    assert "cpu" in next(moment.reason for moment in moments if moment.reason)


@pytest.mark.parametrize(
    ("component", "trace", "told"),
    [
        ({}, [Second(rps=1.0)], "column concurrency \\(or rps and duration\\)"),
        ({"scaleMetric": "rps"}, [Second(concurrency=1.0)], "column rps"),
        ({"scaleMetric": "cpu"}, [Second(concurrency=1.0)], "column cpu"),
    ],
)
def test_a_trace_that_does_not_tell_what_it_takes(component: Any, trace: list[Second], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        simulate(trace, settings.of({}, {"maxReplicas": 9, **component}))


@budget(max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 500), st.integers(1, 60)), min_size=1, max_size=6),
    st.integers(0, 3),
    st.floats(0, 60),
)
def test_what_is_ready_was_wanted_and_the_bounds_hold(steps: Any, least: int, start: float) -> None:
    of = Settings(TEN, least, 30)
    moments = simulate([each for load, seconds in steps for each in steady(load, seconds)], of, start=start, tail=200)
    assert all(least <= moment.wanted <= 30 and moment.ready <= moment.wanted for moment in moments)
    assert moments[-1].wanted == least
    told = summary(moments, of)
    assert told.replica_seconds <= told.peak_seconds
    ET.fromstring(plot.svg(moments, "a <b> & c", "requests"))


def test_the_picture_has_what_was_wanted_and_shades_panics() -> None:
    moments = simulate(steady(0.0, 10) + steady(50.0, 60), Settings(TEN, 1, 20), tail=90)
    tree = ET.fromstring(plot.svg(moments, "trace: 1 < 2", "requests at a time"))
    space = "{http://www.w3.org/2000/svg}"
    assert len(tree.findall(f"{space}polyline")) == 3
    assert len([each for each in tree.findall(f"{space}rect") if each.get("opacity")]) == 1
    words = [each.text for each in tree.findall(f"{space}text")]
    assert "trace: 1 < 2" in words
    assert {"8", "50", "requests at a time", "replicas"} <= set(words)


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([], 10, ""),
        ([0.0, 0.0], 10, "  "),
        ([0.0, 4.0, 8.0], 10, " ▄█"),
        ([0.0] * 99 + [1.0], 10, "         █"),
        ([1e-9, 1.0], 10, "▁█"),
    ],
)
def test_sparklines(values: list[float], width: int, line: str) -> None:
    assert plot.sparkline(values, width) == line


def test_a_moment_has_a_name_for_each_number() -> None:
    assert Moment(1, 2.0, 3, 4, False)._asdict()["ready"] == 4
