"""The guard of a service: what its parts decide together."""

from __future__ import annotations

import pytest

from colonnade import defaults
from colonnade.gateway.balance import Load
from colonnade.gateway.breaker import State
from colonnade.gateway.guard import Guard, Policy
from colonnade.gateway.shares import Shares


def guard(replicas: int = 1, policy: Policy | None = None) -> tuple[Guard, list[Load]]:
    made, loads = Guard(Shares(100).share(), 0.0), [Load() for _ in range(replicas)]
    made.update(policy or Policy(), loads, 0.0)
    return made, loads


def test_replicas_that_come_together_do_not_start_slowly_and_one_that_joins_them_does() -> None:
    made, loads = guard(2)
    assert [load.score(0.0) for load in loads] == [1.0, 1.0]
    late = Load()
    made.update(Policy(), [*loads, late], 100.0)
    assert loads[0].score(100.0) == 1.0
    assert late.score(100.0) == 10.0
    assert late.score(100.0 + defaults.SLOW_START) == 1.0


def test_all_replicas_replaced_at_once_do_not_start_slowly() -> None:
    made, _ = guard(2)
    fresh = [Load(), Load()]
    made.update(Policy(), fresh, 100.0)
    assert [load.score(100.0) for load in fresh] == [1.0, 1.0]


def test_a_refusal_names_status_reason_and_when_to_come_again() -> None:
    made, loads = guard(policy=Policy(breaker_after=1))
    made.erred(loads[0], 503, 10.0)
    refused = made.admit(10.0)
    assert refused is not None
    assert (refused.status, refused.reason, refused.retry_after) == (503, "breaker", defaults.BREAKER_FIRST)


@pytest.mark.parametrize("status", [500, 501, 504])
def test_an_error_of_the_model_or_a_missed_deadline_opens_no_breaker(status: int) -> None:
    made, loads = guard(2, Policy(breaker_after=1, eject_after=1))
    made.erred(loads[0], status, 10.0)
    assert made.admit(10.0) is None
    assert made.ejections == 0


def test_refusals_of_replicas_throttle_their_service() -> None:
    made, loads = guard()
    refused = 0
    for number in range(200):
        if (refusal := made.admit(number / 1000)) is None:
            made.overloaded(loads[0], number / 1000)
        else:
            assert (refusal.status, refusal.reason) == (429, "throttle")
            refused += 1
    assert refused > 100
    assert made.admit(10.0) is None


def test_places_are_given_back() -> None:
    made, _ = guard()
    taken = 0
    while made.admit(0.0) is None:
        made.begin(0.0)
        taken += 1
    assert taken == 80
    refused = made.admit(0.0)
    assert refused is not None
    assert refused.reason == "share"
    made.end(0.0, 0.0)
    assert made.admit(0.0) is None


def test_another_policy_takes_effect_at_once() -> None:
    made, loads = guard()
    made.update(Policy(retry_percent=0), loads, 0.0)
    assert not made.may_retry(0.0)
    assert made.retries_refused == 1


@pytest.mark.parametrize("reason", ["share", "throttle"])
def test_a_request_that_is_refused_elsewhere_is_not_the_trial_of_the_breaker(reason: str) -> None:
    made, _ = guard(policy=Policy(breaker_after=1))
    made.gave_up(10.0)
    now = 10.0 + defaults.BREAKER_FIRST
    if reason == "share":
        for _ in range(80):
            made.begin(0.0)
    else:
        for _ in range(100):
            made._throttle.refused(now)
            made._throttle.admits(now)
    refused = made.admit(now)
    assert refused is not None
    assert refused.reason == reason
    assert made.state is State.OPEN
    for _ in range(made.in_flight):
        made.end(0.0, 0.0)
    assert made.admit(now + 60.0) is None
    assert made.state is State.HALF_OPEN
