"""The split among revisions as a specification: exact, even, and steady while weights change."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.split import Split

WEIGHTS = st.lists(st.integers(0, 200), min_size=1, max_size=5).map(
    lambda weights: {f"r{index}": weight for index, weight in enumerate(weights)}
)


def dealt(split: Split, requests: int) -> Counter[str]:
    return Counter(split.next() for _ in range(requests))


@pytest.mark.parametrize(
    ("weights", "requests", "expected"),
    [
        ({"a": 100}, 10, {"a": 10}),
        ({"a": 90, "b": 10}, 1000, {"a": 900, "b": 100}),
        ({"a": 99, "b": 1}, 1000, {"a": 990, "b": 10}),
        ({"a": 9999, "b": 1}, 10_000, {"a": 9999, "b": 1}),
        ({"a": 1, "b": 1, "c": 1}, 999, {"a": 333, "b": 333, "c": 333}),
        ({"a": 100, "b": 0}, 100, {"a": 100}),
        ({"a": 0, "b": 0}, 100, {"a": 50, "b": 50}),
    ],
)
def test_a_whole_turn_is_exact(weights: dict[str, int], requests: int, expected: dict[str, int]) -> None:
    assert dealt(Split(weights), requests) == expected


def test_the_requests_of_a_revision_lie_apart() -> None:
    split = Split({"a": 5, "b": 1, "c": 1})
    assert "".join(split.next() for _ in range(14)) == "aabacaa" * 2


@given(WEIGHTS, st.integers(0, 500), st.integers(1, 300))
def test_any_run_is_within_the_revisions_of_its_share(weights: dict[str, int], skipped: int, requests: int) -> None:
    split = Split(weights)
    dealt(split, skipped)
    got = dealt(split, requests)
    total = sum(weights.values())
    for name, weight in weights.items():
        share = requests * weight / total if total else requests / len(weights)
        assert abs(got[name] - share) < len(weights)
        assert weight or not total or not got[name]


@given(WEIGHTS, WEIGHTS, st.integers(0, 100))
def test_a_split_that_follows_another_is_as_exact(before: dict[str, int], after: dict[str, int], requests: int) -> None:
    old, new = Split(before), Split(after)
    dealt(old, requests)
    new.follow(old)
    got = dealt(new, 1000)
    total = sum(after.values())
    for name, weight in after.items():
        share = 1000 * weight / total if total else 1000 / len(after)
        assert abs(got[name] - share) <= 2 * len(after) + 1


@pytest.mark.parametrize("skipped", range(12))
def test_new_weights_of_two_are_exact_from_the_first_turn_on(skipped: int) -> None:
    old, new = Split({"a": 90, "b": 10}), Split({"a": 3, "b": 1})
    dealt(old, skipped)
    new.follow(old)
    assert dealt(new, 40) == {"a": 30, "b": 10}


def test_a_small_share_gets_its_turn_though_the_weights_change_all_the_time() -> None:
    """A rollout that steps with each ten requests: with a fresh start each time the canary would never be asked."""
    split, asked = Split({"a": 99, "b": 1}), 0
    for step in range(100):
        asked += dealt(split, 10)["b"]
        fresh = Split({"a": 9900 - step, "b": 100 + step})
        fresh.follow(split)
        split = fresh
    assert 10 <= asked <= 20


def test_processes_that_begin_elsewhere_do_not_try_the_canary_at_the_same_time() -> None:
    firsts = set()
    for begin in range(100):
        split = Split({"a": 99, "b": 1})
        split.enter(lambda below, begin=begin: begin % below)  # type: ignore[misc]
        firsts.add(next(index for index, name in enumerate(islice(iter(split.next, None), 200)) if name == "b"))
    assert len(firsts) == 100
