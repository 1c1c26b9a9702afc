"""Means over what was told, second by second."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.autoscale.windows import Window


def told(*seconds: float, began: float = 0.0) -> Window:
    """A window that was told a concurrency, and as many requests, for each second since it began."""
    window = Window(began)
    for index, value in enumerate(seconds):
        window.add(began + index + 1, 1.0, value, value)
    return window


@pytest.mark.parametrize(
    ("seconds", "length", "mean"),
    [
        ([4.0], 60.0, 4.0),  # of one second that was seen, and not of sixty
        ([2.0, 4.0, 6.0], 60.0, 4.0),
        ([2.0, 4.0, 6.0], 2.0, 5.0),
        ([2.0, 4.0, 6.0], 1.0, 6.0),
        ([0.0] * 54 + [10.0] * 6, 60.0, 1.0),
        ([0.0] * 54 + [10.0] * 6, 6.0, 10.0),
    ],
)
def test_the_mean_of_a_window(seconds: list[float], length: float, mean: float) -> None:
    for metric in ("concurrency", "rps"):
        assert told(*seconds).mean(metric, length, float(len(seconds))) == pytest.approx(mean)  # type: ignore[arg-type]


def test_what_was_not_told_but_heard_of_is_idle() -> None:
    assert told(6.0, 6.0).mean("concurrency", 60.0, heard=12.0) == pytest.approx(1.0)
    assert told(6.0, 6.0).mean("concurrency", 6.0, heard=20.0) == 0.0


def test_several_processes_and_parts_of_a_second_add_up() -> None:
    window = Window(0.0)
    window.add(1.0, 1.0, 3.0, 10)
    window.add(1.1, 1.0, 5.0, 20)
    assert window.mean("concurrency", 1.0, 1.0) == pytest.approx(8.0)
    assert window.mean("rps", 1.0, 1.0) == pytest.approx(30.0)
    window.add(2.25, 0.25, 8.0, 1)
    window.add(3.0, 0.75, 4.0, 1)
    assert window.mean("concurrency", 1.0, 3.0) == pytest.approx(8.0 * 0.25 + 4.0 * 0.75)


def test_newer_seconds_weigh_more_in_a_weighted_window() -> None:
    rising, falling = told(*range(60)), told(*reversed(range(60)))
    assert rising.mean("concurrency", 60.0, 60.0, weighted=True) > 50.0
    assert falling.mean("concurrency", 60.0, 60.0, weighted=True) < 10.0
    assert told(*[7.0] * 60).mean("concurrency", 60.0, 60.0, weighted=True) == pytest.approx(7.0)


def test_what_is_older_than_the_longest_window_is_forgotten() -> None:
    window = told(*[1.0] * 8000)
    assert len(window._seconds) <= 3601
    assert window.mean("concurrency", 3600.0, 8000.0) == pytest.approx(1.0)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=80), st.floats(1, 100), st.booleans())
def test_a_mean_lies_between_the_least_and_the_most(seconds: list[float], length: float, weighted: bool) -> None:
    mean = told(*seconds, began=1000.0).mean("concurrency", length, 1000.0 + len(seconds), weighted=weighted)
    seen = seconds[-math.ceil(length) :]
    assert min(seen) * (1 - 1e-9) <= mean <= max(seen) * (1 + 1e-9)
