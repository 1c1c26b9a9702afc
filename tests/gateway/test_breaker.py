"""The breaker of a service, step by step."""

from __future__ import annotations

from colonnade import defaults
from colonnade.gateway.breaker import Breaker, State

FIRST = defaults.BREAKER_FIRST


def tripped(after: int = 3, now: float = 100.0) -> Breaker:
    breaker = Breaker(after)
    for _ in range(after):
        breaker.failed(now)
    return breaker


def test_failures_in_a_row_open_it_and_an_answer_in_between_does_not() -> None:
    breaker = Breaker(3)
    for _ in range(2):
        breaker.failed(1.0)
    breaker.answered()
    states = []
    for _ in range(3):
        breaker.failed(1.0)
        states.append(breaker.state)
    assert states == [State.CLOSED, State.CLOSED, State.OPEN]
    assert breaker.trips == 1


def test_an_open_one_says_when_to_come_again() -> None:
    breaker = tripped()
    assert breaker.refuse(100.0) == FIRST
    assert breaker.refuse(100.0 + FIRST / 4) == FIRST * 3 / 4


def test_one_request_tries_and_its_answer_closes() -> None:
    breaker = tripped()
    now = 100.0 + FIRST
    assert breaker.refuse(now) is None
    assert breaker.state is State.HALF_OPEN
    assert breaker.refuse(now) == FIRST  # one trial at a time
    breaker.answered()
    assert breaker.state is State.CLOSED
    assert breaker.refuse(now) is None


def test_each_failed_trial_doubles_the_rest_to_a_limit() -> None:
    breaker, now, rests = tripped(), 100.0, []
    for _ in range(8):
        rest = breaker.refuse(now)
        assert rest is not None
        rests.append(rest)
        now += rest
        assert breaker.refuse(now) is None
        breaker.failed(now)
        assert breaker.state is State.OPEN
    assert rests[:4] == [FIRST, 2 * FIRST, 4 * FIRST, 8 * FIRST]
    assert rests[-1] == defaults.BREAKER_MAX


def test_a_trial_without_an_end_does_not_keep_it_half_open_for_ever() -> None:
    breaker = tripped()
    now = 100.0 + FIRST
    assert breaker.refuse(now) is None
    assert breaker.refuse(now + FIRST) is None


def test_late_failures_do_not_prolong_an_open_one() -> None:
    breaker = tripped()
    breaker.failed(100.5)
    assert breaker.trips == 1
    assert breaker.refuse(100.0 + FIRST) is None


def test_zero_never_opens() -> None:
    breaker = Breaker(0)
    for _ in range(100):
        breaker.failed(0.0)
    assert (breaker.state, breaker.trips) == (State.CLOSED, 0)
