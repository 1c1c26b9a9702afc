"""`batcher:` before a program: which replicas get a second process, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.runtimes import builtin
from colonnade.control.templates import template
from colonnade.control.templates.template import Plan, Refusal
from colonnade.control.workload.components import Component
from colonnade.control.workload.revisions import Revision

from ..kserve_objects import isvc

FIRST = Revision("iris", Component("predictor", "", {}), 1, "abc")
READY = {"httpGet": {"path": "/up", "port": 8080}}
PROGRAM = {"name": "c", "command": ["serve"]}
BATCHER: dict[str, Any] = {"batcher": {"maxBatchSize": 8, "maxLatency": 20}}


def planned(predictor: dict[str, Any]) -> Plan | Refusal:
    return template.plan(isvc(predictor), "predictor", builtin.runtimes())


def test_it_stands_before_the_program_and_is_asked_as_that_would_be() -> None:
    predictor = {"containers": [{**PROGRAM, "readinessProbe": READY}], "containerConcurrency": 2, **BATCHER}
    plan = planned(predictor)
    assert isinstance(plan, Plan), plan
    pod = template.pod(isvc(predictor), "predictor", plan, FIRST, {})
    agent, program = pod["spec"]["containers"]
    assert (agent["name"], program["command"], agent["readinessProbe"]) == ("agent", ["serve"], READY)
    words = " ".join(agent["args"])
    assert words.startswith("--port $(PORT) --server $(COLONNADE_PREDICTOR_HOST)")
    assert words.endswith("--max-batch-size=8 --max-batch-latency=20 --calls 2")
    annotations = pod["metadata"]["annotations"]
    assert annotations[template.TRANSPORT_ANNOTATION] == "front"
    assert annotations[template.BEHIND_ANNOTATION] == "port"


@pytest.mark.parametrize(
    "predictor",
    [
        {"sklearn": {"storageUri": "/m"}, **BATCHER},
        {"containers": [PROGRAM]},
    ],
)
def test_others_stay_alone(predictor: dict[str, Any]) -> None:
    plan = planned(predictor)
    assert isinstance(plan, Plan)
    assert plan.front is None


@pytest.mark.parametrize(
    ("containers", "words"),
    [
        ([{**PROGRAM, "ports": [{"containerPort": 9000, "name": "h2c"}]}], "gRPC alone"),
        ([PROGRAM, {"name": "transformer-container", "command": ["t"]}], "stands before the predictor already"),
    ],
)
def test_what_cannot_be_joined_is_refused(containers: list[dict[str, Any]], words: str) -> None:
    found = planned({"containers": containers, **BATCHER})
    assert isinstance(found, Refusal)
    assert found.message.startswith("spec.predictor.batcher")
    assert words in found.message
