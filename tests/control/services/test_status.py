"""The status that KServe's clients read, in each situation of a service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from colonnade.control.rollouts.rollout import Past, Share, Split
from colonnade.control.services.deployed import Deployed, Failure, Variant
from colonnade.control.services.status import Place, status
from colonnade.control.templates.template import Refusal
from colonnade.control.workload.components import Component

from ..kserve_objects import crashed, isvc, pod, revision

PLACE = Place("example.com", "http://127.0.0.1:8080", "127.0.0.1:8081")
ONE, TWO = "iris-predictor-00001", "iris-predictor-00002"


PREDICTOR = Component("predictor", "", {})


def serves(name: str, previous: str = "") -> Past:
    return Past(name, previous, (Share(name, 100, "latest"),)) if name else Past()


def seen(pods: list[dict[str, Any]], number: int = 1, serving: str = ONE, **fields: Any) -> Deployed:
    latest = revision(number)
    split = Split(serves(serving, fields.pop("previous", "")), (Share(latest.name, 100, "latest"),))
    counts = {latest.name: fields.pop("count", 1)}
    return Deployed(PREDICTOR, latest, pods, counts, split, routed=fields.pop("routed", {serving}), **fields)


def conditions(found: dict[str, Any]) -> dict[str, str]:
    return {each["type"]: each["status"] for each in found["conditions"]}


WAITS = seen([pod("a", ready=False)], serving="")
FETCHES = seen([], serving="", fetching=True)
SERVES = seen([pod("a")], runtime="kserve-sklearnserver")
ROLLS = seen([pod("a"), pod("b", 2, ready=False)], 2)
FAILS = seen([pod("a"), crashed("b", 2)], 2)
CRASHES = seen([crashed("a", reason="Error")])
NOT_FETCHED = seen([], serving="", failure=Failure("ModelLoadFailed", "no file", "/m", ONE, "t"))
NOT_SCALED = replace(SERVES, counts={ONE: 2}, failure=Failure("ModelLoadFailed", "no file", "/m", ONE, "t"))
REFUSED = Deployed(PREDICTOR, refusal=Refusal("NoSupportingRuntime", "no runtime"))
REFUSED_LATER = Deployed(
    PREDICTOR,
    pods=[pod("a")],
    split=Split(serves(ONE), ()),
    routed={ONE},
    refusal=Refusal("NoSupportingRuntime", "no runtime"),
)
STOPPED = Deployed(PREDICTOR, stopped=True)


@pytest.mark.parametrize(
    ("situation", "ready", "ingress", "transition", "active", "target"),
    [
        pytest.param(FETCHES, "Unknown", "Unknown", "InProgress", "", "Pending", id="fetching"),
        pytest.param(WAITS, "Unknown", "Unknown", "InProgress", "", "Loading", id="loading"),
        pytest.param(SERVES, "True", "True", "UpToDate", "Loaded", "Loaded", id="serving"),
        pytest.param(ROLLS, "Unknown", "True", "InProgress", "Loaded", "Loading", id="rolling"),
        pytest.param(FAILS, "False", "True", "BlockedByFailedLoad", "Loaded", "FailedToLoad", id="new one fails"),
        pytest.param(CRASHES, "False", "False", "BlockedByFailedLoad", "", "FailedToLoad", id="crash loop"),
        pytest.param(NOT_FETCHED, "False", "False", "BlockedByFailedLoad", "", "FailedToLoad", id="fetch failed"),
        pytest.param(NOT_SCALED, "False", "True", "BlockedByFailedLoad", "Loaded", "FailedToLoad", id="not scaled"),
        pytest.param(REFUSED, "False", "False", "InvalidSpec", "", "FailedToLoad", id="refused"),
        pytest.param(
            REFUSED_LATER, "False", "True", "InvalidSpec", "Loaded", "FailedToLoad", id="refused while serving"
        ),
        pytest.param(STOPPED, "False", "False", "InProgress", "", "Pending", id="stopped"),
    ],
)
def test_conditions_and_model_status(
    situation: Deployed, ready: str, ingress: str, transition: str, active: str, target: str
) -> None:
    found = status(isvc(), [situation], PLACE, "t0", {})
    states = conditions(found)
    assert (states["Ready"], states["PredictorReady"], states["IngressReady"]) == (ready, ready, ingress)
    assert states["Stopped"] == ("True" if situation.stopped else "False")
    model = found["modelStatus"]
    assert model["transitionStatus"] == transition
    assert model["states"] == {"activeModelState": active, "targetModelState": target}
    assert ("url" in found) is bool(situation.serving)


STANDARD = {"PredictorReady", "IngressReady", "Ready", "Stopped"}
KNATIVE = STANDARD | {"PredictorConfigurationReady", "LatestDeploymentReady", "PredictorRouteReady", "RoutesReady"}


@pytest.mark.parametrize("situation", [FETCHES, SERVES, ROLLS, FAILS, CRASHES, NOT_FETCHED, REFUSED_LATER, STOPPED])
@pytest.mark.parametrize(("mode", "kinds"), [("Standard", STANDARD), ("Knative", KNATIVE)])
def test_each_mode_has_its_conditions_and_says_a_failure_twice_at_most(
    situation: Deployed, mode: str, kinds: set[str]
) -> None:
    found = status(isvc(annotations={"serving.kserve.io/deploymentMode": mode}), [situation], PLACE, "t0", {})
    by_kind = {each["type"]: each for each in found["conditions"]}
    assert set(by_kind) == kinds
    assert {kind for kind, each in by_kind.items() if each.get("message")} <= {"Ready", "PredictorReady"}
    assert by_kind["Ready"] == {**by_kind["PredictorReady"], "type": "Ready"}
    assert all(
        each.get("reason") for each in by_kind.values() if each["status"] != "True" and each["type"] != "Stopped"
    )
    assert {kind for kind, each in by_kind.items() if each.get("severity") == "Info"} == kinds - {
        "PredictorReady",
        "IngressReady",
        "Ready",
    }


def test_a_revision_that_cannot_be_scaled_says_why_and_that_it_serves() -> None:
    found = status(isvc(), [NOT_SCALED], PLACE, "t0", {})
    message = {each["type"]: each for each in found["conditions"]}["Ready"]["message"]
    assert message == f"Revision {ONE} failed with message: no file It serves with 1 of 2 replicas."
    assert found["modelStatus"]["lastFailureInfo"]["message"] == "no file"


def test_it_is_ready_once_the_gateway_sends_to_it() -> None:
    found = conditions(status(isvc(), [replace(SERVES, routed=())], PLACE, "t0", {}))
    assert (found["PredictorReady"], found["IngressReady"], found["Ready"]) == ("Unknown", "Unknown", "Unknown")
    moved = seen([pod("b", 2)], 2, TWO)
    found = conditions(status(isvc(), [replace(moved, routed={ONE})], PLACE, "t0", {}))
    assert (found["PredictorReady"], found["IngressReady"], found["Ready"]) == ("Unknown", "True", "Unknown")
    assert conditions(status(isvc(), [moved], PLACE, "t0", {}))["Ready"] == "True"


def test_where_it_is_reached() -> None:
    found = status(isvc(), [SERVES], PLACE, "t0", {})
    assert found["url"] == "http://iris-ns.example.com"
    assert found["address"] == {"url": "http://127.0.0.1:8080/serving/ns/iris"}
    assert (found["deploymentMode"], found["clusterServingRuntimeName"]) == ("Standard", "kserve-sklearnserver")
    predictor = found["components"]["predictor"]
    assert (predictor["url"], predictor["grpcUrl"]) == ("http://iris-predictor-ns.example.com", "127.0.0.1:8081")
    assert predictor["traffic"] == [{"revisionName": ONE, "percent": 100, "latestRevision": True}]


@pytest.mark.parametrize("mode", ["Knative", "Serverless"])
def test_knative_mode_has_knative_hosts(mode: str) -> None:
    service = isvc(annotations={"serving.kserve.io/deploymentMode": mode})
    found = status(service, [SERVES], PLACE, "t0", {})
    assert (found["url"], found["deploymentMode"]) == ("http://iris.ns.example.com", "Knative")


def test_a_failure_names_the_replica_and_the_revision_that_serves() -> None:
    found = status(isvc(), [FAILS], PLACE, "t0", {})
    assert found["modelStatus"]["lastFailureInfo"] == {
        "reason": "ModelLoadFailed",
        "message": "m",
        "location": "b",
        "modelRevisionName": TWO,
        "exitCode": 3,
        "time": "2026-01-01T00:00:00Z",
    }
    assert found["modelStatus"]["copies"] == {"failedCopies": 1, "totalCopies": 1}
    ready = next(each for each in found["conditions"] if each["type"] == "Ready")
    assert ready["message"] == f"Revision {TWO} failed with message: m Revision {ONE} keeps serving."


def test_times_move_with_the_status_only() -> None:
    service = isvc()
    service["status"] = status(service, [WAITS], PLACE, "t0", {})
    later = status(service, [WAITS], PLACE, "t1", {})
    assert later == service["status"]
    service["status"] = status(service, [SERVES], PLACE, "t2", {})
    times = {each["type"]: each["lastTransitionTime"] for each in service["status"]["conditions"]}
    assert (times["Ready"], times["Stopped"]) == ("t2", "t0")


def test_a_refusal_keeps_its_time() -> None:
    service = isvc()
    service["status"] = status(service, [REFUSED], PLACE, "t0", {})
    assert status(service, [REFUSED], PLACE, "t1", {}) == service["status"]


def test_revisions_are_remembered_over_a_rollout_and_a_stop() -> None:
    service = isvc()
    service["status"] = status(service, [SERVES], PLACE, "t0", {})
    service["status"] = status(service, [seen([pod("b", 2)], 2, TWO, previous=ONE)], PLACE, "t1", {})
    predictor = service["status"]["components"]["predictor"]
    assert (predictor["latestRolledoutRevision"], predictor["previousRolledoutRevision"]) == (TWO, ONE)
    service["status"] = status(service, [STOPPED], PLACE, "t2", {})
    assert service["status"]["components"]["predictor"]["latestReadyRevision"] == TWO


def test_a_canary_and_its_tags() -> None:
    split = Split(Past(ONE, "", (Share(TWO, 10, "latest"), Share(ONE, 90, "prev"))), ())
    split = Split(split.now, split.now.shares)
    both = Deployed(PREDICTOR, revision(2), [pod("a"), pod("b", 2)], {ONE: 1, TWO: 1}, split, routed={ONE, TWO})
    service = isvc(annotations={"serving.kserve.io/enable-tag-routing": "true"})
    found = status(service, [both], PLACE, "t0", {})
    host = "iris-predictor-ns.example.com"
    assert found["components"]["predictor"]["traffic"] == [
        {"revisionName": TWO, "percent": 10, "latestRevision": True, "tag": "latest", "url": f"http://latest-{host}"},
        {"revisionName": ONE, "percent": 90, "latestRevision": False, "tag": "prev", "url": f"http://prev-{host}"},
    ]
    assert conditions(found)["Ready"] == "True"
    assert (found["components"]["predictor"]["latestRolledoutRevision"], found["modelStatus"]["transitionStatus"]) == (
        ONE,
        "UpToDate",
    )
    untagged = status(isvc(), [both], PLACE, "t0", {})["components"]["predictor"]["traffic"]
    assert [each.get("tag") for each in untagged] == [None, "prev"]
    assert conditions(status(service, [replace(both, routed={ONE})], PLACE, "t0", {}))["Ready"] == "Unknown"


def test_variants_are_told_of() -> None:
    split = Split(Past(ONE, "", (Share(ONE, 100, "latest"), Share(TWO, 0))), ())
    split = Split(split.now, split.now.shares)
    waits = Deployed(
        PREDICTOR,
        revision(1),
        [pod("a"), crashed("b", 2)],
        {ONE: 1, TWO: 1},
        split,
        routed={ONE},
        variants=(Variant("blue", TWO, 20),),
    )
    found = status(isvc(), [waits], PLACE, "t0", {})
    assert conditions(found)["Ready"] == "True", "the stable predictor has all the traffic"
    assert conditions(found)["CanaryPredictorReady"] == "Unknown"
    (canary,) = found["canaryStatuses"]
    assert (canary["name"], canary["ready"], canary["trafficPercent"]) == ("blue", False, 0)
    assert canary["modelStatus"]["lastFailureInfo"] == {"message": "m"}


def test_a_revision_that_sleeps_is_ready() -> None:
    asleep = seen([], count=0)
    asleep = replace(asleep, latest=revision(1, proven=True))
    found = status(isvc(), [asleep], PLACE, "t0", {})
    assert conditions(found) == {"Ready": "True", "PredictorReady": "True", "IngressReady": "True", "Stopped": "False"}
    assert found["modelStatus"]["states"] == {"activeModelState": "Standby", "targetModelState": "Standby"}


def test_all_components_must_be_ready() -> None:
    transformer = Deployed(
        Component("transformer", "", {}),
        revision(1, "transformer"),
        [pod("t", component="transformer", ready=False)],
        {"iris-transformer-00001": 1},
        Split(Past(), (Share("iris-transformer-00001", 100),)),
    )
    found = status(isvc(), [SERVES, transformer], PLACE, "t0", {"predictor": 4711})
    assert conditions(found) == {
        "Ready": "Unknown",
        "PredictorReady": "True",
        "TransformerReady": "Unknown",
        "IngressReady": "Unknown",
        "Stopped": "False",
    }
    assert "url" not in found
    assert found["components"]["predictor"]["address"] == {"url": "http://127.0.0.1:4711"}
