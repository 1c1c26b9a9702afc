"""When a model call may run on the event loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.server.inline import ENOUGH, GROWTH, LIMIT, WINDOW, RunTimes, fits_loop

QUICK = LIMIT / 10
SLOW = LIMIT * 2


def seen(*calls: tuple[float, int]) -> RunTimes:
    times = RunTimes()
    for seconds, size in calls:
        times.add(seconds, size)
    return times


@pytest.mark.parametrize(
    ("calls", "size", "verdict"),
    [
        ([], 10, False),
        ([(QUICK, 100)] * (ENOUGH - 1), 100, False),
        ([(QUICK, 100)] * ENOUGH, 100, True),
        ([(QUICK, 100)] * ENOUGH, int(100 * GROWTH), True),
        ([(QUICK, 100)] * ENOUGH, int(100 * GROWTH) + 1, False),
        ([(LIMIT / 2, 100)] * ENOUGH, 200, True),
        ([(LIMIT / 2, 100)] * ENOUGH, 201, False),
        ([(QUICK, 100)] * ENOUGH + [(QUICK, 5000)], 4000, True),
        ([(QUICK, 100)] * ENOUGH + [(SLOW, 100)], 100, False),
        ([(SLOW, 100)] + [(QUICK, 100)] * (WINDOW - 1), 100, False),
        ([(SLOW, 100)] + [(QUICK, 100)] * WINDOW, 100, True),
        ([(QUICK, 50_000)] + [(QUICK, 100)] * WINDOW, 40_000, False),
        ([(LIMIT, 100)] * ENOUGH, 100, False),
    ],
)
def test_only_surely_short_calls_run_on_the_loop(calls: list[tuple[float, int]], size: int, verdict: bool) -> None:
    assert fits_loop(seen(*calls), size) is verdict


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 10_000)), max_size=4 * WINDOW))
def test_the_running_maxima_are_those_of_the_window(calls: list[tuple[float, int]]) -> None:
    times = seen(*calls)
    window = calls[-WINDOW:]
    assert len(times) == len(window)
    assert times.slowest == max((seconds for seconds, _ in window), default=0.0)
    assert times.largest == max((size for _, size in window), default=0)


def test_one_slow_call_by_the_wall_clock_only_raises_doubt() -> None:
    times = seen(*[(QUICK, 100)] * ENOUGH)
    times.add_on_loop(SLOW, 100)
    assert fits_loop(times, 100), "the machine may have run something else in between"
    for left in range(WINDOW, 0, -1):
        assert times.doubts == left
        times.add_on_loop(QUICK, 100)
    assert times.doubts == 0
    assert fits_loop(times, 100)


def test_a_slow_call_in_doubt_sends_the_next_to_the_thread() -> None:
    times = seen(*[(QUICK, 100)] * ENOUGH)
    times.add_on_loop(SLOW, 100)
    times.add_on_loop(QUICK, 100)
    times.add_on_loop(SLOW, 100)
    assert not fits_loop(times, 100)
    assert times.doubts > 0, "when it comes back, the CPU clock still decides"
    for _ in range(WINDOW):
        times.add(QUICK, 100)
    assert fits_loop(times, 100)
