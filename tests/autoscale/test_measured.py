"""Kubernetes' and KEDA's rule as tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.autoscale.decision import Decision, Seen, Settings, State, begin, decide
from colonnade.autoscale.measured import DOWN, UP, MeasuredRule, Pace, Policy, Target
from colonnade.autoscale.sources import Query, Usage

CPU = Target("cpu", "utilization", 50.0, Usage("cpu"))
MEMORY = Target("memory", "average", 1000.0, Usage("memory", percent=False))
QUEUE = Target("queue", "average", 10.0, Query("prometheus", "http://metrics", "queue"))
TOTAL = Target("total", "value", 10.0, Query("prometheus", "http://metrics", "total"))
FREE = Pace(0.0, (Policy("Pods", 1000, 15.0),))


def started(of: Settings, replicas: int, at: float = 0.0) -> State:
    return begin(of, replicas, at, known=True)


def course(rule: MeasuredRule, replicas: int, steps: list[tuple[float, float | None]], **bounds: int) -> list[int]:
    """The decisions on values of the only target, each `(time, value)`; replicas follow at once."""
    of = Settings(rule, **{"least": 1, "most": 100, **bounds})
    state, found = started(of, replicas), []
    for at, value in steps:
        decision = decide(Seen(state.wanted, values=(value,)), of, state, at)
        state = decision.state
        found.append(decision.wanted)
    return found


@pytest.mark.parametrize(
    ("target", "value", "replicas", "wanted"),
    [
        (CPU, 50.0, 4, 4),
        (CPU, 54.9, 4, 4),  # a tenth more is let be
        (CPU, 45.1, 4, 4),
        (CPU, 56.0, 4, 5),
        (CPU, 100.0, 4, 8),
        (CPU, 20.0, 4, 2),
        (CPU, 0.0, 4, 1),
        (MEMORY, 4000.0, 4, 4),
        (MEMORY, 9000.0, 4, 9),
        (QUEUE, 95.0, 4, 10),
        (QUEUE, 42.0, 4, 4),
        (QUEUE, 12.0, 4, 2),
        (TOTAL, 20.0, 4, 8),
        (TOTAL, 5.0, 4, 2),
    ],
)
def test_the_number_that_brings_a_value_to_its_target(target: Target, value: float, replicas: int, wanted: int) -> None:
    assert course(MeasuredRule((target,), FREE, FREE), replicas, [(1000.0, value)]) == [wanted]


def test_the_highest_of_several_counts_and_an_unknown_one_takes_nothing_away() -> None:
    of = Settings(MeasuredRule((CPU, QUEUE), FREE, FREE), 1, 100)

    def decided(cpu: float | None, queue: float | None) -> Decision:
        return decide(Seen(4, values=(cpu, queue)), of, started(of, 4), 1000.0)

    assert decided(100.0, 10.0).wanted == 8
    assert decided(10.0, 100.0).wanted == 10
    assert decided(None, 10.0).wanted == 4
    assert decided(None, 100.0).wanted == 10
    assert decided(None, None).wanted == 4
    assert decided(None, 100.0).reason == "queue 100 against 10; not known: cpu"
    assert decided(100.0, 10.0).numbers == {"cpu": 100.0, "queue": 10.0}


def test_without_behavior_it_goes_up_at_the_pace_of_kubernetes_and_down_after_five_minutes() -> None:
    rule = MeasuredRule((QUEUE,))
    ups = course(rule, 1, [(0.0, 1000.0), (15.0, 1000.0), (30.0, 1000.0), (45.0, 1000.0)])
    assert ups == [5, 10, 20, 40]
    downs = course(rule, 10, [(0.0, 100.0), (299.0, 10.0), (300.0, 10.0)])
    assert downs == [10, 10, 1]


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        (Pace(0.0, (Policy("Pods", 2, 60.0),)), [12, 12, 12, 14]),
        (Pace(0.0, (Policy("Percent", 50, 60.0),)), [15, 15, 15, 23]),
        (Pace(0.0, (Policy("Pods", 2, 60.0), Policy("Percent", 50, 60.0))), [15, 15, 15, 23]),
        (Pace(0.0, (Policy("Pods", 2, 60.0), Policy("Percent", 50, 60.0)), "Min"), [12, 12, 12, 14]),
        (Pace(0.0, UP.policies, "Disabled"), [10, 10, 10, 10]),
    ],
)
def test_scale_up_policies(pace: Pace, expected: list[int]) -> None:
    steps = [(100.0, 1000.0), (115.0, 1000.0), (130.0, 1000.0), (160.0, 1000.0)]
    assert course(MeasuredRule((QUEUE,), pace), 10, steps) == expected


def test_a_peak_shorter_than_the_stabilisation_window_adds_nothing() -> None:
    rule = MeasuredRule((QUEUE,), Pace(30.0, FREE.policies))
    steps = [(100.0, 100.0), (115.0, 900.0), (129.0, 900.0), (131.0, 900.0), (145.0, 950.0)]
    assert course(rule, 10, steps) == [10, 10, 10, 90, 90]


@pytest.mark.parametrize(
    ("pace", "expected"),
    [
        (Pace(0.0, (Policy("Pods", 2, 60.0),)), [8, 8, 8, 6]),
        (Pace(0.0, (Policy("Percent", 50, 60.0),)), [5, 5, 5, 2]),
        (Pace(0.0, (Policy("Pods", 2, 60.0), Policy("Percent", 50, 60.0)), "Min"), [8, 8, 8, 6]),
        (Pace(0.0, DOWN.policies, "Disabled"), [10, 10, 10, 10]),
    ],
)
def test_scale_down_policies(pace: Pace, expected: list[int]) -> None:
    steps = [(100.0, 10.0), (115.0, 10.0), (130.0, 10.0), (160.0, 10.0)]
    assert course(MeasuredRule((QUEUE,), UP, pace), 10, steps) == expected


def test_a_dip_within_the_stabilisation_window_takes_nothing_away() -> None:
    rule = MeasuredRule((QUEUE,), FREE, Pace(60.0, FREE.policies))
    assert course(rule, 4, [(0.0, 40.0), (15.0, 5.0), (30.0, 40.0), (89.0, 5.0), (91.0, 5.0)]) == [4, 4, 4, 4, 1]


@pytest.mark.parametrize(("tolerance", "wanted"), [(0.0, 5), (0.01, 5), (0.3, 4)])
def test_the_tolerance_of_behavior(tolerance: float, wanted: int) -> None:
    pace = Pace(0.0, FREE.policies, tolerance=tolerance)
    assert course(MeasuredRule((CPU,), pace, FREE), 4, [(1000.0, 51.0 if tolerance < 0.1 else 60.0)]) == [wanted]


def test_zero_after_the_cooldown_and_one_again_when_something_wakes_it() -> None:
    rule = MeasuredRule((QUEUE,), zero=True)
    steps = [(0.0, 5.0), (100.0, 0.0), (299.0, 0.0), (300.0, 0.0), (315.0, 0.0), (330.0, 0.5), (345.0, 0.0)]
    assert course(rule, 1, steps, least=0) == [1, 1, 1, 0, 0, 1, 1]


def test_an_unknown_value_neither_wakes_nor_lets_go() -> None:
    rule = MeasuredRule((QUEUE,), zero=True)
    assert course(rule, 1, [(0.0, 5.0), (1000.0, None)], least=0) == [1, 1]
    assert course(rule, 0, [(1000.0, None)], least=0) == [0]


def test_a_held_request_wakes_it_for_a_cooldown() -> None:
    of = Settings(MeasuredRule((QUEUE,), zero=True), 0, 5)
    found = decide(Seen(0, values=(0.0,), held=1), of, started(of, 0), 1000.0)
    assert found.wanted == 1
    assert decide(Seen(1, values=(0.0,)), of, found.state, 1299.0).wanted == 1
    assert decide(Seen(1, values=(0.0,)), of, found.state, 1300.0).wanted == 0


values = st.one_of(st.none(), st.floats(0, 1e6))
paces = st.builds(
    Pace,
    st.floats(0, 600),
    st.lists(
        st.builds(Policy, st.sampled_from(["Pods", "Percent"]), st.integers(1, 200), st.floats(1, 1800)),
        min_size=1,
        max_size=3,
    ).map(tuple),
    st.sampled_from(["Max", "Min", "Disabled"]),
    st.floats(0, 1),
)
targets = st.lists(st.sampled_from([CPU, MEMORY, QUEUE, TOTAL]), min_size=1, max_size=3).map(tuple)


@given(targets, paces, paces, st.integers(0, 50), st.lists(st.tuples(values, st.integers(0, 50), st.floats(0, 400))))
def test_decisions_stay_within_the_bounds(of: Any, up: Pace, down: Pace, began: int, seen: Any) -> None:
    rule = Settings(MeasuredRule(of, up, down, zero=True), 0, 40)
    state, now = started(rule, began), 0.0
    for value, ready, passed in seen:
        now += passed
        found = decide(Seen(ready, values=(value,) * len(of)), rule, state, now)
        assert 0 <= found.wanted <= 40
        state = found.state


@given(paces, paces, st.floats(0, 1e5), st.floats(0, 1e5), st.integers(1, 40))
def test_more_of_a_value_never_means_fewer(up: Pace, down: Pace, value: float, more: float, began: int) -> None:
    steps = [(1000.0, value)], [(1000.0, value + more)]
    less, greater = (course(MeasuredRule((QUEUE,), up, down), began, step) for step in steps)
    assert less[-1] <= greater[-1] or up.tolerance != down.tolerance
