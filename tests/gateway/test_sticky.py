"""Whose revision is whose."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.sticky import Sticky, stuck

CALLERS = [b"caller-%d" % number for number in range(4000)]


@pytest.mark.parametrize(
    ("text", "sticky"),
    [
        ("", None),
        ("header:", None),
        ("query:user", None),
        ("cookie:a=b", None),
        ("cookie:a\r\nx: y", None),
        ("header:X-User", Sticky(b"x-user")),
        ("cookie:Visit", Sticky(b"cookie", b"Visit")),
    ],
)
def test_rules(text: str, sticky: Sticky | None) -> None:
    assert Sticky.read(text) == sticky


@pytest.mark.parametrize(
    ("headers", "value"),
    [
        ({}, None),
        ({b"cookie": b"visit=7"}, b"7"),
        ({b"cookie": b"a=1; visit=7;b=2"}, b"7"),
        ({b"cookie": b"a=1, visit=7"}, b"7"),
        ({b"cookie": b"visits=7; xvisit=8; visit"}, None),
        ({b"cookie": b"visit="}, None),
        ({b"visit": b"7"}, None),
    ],
)
def test_the_value_of_a_cookie(headers: dict[bytes, bytes], value: bytes | None) -> None:
    sticky = Sticky.read("cookie:visit")
    assert sticky is not None
    assert sticky.value(headers) == value


@given(st.binary(max_size=200))
def test_any_cookie_field_is_read(field: bytes) -> None:
    sticky = Sticky.read("cookie:visit")
    assert sticky is not None
    sticky.value({b"cookie": field})


def test_callers_are_shared_out_by_weight() -> None:
    got = Counter(stuck(caller, {"a": 90, "b": 10, "c": 0}) for caller in CALLERS)
    assert got["c"] == 0
    assert got["b"] == pytest.approx(400, abs=80)


def test_a_change_of_weights_moves_only_those_who_must_move() -> None:
    before = {caller: stuck(caller, {"a": 90, "b": 10}) for caller in CALLERS}
    after = {caller: stuck(caller, {"a": 70, "b": 30}) for caller in CALLERS}
    moved = [caller for caller in CALLERS if before[caller] != after[caller]]
    assert all(after[caller] == "b" for caller in moved)
    assert len(moved) == pytest.approx(800, abs=150)
    with_third = {caller: stuck(caller, {"a": 90, "b": 10, "c": 25}) for caller in CALLERS}
    assert all(with_third[caller] in (before[caller], "c") for caller in CALLERS)
