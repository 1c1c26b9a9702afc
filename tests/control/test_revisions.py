"""What makes a new revision and what does not; how the count survives."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade import defaults
from colonnade.control import revisions
from colonnade.control.revisions import Revision

from .kserve_objects import isvc

MODEL = {"storageUri": "/models/iris"}
BASE = revisions.digest(isvc({"sklearn": MODEL}))


@pytest.mark.parametrize(
    "fields", [{"minReplicas": 3}, {"maxReplicas": 5}, {"timeout": 3}, {"canaryTrafficPercent": 10}, {"scaleTarget": 1}]
)
def test_scale_and_routing_make_no_revision(fields: dict[str, Any]) -> None:
    assert revisions.digest(isvc({"sklearn": MODEL, **fields})) == BASE


@pytest.mark.parametrize(
    "predictor",
    [
        {"sklearn": {"storageUri": "/models/other"}},
        {"sklearn": {**MODEL, "env": [{"name": "A", "value": "1"}]}},
        {"xgboost": MODEL},
        {"sklearn": MODEL, "labels": {"a": "b"}},
    ],
)
def test_what_a_replica_is_made_of_makes_one(predictor: dict[str, Any]) -> None:
    assert revisions.digest(isvc(predictor)) != BASE


def test_consent_makes_one_and_order_of_keys_does_not() -> None:
    assert revisions.digest(isvc({"sklearn": MODEL}, annotations={defaults.TRUST_CODE: "true"})) != BASE
    one = isvc({"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "/m"}})
    other = isvc({"model": {"storageUri": "/m", "modelFormat": {"name": "sklearn"}}})
    assert revisions.digest(one) == revisions.digest(other)


def test_numbers_rise_when_the_content_changes_and_only_then() -> None:
    service = isvc()
    first = revisions.current(service, "aaaa")
    service["status"] = {"annotations": revisions.record(first)}
    assert revisions.current(service, "aaaa") == first == Revision(1, "aaaa")
    second = revisions.current(service, "bbbb")
    service["status"] = {"annotations": revisions.record(second)}
    assert revisions.current(service, "aaaa") == Revision(3, "aaaa")
    assert second.name("iris") == "iris-predictor-00002"
    assert revisions.pod_name("iris", second).startswith("iris-predictor-00002-deployment-")


@pytest.mark.parametrize("text", ["", "x:y", "3", "3:", ":a"])
def test_a_damaged_record_is_none(text: str) -> None:
    assert revisions.recorded({"status": {"annotations": {revisions.REVISION_ANNOTATION: text}}}) is None
