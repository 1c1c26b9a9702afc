"""Table tests of who is ejected."""

from __future__ import annotations

import pytest

from colonnade import defaults
from colonnade.gateway.balance import Load
from colonnade.gateway.outliers import MIN_ANSWERS, WINDOW, Outliers

ROW = defaults.EJECT_AFTER_FAILURES


def loads(count: int) -> list[Load]:
    return [Load() for _ in range(count)]


def fail(judge: Outliers, load: Load, among: list[Load], now: float, times: int = ROW) -> bool:
    """Failures in a row; whether the last one ejected it."""
    return [judge.failed(load, among, now) for _ in range(times)][-1]


@pytest.mark.parametrize("status", [502, 503, None])
def test_failures_in_a_row_eject(status: int | None) -> None:
    judge, among = Outliers(), loads(2)

    def once() -> bool:
        if status is None:
            return judge.failed(among[0], among, 50.0)
        return judge.erred(among[0], status, among, 50.0)

    assert [once() for _ in range(ROW)] == [False] * (ROW - 1) + [True]
    assert among[0].ejected_until == 50.0 + defaults.EJECTION_FIRST


@pytest.mark.parametrize("errs", [False, True])
def test_an_answer_in_between_begins_the_count_anew(errs: bool) -> None:
    judge, among = Outliers(), loads(2)
    for _ in range(10):
        assert not fail(judge, among[0], among, 0.0, ROW - 1)
        if errs:
            assert not judge.erred(among[0], 500, among, 0.0)
        else:
            among[0].answered()


@pytest.mark.parametrize(("replicas", "away"), [(1, 0), (2, 1), (3, 1), (4, 2), (10, 5)])
def test_only_a_share_may_be_away_at_once(replicas: int, away: int) -> None:
    judge, among = Outliers(), loads(replicas)
    ejected = [fail(judge, load, among, 0.0) for load in among]
    assert sum(ejected) == away
    assert sum(load.ejected_until > 0.0 for load in among) == away


def test_each_ejection_is_longer_and_good_service_is_remembered() -> None:
    judge, among = Outliers(), loads(2)
    now, times = 0.0, []
    for _ in range(7):
        assert fail(judge, among[0], among, now)
        times.append(among[0].ejected_until - now)
        now = among[0].ejected_until
    assert times[:4] == [5.0, 10.0, 20.0, 40.0]
    assert times[-1] == defaults.EJECTION_MAX
    now += 3600.0
    assert fail(judge, among[0], among, now)
    assert among[0].ejected_until - now == defaults.EJECTION_FIRST


def test_zero_ejects_nobody() -> None:
    judge, among = Outliers(row=0), loads(2)
    assert not fail(judge, among[0], among, 0.0, 100)


@pytest.mark.parametrize(
    ("bad", "others", "answers", "ejected"),
    [
        (0.5, [0.0, 0.0, 0.0, 0.0], 100, True),
        (0.5, [0.0, 0.0], 100, True),
        (0.5, [0.0], 100, False),  # which of two is the outlier?
        (0.5, [0.5, 0.5, 0.5, 0.5], 100, False),  # all the same: not the replica's fault
        (0.02, [0.0, 0.0, 0.0, 0.0], 100, False),  # too little to matter
        (0.5, [0.0, 0.0, 0.0, 0.0], MIN_ANSWERS // 2, False),  # too few to tell
    ],
)
def test_a_success_rate_far_below_the_others_ejects(
    bad: float, others: list[float], answers: int, ejected: bool
) -> None:
    judge, among = Outliers(), loads(1 + len(others))
    judge.erred(among[0], 500, among, 100.0)  # the first error opens the window
    for load, share in zip(among, [bad, *others], strict=True):
        for number in range(answers):
            if number < share * answers:
                judge.erred(load, 500, among, 100.0)
            else:
                load.answered()
    assert judge.erred(among[0], 500, among, 100.0 + WINDOW) is ejected
