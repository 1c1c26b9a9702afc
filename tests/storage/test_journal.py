"""The record of a broken download."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from colonnade.storage.journal import Journal, gaps, merged

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(lambda pair: pair[0] < pair[1]), max_size=8)


@given(RANGES, st.integers(0, 60), st.integers(1, 20))
def test_what_is_there_and_what_is_missing_make_the_file(ranges: list[tuple[int, int]], size: int, step: int) -> None:
    there = {byte for start, stop in ranges for byte in range(start, stop)}
    missing = list(gaps(merged(ranges), size, step))
    assert all(0 < stop - start <= step for start, stop in missing)
    assert [byte for start, stop in missing for byte in range(start, stop)] == sorted(set(range(size)) - there)


@given(RANGES, st.binary(max_size=20), st.integers(0, 30))
def test_a_torn_record_says_less_and_never_something_else(
    tmp_path_factory: object, ranges: list[tuple[int, int]], garbage: bytes, cut: int
) -> None:
    path = Path(tmp_path_factory.mktemp("j")) / "ranges"  # type: ignore[attr-defined]
    journal = Journal(path)
    for start, stop in ranges:
        journal.add(start, stop)
    whole = path.read_bytes() if ranges else b""
    path.write_bytes(whole[: max(0, len(whole) - cut)])
    journal.add(100, 200)
    there = {byte for start, stop in ranges for byte in range(start, stop)} | set(range(100, 200))
    assert {byte for start, stop in journal.ranges() for byte in range(start, stop)} <= there
    assert (100, 200) in journal.ranges()
    path.write_bytes(garbage)
    journal.ranges()
