"""Knative's rule as a table: what was seen, what is ready, and what the decision is."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.autoscale.decision import Decision, Seen, Settings, State, begin, decide
from colonnade.autoscale.requests import Load, RequestRule

TEN = RequestRule(target=10.0, capacity=10.0)


def settings(rule: RequestRule = TEN, **bounds: int) -> Settings:
    return Settings(rule, **{"least": 0, **bounds})


def fresh(of: Settings, replicas: int = 1, at: float = 0.0) -> State:
    return begin(of, replicas, at, known=True)


def once(load: tuple[float, float], ready: int, of: Settings | None = None, at: float = 100.0) -> Decision:
    """One decision long after the revision began with one replica."""
    of = of or settings()
    return decide(Seen(ready, Load(*load)), of, fresh(of), at)


@pytest.mark.parametrize(
    ("stable", "panic", "ready", "wanted", "in_panic", "rule"),
    [
        (0.0, 0.0, 1, 0, False, {}),  # nobody asks: nothing is needed
        (0.001, 0.0, 1, 1, False, {}),  # the least load needs one
        (10.0, 10.0, 1, 1, False, {}),  # exactly the target
        (10.1, 10.1, 1, 2, True, {}),  # twice of what is ready is a panic, also where that is one
        (49.0, 49.0, 5, 5, False, {}),
        (51.0, 51.0, 5, 6, False, {}),
        (10.0, 100.0, 5, 10, True, {}),  # the panic window asks for twice of what is ready
        (10.0, 89.0, 5, 2, False, {}),  # nine for five: not yet
        (10.0, 71.0, 5, 8, True, {"panic_threshold": 1.5}),
        (100.0, 10.0, 5, 10, False, {}),  # the stable window alone
        (1000.0, 1000.0, 1, 10, True, {"max_up_rate": 10.0}),  # no more than ten times what is ready
        (31.0, 31.0, 2, 3, False, {"max_up_rate": 1.1, "panic_threshold": 10.0}),  # but one more at least
        (1.0, 1.0, 10, 5, False, {}),  # no less than half of what is ready
        (1.0, 1.0, 11, 5, False, {}),
        (1.0, 1.0, 12, 3, False, {"max_down_rate": 4.0}),
        (0.0, 0.0, 2, 1, False, {}),  # zero is reached by way of one
        (0.5, 0.5, 0, 3, False, {"activation": 3, "panic_threshold": 10.0}),  # what is started is started with three
        (0.0, 0.0, 1, 0, False, {"activation": 3}),
        (25.0, 25.0, 0, 3, True, {}),  # none ready counts as one
    ],
)
def test_the_rule(stable: float, panic: float, ready: int, wanted: int, in_panic: bool, rule: dict[str, Any]) -> None:
    found = once((stable, panic), ready, settings(replace(TEN, **rule)))
    assert (found.wanted, found.panic) == (wanted, in_panic)


@pytest.mark.parametrize(
    ("load", "bounds", "wanted", "told"),
    [
        (0.0, {"least": 2}, 2, "minReplicas 2"),
        (500.0, {"most": 3}, 3, "maxReplicas 3"),
        (500.0, {"most": 0}, 50, "in panic"),
        (15.0, {"least": 1, "most": 4}, 2, "15 requests at a time over 6 s, 10 a replica, in panic"),
    ],
)
def test_the_bounds_of_the_manifest_hold_and_are_told(load: float, bounds: Any, wanted: int, told: str) -> None:
    found = once((load, load), 1, settings(**bounds))
    assert found.wanted == wanted
    assert told in found.reason


def test_nothing_is_taken_away_in_a_panic_nor_for_a_stable_window_after_it() -> None:
    of = settings()
    state = decide(Seen(2, Load(10.0, 60.0)), of, fresh(of, 2), 100.0).state
    for at in (102.0, 130.0, 160.0):
        found = decide(Seen(6, Load(5.0, 5.0)), of, state, at)
        assert (found.wanted, found.panic) == (6, True)
        state = found.state
    found = decide(Seen(6, Load(5.0, 5.0)), of, state, 160.1)
    assert (found.wanted, found.panic) == (3, False)


def test_a_panic_goes_on_while_the_load_stays_over_the_threshold() -> None:
    of = settings()
    state = decide(Seen(2, Load(10.0, 60.0)), of, fresh(of, 2), 100.0).state
    state = decide(Seen(2, Load(30.0, 40.0)), of, state, 150.0).state  # of those only two are ready as yet
    assert decide(Seen(6, Load(5.0, 5.0)), of, state, 205.0).panic
    assert not decide(Seen(6, Load(5.0, 5.0)), of, state, 211.0).panic


def test_scaling_down_is_delayed_and_scaling_up_is_not() -> None:
    of = settings(replace(TEN, down_delay=30.0, panic_threshold=10.0))
    state = decide(Seen(4, Load(40.0, 40.0)), of, fresh(of), 100.0).state
    low = decide(Seen(4, Load(20.0, 20.0)), of, state, 110.0)
    assert low.wanted == 4
    assert decide(Seen(4, Load(55.0, 55.0)), of, low.state, 112.0).wanted == 6
    assert decide(Seen(4, Load(20.0, 20.0)), of, low.state, 129.9).wanted == 4
    assert decide(Seen(4, Load(20.0, 20.0)), of, low.state, 130.0).wanted == 2


def test_the_last_replica_stays_for_its_retention() -> None:
    of = settings(replace(TEN, retention=45.0))
    state = decide(Seen(1, Load(1.0, 1.0)), of, fresh(of), 100.0).state
    kept = decide(Seen(1, Load(0.0, 0.0)), of, state, 144.0)
    assert kept.wanted == 1
    assert decide(Seen(1, Load(0.0, 0.0)), of, kept.state, 145.0).wanted == 0


def test_a_revision_that_was_just_started_is_not_let_go_before_a_stable_window() -> None:
    of = settings()
    woken = decide(Seen(0, Load(0.0, 0.0), held=1), of, fresh(of, 0), 100.0)
    assert (woken.wanted, woken.reason) == (1, "1 waiting for a first replica")
    idle = decide(Seen(1, Load(0.0, 0.0)), of, woken.state, 159.0)
    assert idle.wanted == 1
    assert decide(Seen(1, Load(0.0, 0.0)), of, idle.state, 160.0).wanted == 0


def test_a_held_request_wakes_what_is_at_zero_with_its_activation_scale() -> None:
    of = settings(replace(TEN, activation=3))
    asleep = decide(Seen(0, Load(0.0, 0.0)), of, fresh(of, 0), 100.0)
    assert asleep.wanted == 0
    assert decide(Seen(0, Load(0.0, 0.0), held=2), of, asleep.state, 100.1).wanted == 3
    assert decide(Seen(0, None, held=2), of, asleep.state, 100.1).wanted == 3


def test_a_restart_keeps_what_runs_for_a_stable_window() -> None:
    of = settings()
    state = fresh(of, 5, 1000.0)
    for at in (1002.0, 1060.0):
        found = decide(Seen(5, Load(0.0, 0.0)), of, state, at)
        assert found.wanted == 5
        state = found.state
    assert decide(Seen(5, Load(0.0, 0.0)), of, state, 1060.5).wanted == 2
    assert fresh(of, 0).wanted == 0  # and what slept sleeps on


def test_a_new_revision_is_brought_to_its_initial_scale_once() -> None:
    of = settings(least=1, initial=3)
    state = begin(of, 0, 0.0, known=False)
    assert state.wanted == 3
    found = decide(Seen(2, Load(0.0, 0.0)), of, state, 100.0)
    assert (found.wanted, found.reason) == (3, "initial scale 3")
    reached = decide(Seen(3, Load(0.0, 0.0)), of, found.state, 102.0)
    assert decide(Seen(3, Load(0.0, 0.0)), of, reached.state, 104.0).wanted == 1
    assert begin(of, 1, 0.0, known=True).wanted == 1


def test_an_initial_scale_above_the_most_is_that_of_the_most() -> None:
    of = settings(least=1, most=2, initial=5)
    state = begin(of, 0, 0.0, known=False)
    assert state.wanted == 2
    assert decide(Seen(2, Load(0.0, 0.0)), of, state, 100.0).state.reached


def test_what_is_not_heard_changes_nothing_and_what_is_half_heard_takes_nothing_away() -> None:
    of = settings()
    state = decide(Seen(4, Load(40.0, 40.0)), of, fresh(of), 100.0).state
    assert decide(Seen(4, None), of, state, 200.0).wanted == 4
    assert decide(Seen(4, Load(1.0, 1.0), whole=False), of, state, 200.0).wanted == 4
    assert decide(Seen(4, Load(90.0, 90.0), whole=False), of, state, 200.0).wanted == 9


@pytest.mark.parametrize(("burst", "excess"), [(0.0, 0.0), (-1.0, -1.0), (5.0, 13.0), (50.0, -32.0)])
def test_the_excess_burst_capacity_is_told(burst: float, excess: float) -> None:
    assert once((2.0, 2.0), 2, settings(replace(TEN, burst_capacity=burst))).numbers["excess_burst_capacity"] == excess


loads = st.floats(0, 1e6, allow_nan=False)
rules = st.builds(
    RequestRule,
    target=st.floats(0.01, 1e4),
    stable_window=st.floats(6, 3600),
    panic_threshold=st.floats(1.1, 10),
    max_up_rate=st.floats(1.01, 1000),
    max_down_rate=st.floats(1.01, 10),
    down_delay=st.floats(0, 600),
    retention=st.floats(0, 600),
    activation=st.integers(1, 5),
)
bounds = st.tuples(st.integers(0, 5), st.one_of(st.just(0), st.integers(5, 50)))


@given(rules, bounds, st.lists(st.tuples(loads, loads, st.integers(0, 60), st.floats(0.1, 90)), max_size=12))
def test_decisions_stay_within_the_bounds_and_repeat(rule: Any, least_most: Any, seen: Any) -> None:
    of = Settings(rule, *least_most)
    state, now = fresh(of), 0.0
    for stable, panic, ready, passed in seen:
        now += passed
        found = decide(Seen(ready, Load(stable, panic)), of, state, now)
        assert found.wanted >= of.least
        assert not of.most or found.wanted <= of.most
        assert found == decide(Seen(ready, Load(stable, panic)), of, state, now)
        assert found.wanted >= 1 or not (stable or panic)  # what is asked for is never at zero
        state = found.state


@given(rules, loads, loads, st.floats(0, 1e6), st.integers(0, 60))
def test_more_load_never_means_fewer_replicas(rule: Any, stable: float, panic: float, more: float, ready: int) -> None:
    of = Settings(rule, 0)
    lower = decide(Seen(ready, Load(stable, panic)), of, fresh(of), 1e5).wanted
    assert decide(Seen(ready, Load(stable + more, panic)), of, fresh(of), 1e5).wanted >= lower
    assert decide(Seen(ready, Load(stable, panic + more)), of, fresh(of), 1e5).wanted >= lower


@given(st.floats(0.1, 500), st.integers(0, 40))
def test_a_steady_load_comes_to_rest_at_the_number_that_it_needs(load: float, began: int) -> None:
    of = Settings(TEN, 0)
    state, ready, course = fresh(of, began), began, []
    for step in range(200):
        found = decide(Seen(ready, Load(load, load)), of, state, 2.0 * step)
        state, ready = found.state, found.wanted
        course.append(ready)
    assert course[-1] == max(1, math.ceil(load / 10.0))
    assert len(set(course[-50:])) == 1
    turns = [after - before for before, after in pairwise(course) if after != before]
    assert all(turn > 0 for turn in turns) or all(turn < 0 for turn in turns)  # one way, and no way back
