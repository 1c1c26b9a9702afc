"""What annotations say about failing replicas."""

from __future__ import annotations

import pytest

from colonnade.control.workload import policy
from colonnade.gateway.guard import Policy


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({}, Policy()),
        ({"colonnade.dev/slow-start": "2.5"}, Policy(slow_start=2.5)),
        (
            {
                "colonnade.dev/eject-after-failures": "0",
                "colonnade.dev/max-ejected-percent": "100",
                "colonnade.dev/retry-percent": "10",
                "colonnade.dev/breaker-failures": "3",
                "colonnade.dev/trust-code": "true",
            },
            Policy(eject_after=0, max_ejected_percent=100, retry_percent=10, breaker_after=3),
        ),
    ],
)
def test_annotations_set_the_policy(annotations: dict[str, str], expected: Policy) -> None:
    assert policy.of(annotations) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("slow-start", "soon"),
        ("slow-start", "nan"),
        ("slow-start", "-1"),
        ("retry-percent", "101"),
        ("retry-percent", "2.5"),
        ("breaker-failures", ""),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"colonnade.dev/{name} must be"):
        policy.of({f"colonnade.dev/{name}": value})
