"""Conditions of what is missing while a service serves."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.services import remarks
from colonnade.control.services.remarks import Remark
from colonnade.control.services.status import status

from ..kserve_objects import isvc, pod
from .test_status import ONE, PLACE, SERVES, seen


def shadowed(name: str, *percents: tuple[str, int]) -> dict[str, Any]:
    found = isvc(annotations={"colonnade.dev/shadow": name})
    traffic = [{"revisionName": revision, "percent": percent} for revision, percent in percents]
    found["status"] = {"components": {"predictor": {"traffic": traffic}}}
    return found


@pytest.mark.parametrize(
    ("service", "holds"),
    [
        pytest.param(shadowed("ghost", (ONE, 100)), False, id="nobody"),
        pytest.param(shadowed(ONE, (ONE, 0), ("iris-predictor-00002", 100)), True, id="it runs"),
        pytest.param(shadowed("latest", (ONE, 100)), None, id="it has all the requests"),
        pytest.param(isvc(), None, id="no shadow"),
    ],
)
def test_whether_the_shadow_gets_requests(service: dict[str, Any], holds: bool | None) -> None:
    found = remarks.shadow(service, {ONE})
    assert (None if found is None else found.holds) is holds
    assert found is None or found.holds or "ghost" in found.message


def test_whether_payloads_are_logged() -> None:
    assert remarks.payload_log(None) is None
    assert remarks.payload_log("") == Remark("PayloadLogReady", True)
    failed = remarks.payload_log("no volume")
    assert failed is not None
    assert (failed.holds, failed.reason, failed.message) == (False, "PayloadLogFailed", "no volume")


def test_what_is_missing_is_a_condition_and_leaves_the_service_ready() -> None:
    told = [Remark("PayloadLogReady", False, "PayloadLogFailed", "no volume"), Remark("ShadowReady", True)]
    found = {each["type"]: each for each in status(isvc(), [SERVES], PLACE, "t0", {}, remarks=told)["conditions"]}
    assert found["Ready"]["status"] == "True"
    assert found["ShadowReady"]["status"] == "True"
    log = found["PayloadLogReady"]
    assert (log["status"], log["reason"], log["message"], log["severity"]) == (
        "False",
        "PayloadLogFailed",
        "no volume",
        "Info",
    )


@pytest.mark.parametrize(("pods", "parked", "noted"), [((), 5100, "5100"), ((), 0, None), ((pod("a"),), 5100, None)])
def test_a_model_that_sleeps_in_memory_is_noted(pods: tuple[dict[str, Any], ...], parked: int, noted: str) -> None:
    found = status(isvc(), [seen(list(pods), count=0)], PLACE, "t0", {}, parked=parked)
    assert (found.get("annotations") or {}).get("colonnade.dev/parked") == noted
