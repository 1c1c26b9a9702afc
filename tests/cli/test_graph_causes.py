"""Why a graph is not Ready, as a table: its condition, and what is wrong with the services that its steps call."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.cli.causes import Cause, Diagnosis
from colonnade.cli.graph_causes import absent, diagnose_graph, is_refused, services_of

READY = Diagnosis("good", ready=True)
LOST = Diagnosis(
    "lost",
    ready=False,
    causes=(Cause("model", "ModelLoadFailed: /nowhere does not exist", ("where: /nowhere",)),),
    advice=("correct storageUri, and apply again",),
    log=("loading /nowhere",),
    failed=True,
)


def graph(status: str, reason: str = "", message: str = "", generation: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"name": "flow", "generation": generation},
        "spec": {
            "nodes": {
                "root": {"steps": [{"serviceName": "good"}, {"nodeName": "rest"}]},
                "rest": {"steps": [{"serviceName": "lost"}, {"serviceName": "good"}, {"serviceUrl": "http://a"}]},
            }
        },
        "status": {
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message}],
        },
    }


def test_the_services_of_all_steps_are_looked_at_once() -> None:
    assert services_of(graph("True")) == ["good", "lost"]
    assert services_of({"metadata": {"name": "flow"}}) == []


def test_a_ready_graph_has_no_causes() -> None:
    assert diagnose_graph(graph("True"), [READY]) == Diagnosis("flow", ready=True)
    assert not diagnose_graph(graph("True", generation=2), [READY]).ready


def test_the_causes_of_its_services_stand_behind_its_own() -> None:
    found = diagnose_graph(
        graph("False", "InferenceServiceNotReady", "service lost is not ready"), [READY, LOST, absent("gone")]
    )
    assert [(cause.step, cause.message, cause.details) for cause in found.causes] == [
        ("condition Ready", "InferenceServiceNotReady: service lost is not ready", ()),
        ("service lost, model", "ModelLoadFailed: /nowhere does not exist", ("where: /nowhere",)),
        ("service gone, namespace", "there is no InferenceService of this name", ()),
    ]
    assert found.advice == ("correct storageUri, and apply again", "apply the InferenceService gone")
    assert found.log == ("loading /nowhere",)
    assert found.failed


def test_a_graph_that_waits_has_not_failed() -> None:
    starting = Diagnosis("lost", ready=False, causes=(Cause("replica lost-1", "phase Pending"),))
    found = diagnose_graph(graph("Unknown", "InferenceServiceNotReady", "service lost is not ready"), [starting])
    assert not found.failed
    assert found.advice == ("`colonnade describe ig flow` shows its conditions and events",)


def test_a_graph_without_status_says_so() -> None:
    found = diagnose_graph({"metadata": {"name": "flow", "generation": 1}}, [])
    assert (found.ready, found.causes[0].step) == (False, "control plane")


@pytest.mark.parametrize(
    ("obj", "refused"),
    [
        (graph("False", "NameTaken"), True),
        (graph("False", "InvalidServiceUrl"), True),
        (graph("False", "NameTaken", generation=2), False),
        (graph("False", "InferenceServiceNotFound"), False),
        (graph("True"), False),
    ],
)
def test_only_what_another_manifest_mends_is_refused(obj: dict[str, Any], refused: bool) -> None:
    assert is_refused(obj) == refused
