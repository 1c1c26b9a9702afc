"""From services and pods to the gateway's table."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.routes.routing import component_hosts, hosts, routes
from colonnade.control.workqueue import Key
from colonnade.gateway.routes import Backend, Route

from ..kserve_objects import isvc, pod

SECRET = "password=hunter2 in /srv/model.py"
FAILED = {"reason": "ModelLoadFailed", "message": SECRET}
ADDRESSES = {Key("ns", name): (f"unix:/{name}", None) for name in "abc"}


def routed(service: dict[str, Any], *pods: dict[str, Any]) -> Route:
    (route,) = routes(service, pods, ADDRESSES, "example.com", lambda component: None)
    return route


def serving(revision: str = "iris-predictor-00001", **status: Any) -> dict[str, Any]:
    service = isvc({"sklearn": {"storageUri": "/m"}, "timeout": 7})
    traffic = [{"revisionName": revision, "percent": 100}] if revision else []
    service["status"] = {"components": {"predictor": {"traffic": traffic}}, **status}
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
        (
            {"conditions": [{"type": "PredictorReady", "status": "False", "message": SECRET, "reason": "Refused"}]},
            "Refused; `colonnade why iris -n ns` says more",
        ),
        ({"conditions": [{"type": "PredictorReady", "status": "False", "message": SECRET}]}, "it failed; `colonnade"),
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
    found = routed(serving()).hosts
    assert found[:2] == ("iris-ns.example.com", "iris.ns.example.com") == hosts("iris", "ns", "example.com")[:2]
    assert {"iris-predictor-ns.example.com", "iris-predictor.ns", "iris.ns.svc.cluster.local"} <= set(found)


def test_a_canary_has_its_share_and_its_hosts() -> None:
    service = serving()
    service["metadata"]["annotations"] = {"serving.kserve.io/enable-tag-routing": "true"}
    service["status"]["components"]["predictor"]["traffic"] = [
        {"revisionName": "iris-predictor-00002", "percent": 10, "tag": "latest"},
        {"revisionName": "iris-predictor-00001", "percent": 90, "tag": "prev"},
    ]
    latest, previous = routed(service, pod("a"), pod("b", 2)).targets
    assert (latest.weight, [each.name for each in latest.backends]) == (10, ["b"])
    assert (previous.weight, [each.name for each in previous.backends]) == (90, ["a"])
    assert latest.hosts[0] == "latest-iris-predictor-ns.example.com"
    assert previous.hosts[0] == "prev-iris-predictor-ns.example.com"


def test_the_revision_before_takes_over_while_it_lives_and_its_successor_does_not() -> None:
    service = serving("iris-predictor-00002")
    service["status"]["components"]["predictor"]["previousRolledoutRevision"] = "iris-predictor-00001"
    (target,) = routed(service, pod("a"), pod("b", 2)).targets
    assert (target.revision, [each.name for each in target.backends]) == ("iris-predictor-00002", ["b"])
    dead, former = routed(service, pod("a"), pod("b", 2, ready=False)).targets
    assert (dead.revision, dead.weight) == ("iris-predictor-00002", 0)
    assert (former.revision, former.weight, [each.name for each in former.backends]) == (
        "iris-predictor-00001", 100, ["a"],
    )  # fmt: skip
    (target,) = routed(service, pod("a", draining=True), pod("b", 2, ready=False)).targets
    assert not target.backends


def test_each_component_has_its_route_and_the_transformer_is_the_entrance() -> None:
    service = serving()
    service["spec"] |= {"transformer": {"timeout": 3}, "explainer": {"containerConcurrency": 2}}
    found = {
        route.component: route
        for route in routes(service, [pod("a")], ADDRESSES, "example.com", {"predictor": 4711}.get)
    }
    assert [(name, route.entry, route.explains, route.port) for name, route in found.items()] == [
        ("predictor", False, False, 4711),
        ("transformer", True, False, 0),
        ("explainer", False, True, 0),
    ]
    assert found["predictor"].hosts == component_hosts("iris", "predictor", "ns", "example.com")
    assert set(hosts("iris", "ns", "example.com")) < set(found["transformer"].hosts)
    assert (found["predictor"].timeout, found["transformer"].timeout, found["explainer"].concurrency) == (7.0, 3.0, 2)


def test_requests_wait_for_what_sleeps() -> None:
    service = serving()
    assert routed(service).hold is None
    service["spec"]["predictor"]["minReplicas"] = 0
    asleep = routed(service)
    assert (asleep.ready, asleep.hold is not None) == (True, True)
