"""Recorded loads: both shapes, both notations, and what is no trace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.autoscale.trace import Second, read
from colonnade.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("time,concurrency\n0,1\n2,5\n3,0\n", [Second(1.0), Second(1.0), Second(5.0), Second(0.0)]),
        ("time, concurrency\n100.0, 1\n101.5, 5\n", [Second(1.0), Second(1.0), Second(5.0)]),
        ("time,rps,duration\n0,10,0.5\n1,0,0.5\n", [Second(5.0, 10.0), Second(0.0, 0.0)]),
        ("time,concurrency,duration\n0,5,0.5\n", [Second(5.0, 10.0)]),
        ("time,rps\n0,10\n", [Second(None, 10.0)]),
        ("time,cpu,memory,value\n0,150,40,7\n", [Second(None, None, 150.0, 40.0, 7.0)]),
        ('{"time":0,"concurrency":1}\n\n{"time":1,"concurrency":2}\n', [Second(1.0), Second(2.0)]),
        (
            "time,concurrency\n2026-11-23T10:00:00Z,1\n2026-11-23T10:00:02+00:00,2\n",
            [Second(1.0), Second(1.0), Second(2.0)],
        ),
    ],
)
def test_a_profile(text: str, seconds: list[Second]) -> None:
    assert read(text) == seconds


def test_a_log_of_requests_is_counted_exactly() -> None:
    found = read("arrival,duration\n10.5,1.0\n10.0,0.5\n12.25,0.25\n")
    assert [second.rps for second in found] == [2.0, 0.0, 1.0]
    assert [second.concurrency for second in found] == pytest.approx([1.0, 0.5, 0.25])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no rows"),
        ("time,concurrency\n", "no rows"),
        ("time,load\n0,1\n", "columns time, load; it needs time and one of"),
        ("concurrency\n1\n", "it needs time"),
        ("time,concurrency\n0,1\n5,many\n", "Line 3 of the trace: concurrency is 'many'"),
        ("time,concurrency\n0,-1\n", "number from 0 up"),
        ("time,concurrency\n0,nan\n", "number from 0 up"),
        ("time,concurrency\n5,1\n4,1\n", "Line 3 of the trace goes back in time"),
        ("time,concurrency\n0,1\n99999999,1\n", "is the most that is simulated"),
        ("time,concurrency\n2026-99-01T00:00:00Z,1\n", "is no time"),
        ('{"time":0}\n{"x"', "Line 2 of the trace is no JSON object"),
        ('{"time":0,"concurrency":[]}\n', "Line 1 of the trace: concurrency is"),
        ("arrival,duration\n0,1e9\n", "is the most that is simulated"),
    ],
)
def test_what_is_no_trace_is_told_with_its_line(text: str, told: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(text)
    assert told in refused.value.message


@given(st.one_of(st.text(), st.text().map(lambda text: f"time,concurrency\n{text}"), st.text().map("{".__add__)))
def test_any_text_is_a_trace_or_refused(text: str) -> None:
    try:
        assert all(second.concurrency is None or second.concurrency >= 0 for second in read(text))
    except InvalidInput:
        pass


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 60)), min_size=1, max_size=40))
def test_a_log_loses_no_work(requests: list[tuple[float, float]]) -> None:
    found = read("arrival,duration\n" + "".join(f"{at!r},{long!r}\n" for at, long in requests))
    assert sum(second.rps or 0 for second in found) == len(requests)
    assert sum(second.concurrency or 0 for second in found) == pytest.approx(
        sum(long for _, long in requests), abs=1e-6
    )
