"""The size of a batch: what is taken, held, padded and measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.server.batching import AGAIN, SEEN, Batching, Gain, holds, padding, take

PLAIN = Batching(128)
PREFERRED = Batching(32, preferred=(4, 8, 16))
HELD = Batching(32, max_latency=0.01)


@pytest.mark.parametrize(
    ("rows", "limit", "batching", "count"),
    [
        ([1], 1, PLAIN, 1),
        ([1, 1, 1], 128, PLAIN, 3),
        ([1, 1, 1], 2, PLAIN, 2),
        ([5], 2, PLAIN, 1),  # a call is never split
        ([5, 1], 2, PLAIN, 1),
        ([1, 5], 2, PLAIN, 1),  # nor does it make the first one's batch too large
        ([2, 2, 2], 4, PLAIN, 2),
        ([1] * 7, 32, PREFERRED, 4),
        ([1] * 20, 32, PREFERRED, 16),
        ([1] * 20, 9, PREFERRED, 8),  # the largest preferred size that is measured to be worth it
        ([1] * 3, 32, PREFERRED, 3),  # fewer than any: nobody waits
        ([3, 3], 32, PREFERRED, 1),
    ],
)
def test_what_is_taken(rows: list[int], limit: int, batching: Batching, count: int) -> None:
    assert take(rows, limit, batching) == count


@given(
    st.lists(st.integers(1, 200), min_size=1, max_size=50),
    st.integers(1, 128),
    st.lists(st.integers(1, 128), unique=True).map(sorted),
)
def test_a_batch_is_one_call_or_within_the_limit(rows: list[int], limit: int, preferred: list[int]) -> None:
    batching = Batching(128, preferred=tuple(preferred))
    count = take(rows, limit, batching)
    assert 1 <= count <= len(rows)
    assert count == 1 or sum(rows[:count]) <= limit


@pytest.mark.parametrize(
    ("waiting", "waited", "limit", "shared", "batching", "seconds"),
    [
        (1, 0.0, 32, True, HELD, 0.01),
        (1, 0.004, 32, True, HELD, 0.006),
        (1, 0.0, 32, False, HELD, 0.0),  # no load: a lone request never waits
        (32, 0.0, 32, True, HELD, 0.0),  # full
        (4, 0.0, 4, True, HELD, 0.0),  # as full as it is worth
        (1, 0.0, 32, True, PLAIN, 0.0),
        (16, 0.0, 32, True, Batching(32, 0.01, (4, 16)), 0.0),
        (4, 0.0, 32, True, Batching(32, 0.01, (4, 16)), 0.01),
    ],
)
def test_how_long_rows_are_held(
    waiting: int, waited: float, limit: int, shared: bool, batching: Batching, seconds: float
) -> None:
    assert holds(waiting, waited, limit, shared, batching) == pytest.approx(seconds)


def test_rows_are_never_held_longer_than_the_latency() -> None:
    assert holds(1, 0.02, 32, True, HELD) <= 0


@pytest.mark.parametrize(
    ("rows", "batching", "more"),
    [
        (3, Batching(32, preferred=(4, 8), pad=True), 1),
        (4, Batching(32, preferred=(4, 8), pad=True), 0),
        (5, Batching(32, preferred=(4, 8), pad=True), 3),
        (9, Batching(32, preferred=(4, 8), pad=True), 0),
        (3, Batching(32, preferred=(4, 8)), 0),  # the model has not declared it
    ],
)
def test_rows_that_are_added(rows: int, batching: Batching, more: int) -> None:
    assert padding(rows, batching) == more


def _run(gain: Gain, cost: dict[int, float], calls: int = 200, size: int | None = None) -> None:
    """Makes calls as large as they may be, or of one size; `cost` has the seconds of each size."""
    for _ in range(calls):
        rows = size or gain.limit
        gain.add(rows, cost[rows])


def _costs(fixed: float, each: float) -> dict[int, float]:
    return {rows: fixed + each * rows for rows in range(1, 257)}


def _settled(gain: Gain, cost: dict[int, float]) -> int:
    """The limit at which the search rests."""
    for _ in range(2 * AGAIN):
        if gain.settled:
            return gain.limit
        gain.add(gain.limit, cost[gain.limit])
    raise AssertionError("the search does not rest")


@pytest.mark.parametrize("most", [2, 3, 100, 128])
def test_a_fixed_cost_is_shared_by_as_many_as_may(most: int) -> None:
    assert _settled(Gain(most), _costs(1e-3, 1e-6)) == most


def test_a_model_without_a_fixed_cost_gets_its_rows_alone() -> None:
    assert _settled(Gain(128), _costs(0.0, 1e-3)) == 1


def test_it_grows_as_far_as_a_step_pays() -> None:
    costs = {1: 1.0, 2: 1.2, 4: 1.8, 8: 3.5, 16: 7.0}  # a row costs 1, 0.6, 0.45, 0.44, 0.44
    assert _settled(Gain(128), costs) == 4


def test_requests_of_many_rows_are_measured_from_their_own_size() -> None:
    gain = Gain(128)
    _run(gain, _costs(1e-3, 1e-6), SEEN, size=8)
    assert gain.limit == 16, "two of them may be joined, though nobody ever sent a single row"


def test_what_has_become_worth_it_is_found_and_what_is_not_any_more_too() -> None:
    gain = Gain(128)
    assert _settled(gain, _costs(0.0, 1e-3)) == 1
    _run(gain, _costs(1e-3, 1e-6), 4 * AGAIN)
    assert gain.limit >= 64
    _run(gain, _costs(0.0, 1e-3), 20 * AGAIN)
    assert gain.limit <= 2


def test_what_cannot_be_joined_stays_so() -> None:
    gain = Gain(128)
    gain.never()
    _run(gain, {1: 1.0}, 2 * AGAIN)
    assert gain.limit == 1


@given(st.lists(st.tuples(st.integers(1, 300), st.floats(1e-7, 10.0)), max_size=300), st.integers(1, 128))
def test_the_limit_is_within_bounds(calls: list[tuple[int, float]], max_size: int) -> None:
    gain = Gain(max_size)
    for rows, seconds in calls:
        gain.add(rows, seconds)
        assert 1 <= gain.limit <= max_size
