"""What becomes of a revision that fails soon after it was ready: tables."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade import defaults
from colonnade.control.rollouts import probation

from ..kserve_objects import crashed, pod, revision

NOW = 1_767_225_600.0  # 2026-01-01T00:00:00Z


def ready(name: str, second: int) -> dict[str, Any]:
    """A pod that has been ready since a second of the first minute of the year."""
    found = pod(name)
    found["status"]["conditions"][0]["lastTransitionTime"] = f"2026-01-01T00:00:{second:02d}Z"
    return found


@pytest.mark.parametrize(
    ("since", "left"),
    [
        pytest.param(0.0, defaults.PROBATION, id="it was never ready"),
        pytest.param(NOW, defaults.PROBATION, id="it is ready now"),
        pytest.param(NOW - 4, defaults.PROBATION - 4, id="for a while"),
        pytest.param(NOW - 3600, 0.0, id="for long"),
    ],
)
def test_how_long_it_is_watched(since: float, left: float) -> None:
    assert probation.left(revision(since=since), NOW) == left


@pytest.mark.parametrize(
    ("pods", "why"),
    [
        pytest.param([pod("a")], "", id="well"),
        pytest.param([pod("a"), crashed("b")], "b: m", id="one of two ended"),
        pytest.param([crashed("a")], "a: m", id="all ended"),
        pytest.param([pod("a"), pod("b", ready=False)], "", id="one more is started"),
        pytest.param([pod("a", ready=False)], "none of its replicas is ready any more", id="it hangs"),
        pytest.param([], "none of its replicas is ready any more", id="somebody deleted it"),
    ],
)
def test_what_is_a_failure(pods: list[dict[str, Any]], why: str) -> None:
    assert probation.failure(pods) == why


def test_what_ended_and_is_ready_again_is_no_failure() -> None:
    back = crashed("a")
    back["status"]["conditions"][0]["status"] = "True"
    assert not probation.failure([back])


@pytest.mark.parametrize(
    ("pods", "count", "left"),
    [
        pytest.param([], 1, None, id="nobody is ready"),
        pytest.param([crashed("a")], 1, None, id="it is not ready yet"),
        pytest.param([ready("a", 0), crashed("b")], 2, None, id="one of two is"),
        pytest.param([ready("a", 20)], 1, defaults.PROBATION, id="it is, just now"),
        pytest.param([ready("a", 3), ready("b", 17)], 2, defaults.PROBATION - 3, id="the last one counts"),
        pytest.param([ready("a", 3), ready("b", 17)], 1, 0.0, id="of those that are needed"),
    ],
)
def test_when_it_is_steady(pods: list[dict[str, Any]], count: int, left: float | None) -> None:
    assert probation.unsteady(pods, count, NOW + 20) == left
