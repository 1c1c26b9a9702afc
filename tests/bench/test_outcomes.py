"""What an overload's figures count."""

from __future__ import annotations

from bench.load.outcomes import Outcome, summary

LATE = 0.2


def test_goodput_counts_right_answers_that_came_under_overload() -> None:
    outcomes = [
        Outcome(0.0, 0.1, 200),
        Outcome(0.5, 0.3, 200),  # late
        Outcome(1.0, 0.001, 503),
        Outcome(1.95, 0.1, 200),  # came after the relief
        Outcome(1.5, 0.1, 0),  # none came
    ]
    found = summary(outcomes, start=0.0, relief=2.0, end=3.0, unsent=1, late=LATE)
    assert found["goodput"] == 1.0
    assert found["offered"] == 3.0
    assert found["sent"] == 2.5
    assert found["p99"] == 0.3
    assert (found["refused"], found["failed"]) == (1, 1)
    assert found["recovery"] == 0.0


def test_recovery_lasts_until_the_last_request_that_went_wrong() -> None:
    outcomes = [
        Outcome(10.2, 0.01, 429),
        Outcome(10.7, 0.3, 200),
        Outcome(10.8, 0.01, 200),
    ]
    found = summary(outcomes, start=0.0, relief=10.0, end=15.0, unsent=0, late=LATE)
    assert round(found["recovery"], 6) == 0.7


def test_an_overload_that_nothing_survives_has_no_latency() -> None:
    assert summary([], start=0.0, relief=1.0, end=2.0, unsent=5, late=LATE)["p99"] == float("inf")
