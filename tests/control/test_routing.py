"""From services and pods to the gateway's table."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.routing import hosts, table
from colonnade.control.workqueue import Key
from colonnade.gateway.routes import Backend, Route

from .kserve_objects import isvc, pod

SECRET = "password=hunter2 in /srv/model.py"
FAILED = {"reason": "ModelLoadFailed", "message": SECRET}
ADDRESSES = {Key("ns", name): (f"unix:/{name}", None) for name in "abc"}


def routed(service: dict[str, Any], *pods: dict[str, Any]) -> Route:
    (route,) = table(1, [service], pods, ADDRESSES, "example.com").routes
    return route


def serving(revision: str = "iris-predictor-00001", **status: Any) -> dict[str, Any]:
    service = isvc({"sklearn": {"storageUri": "/m"}, "timeout": 7})
    service["status"] = {"components": {"predictor": {"latestRolledoutRevision": revision}}, **status}
    return service


@pytest.mark.parametrize(
    ("pods", "names"),
    [
        ([pod("b"), pod("a")], ["a", "b"]),
        ([pod("a"), pod("b", ready=False)], ["a"]),
        ([pod("a"), pod("b", 2)], ["a"]),
        ([pod("a"), pod("b", draining=True)], ["a"]),
        ([pod("a"), pod("z")], ["a"]),
    ],
    ids=["all", "ready only", "the serving revision only", "none that drains", "none without a process"],
)
def test_which_pods_are_asked(pods: list[dict[str, Any]], names: list[str]) -> None:
    route = routed(serving(), *pods)
    assert [backend.name for backend in route.backends] == names
    assert route.ready
    assert route.timeout == 7.0


def test_a_pod_of_an_earlier_service_of_this_name_is_not_asked() -> None:
    foreign = pod("a")
    foreign["metadata"]["ownerReferences"] = [{"uid": "other"}]
    assert routed(serving(), foreign).backends == ()


def test_the_model_is_the_name_that_replicas_answer_to() -> None:
    named = pod("a")
    named["metadata"]["annotations"]["colonnade.dev/model"] = "other"
    route = routed(serving(), named)
    assert (route.model, route.backends) == ("other", (Backend("a", "unix:/a", None),))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({}, "its replicas are starting"),
        ({"modelStatus": {"lastFailureInfo": FAILED}}, "ModelLoadFailed; `colonnade why iris -n ns` says more"),
        (
            {"modelStatus": {"lastFailureInfo": {**FAILED, "exitCode": 1, "location": "pod"}}},
            "replica pod ended with exit code 1 (ModelLoadFailed); `colonnade why iris -n ns` says more",
        ),
        ({"conditions": [{"type": "PredictorReady", "status": "False", "message": SECRET}]}, "are starting"),
        ({"conditions": [{"type": "Stopped", "status": "True"}]}, "it is stopped"),
        ({"conditions": [{"type": "PredictorReady", "status": "Unknown", "message": "fetching"}]}, "fetching"),
    ],
)
def test_a_503_says_why(status: dict[str, Any], words: str) -> None:
    route = routed(serving("", **status))
    assert not route.ready
    assert words in route.reason
    assert SECRET not in route.reason


def test_all_names_of_a_service() -> None:
    found = hosts("iris", "ns", "example.com")
    assert found[:2] == ("iris-ns.example.com", "iris.ns.example.com")
    assert {"iris-predictor-ns.example.com", "iris-predictor.ns", "iris.ns.svc.cluster.local"} <= set(found)
