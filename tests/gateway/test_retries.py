"""The budget of retries over simulated time."""

from __future__ import annotations

import pytest

from colonnade.gateway.retries import RetryBudget


def used(budget: RetryBudget, now: float, wanted: int) -> int:
    return sum(budget.take(now) for _ in range(wanted))


def test_a_service_with_little_traffic_has_a_few() -> None:
    budget = RetryBudget(0.0)
    budget.requests += 1
    assert used(budget, 0.0, 100) == 10
    assert used(budget, 1.0, 100) in (0, 1)
    assert budget.refused >= 189


@pytest.mark.parametrize(("share", "requests"), [(0.2, 1000), (0.1, 1000), (0.2, 10_000)])
def test_in_the_long_run_retries_are_a_share_of_the_requests(share: float, requests: int) -> None:
    budget = RetryBudget(0.0, share)
    used(budget, 0.0, 100)
    retries = 0
    for second in range(1, 101):
        budget.requests += requests
        retries += used(budget, float(second), requests)
    assert retries == pytest.approx(100 * (share * requests + 1), rel=0.06)


def test_traffic_of_long_ago_earns_nothing() -> None:
    budget = RetryBudget(0.0)
    budget.requests += 1_000_000
    assert budget.take(1.0)
    assert used(budget, 3600.0, 1000) <= 10


def test_without_a_share_there_are_none() -> None:
    budget = RetryBudget(0.0, 0.0)
    budget.requests += 1000
    assert used(budget, 10.0, 10) == 0
