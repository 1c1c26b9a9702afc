"""What the gateway refuses in the place of replicas, over simulated time."""

from __future__ import annotations

import pytest

from colonnade.gateway.throttle import MARGIN, Throttle


class Backend:
    """Replicas that take so many requests per second, in even steps, and refuse the others."""

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.free = 0.0
        self.last = 0.0
        self.asked = self.served = 0

    def takes(self, now: float) -> bool:
        self.free = min(5.0, self.free + (now - self.last) * self.rate)
        self.last = now
        self.asked += 1
        if self.free < 1.0:
            return False
        self.free -= 1.0
        self.served += 1
        return True


def run(throttle: Throttle, backend: Backend, rate: float, begin: float, seconds: float) -> int:
    """Send requests at an even rate; how many were refused here."""
    refused = 0
    for number in range(int(rate * seconds)):
        now = begin + number / rate
        if throttle.active and not throttle.admits(now):
            refused += 1
        elif not backend.takes(now):
            throttle.refused(now)
        elif throttle.active:
            throttle.took()
    return refused


@pytest.mark.parametrize("capacity", [100.0, 1000.0, 10_000.0])
@pytest.mark.parametrize("overload", [1.2, 3.0, 10.0])
def test_replicas_get_little_more_than_they_take_and_stay_busy(capacity: float, overload: float) -> None:
    throttle, backend = Throttle(), Backend(capacity)
    run(throttle, backend, capacity * overload, 0.0, 10.0)
    assert backend.served >= 0.97 * capacity * 10.0
    assert backend.asked <= min(overload, MARGIN * 1.15) * capacity * 10.0 + 1


def test_without_refusals_it_does_nothing() -> None:
    throttle, backend = Throttle(), Backend(1000.0)
    assert run(throttle, backend, 900.0, 0.0, 10.0) == 0
    assert not throttle.active


def test_a_flood_that_has_ended_is_forgotten_within_two_seconds() -> None:
    throttle, backend = Throttle(), Backend(100.0)
    run(throttle, backend, 1000.0, 0.0, 10.0)
    assert throttle.active
    run(throttle, backend, 80.0, 10.0, 2.0)
    assert not throttle.active
    assert run(throttle, backend, 80.0, 12.0, 5.0) == 0


def test_a_lone_refusal_throttles_nobody() -> None:
    throttle = Throttle()
    throttle.refused(1.0)
    assert throttle.admits(1.1)
    assert not throttle.active
