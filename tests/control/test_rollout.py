"""Which pods are made and retired, and when the traffic moves: a table."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.rollout import decide, replicas

from .kserve_objects import pod

ONE, TWO = "iris-predictor-00001", "iris-predictor-00002"


@pytest.mark.parametrize(
    ("predictor", "count"), [({}, 1), ({"minReplicas": 0}, 1), ({"minReplicas": None}, 1), ({"minReplicas": 3}, 3)]
)
def test_how_many(predictor: dict[str, Any], count: int) -> None:
    assert replicas(predictor) == count


@pytest.mark.parametrize(
    ("pods", "wanted", "serving", "count", "result"),
    [
        pytest.param([], ONE, "", 2, ("", 2, []), id="first: all are made"),
        pytest.param([pod("a", ready=False)], ONE, "", 2, ("", 1, []), id="first: what is missing is made"),
        pytest.param([pod("a"), pod("b", ready=False)], ONE, "", 2, (ONE, 0, []), id="first: one ready serves"),
        pytest.param([pod("a")], TWO, ONE, 1, (ONE, 1, []), id="a new revision is made beside the old"),
        pytest.param([pod("a"), pod("b", 2, ready=False)], TWO, ONE, 1, (ONE, 0, []), id="the old serves meanwhile"),
        pytest.param([pod("a"), pod("b", 2)], TWO, ONE, 1, (TWO, 0, ["a"]), id="the new takes over when ready"),
        pytest.param([pod("a"), pod("b", 2)], TWO, ONE, 2, (ONE, 1, []), id="not before all are ready"),
        pytest.param([pod("a", ready=False), pod("b", 2)], TWO, ONE, 2, (TWO, 1, ["a"]), id="unless the old is dead"),
        pytest.param(
            [pod("a"), pod("b", 2, ready=False), pod("c", 3)], "iris-predictor-00003", ONE, 1,
            ("iris-predictor-00003", 0, ["a", "b"]), id="an overtaken revision goes too",
        ),
        pytest.param([pod("a", created="1"), pod("b", created="2")], ONE, ONE, 1, (ONE, 0, ["b"]), id="youngest"),
        pytest.param([pod("a", ready=False), pod("b")], ONE, ONE, 1, (ONE, 0, ["a"]), id="fewer: not ready first"),
        pytest.param([pod("a", draining=True), pod("b")], ONE, ONE, 1, (ONE, 0, ["a"]), id="a draining pod stays gone"),
        pytest.param([pod("a", draining=True)], ONE, ONE, 1, (ONE, 1, ["a"]), id="a draining pod does not count"),
        pytest.param([pod("a"), pod("b", 2)], "", ONE, 1, ("", 0, ["a", "b"]), id="stopped"),
    ],
)  # fmt: skip
def test_decisions(
    pods: list[dict[str, Any]], wanted: str, serving: str, count: int, result: tuple[str, int, list[str]]
) -> None:
    found = decide(pods, wanted, serving, count)
    assert (found.serving, found.create, [each["metadata"]["name"] for each in found.retire]) == result
