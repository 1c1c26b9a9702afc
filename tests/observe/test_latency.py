"""Quantiles from buckets."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.observe.latency import BOUNDS, bucket, quantile


def counted(latencies: list[float]) -> list[int]:
    counts = [0] * len(BOUNDS)
    for seconds in latencies:
        counts[bucket(seconds)] += 1
    return counts


@pytest.mark.parametrize("q", [0.5, 0.9, 0.95, 0.99])
def test_a_quantile_is_near_the_true_one(q: float) -> None:
    chosen = random.Random(1)
    latencies = sorted(chosen.lognormvariate(-4, 1) for _ in range(5000))
    assert quantile(counted(latencies), q) == pytest.approx(latencies[int(q * 5000)], rel=0.15)


@given(st.lists(st.floats(0, 2000), max_size=50), st.floats(0.01, 1))
def test_it_is_within_what_was_counted(latencies: list[float], q: float) -> None:
    found = quantile(counted(latencies), q)
    assert 0.0 <= found <= BOUNDS[-1]
    if latencies:
        assert found <= BOUNDS[bucket(max(latencies))]


def test_none_was_counted() -> None:
    assert quantile([], 0.5) == quantile([0] * len(BOUNDS), 0.5) == 0.0
