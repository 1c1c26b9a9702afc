"""A transformer in its predictor's pod: which words are rewritten, and what the pod looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonnade.control.runtimes import builtin
from colonnade.control.templates import collocation, template
from colonnade.control.templates.template import Plan, Refusal
from colonnade.control.workload.components import Component
from colonnade.control.workload.revisions import Revision

from ..kserve_objects import isvc

FIRST = Revision("iris", Component("predictor", "", {}), 1, "abc")
HTTP, GRPC = "$(COLONNADE_PREDICTOR_HOST)", "$(COLONNADE_PREDICTOR_GRPC_HOST)"
PORTS = {"args": ["--http_port=8085", "--grpc-port", "8086"]}


def transformer(*args: str, **fields: Any) -> dict[str, Any]:
    return {"name": "transformer-container", "command": ["t"], "args": list(args), **fields}


@pytest.mark.parametrize(
    ("args", "predictor", "made"),
    [
        (["--predictor_host=localhost:8085"], {}, [f"--predictor_host={HTTP}"]),
        (["--predictor_host", "127.0.0.1:8085"], {}, ["--predictor_host", HTTP]),
        (["--predictor-host=localhost"], {}, [f"--predictor-host={HTTP}"]),
        (
            ["--predictor_host=localhost:1", "--protocol=grpc-v2"],
            {},
            [f"--predictor_host={GRPC}", "--protocol=grpc-v2"],
        ),
        (["--predictor_host=elsewhere:80"], {}, ["--predictor_host=elsewhere:80"]),
        (["--url", "http://localhost:8085/v1"], PORTS, ["--url", f"http://{HTTP}/v1"]),
        (["--url", "http://localhost:80850/v1"], PORTS, ["--url", "http://localhost:80850/v1"]),
        (["--url", "http://mylocalhost:8085"], PORTS, ["--url", "http://mylocalhost:8085"]),
        (["--to=localhost:8086"], PORTS, [f"--to={GRPC}"]),
        (["--to=localhost:8089"], {"ports": [{"containerPort": 8089}]}, [f"--to={HTTP}"]),
        (["--cache=localhost:6379"], PORTS, ["--cache=localhost:6379"]),
        (["--http_port=8080", "--grpc_port=8081"], {}, ["--http_port=$(PORT)", "--grpc_port=$(GRPC_PORT)"]),
    ],
)
def test_the_transformer_is_told_where_the_predictor_is(
    args: list[str], predictor: dict[str, Any], made: list[str]
) -> None:
    assert collocation.transformer(transformer(*args), predictor).container["args"] == made


def test_variables_are_told_too() -> None:
    env = [{"name": "PREDICTOR_HOST", "value": "localhost:8085"}, {"name": "CACHE", "value": "localhost:6379"}]
    found = collocation.transformer(transformer(env=env), {}).container["env"]
    assert [each["value"] for each in found] == [HTTP, "localhost:6379"]


def test_a_predictor_listens_on_ports_of_its_own() -> None:
    found = collocation.predictor({"command": ["p"], **PORTS})
    assert found.container["args"] == ["--http_port=$(PORT)", "--grpc-port", "$(GRPC_PORT)"]
    assert found.transport == "ports"


MODEL = {"sklearn": {"storageUri": "/m"}}
PROGRAM = {"name": "kserve-container", "command": ["p"], **PORTS}


@pytest.mark.parametrize(
    ("predictor", "behind"),
    [
        ({**MODEL, "containers": [transformer("--model_name=t")]}, "port"),
        ({"containers": [PROGRAM, transformer("--model_name=t")]}, "ports"),
        ({"containers": [transformer("--model_name=t"), PROGRAM]}, "ports"),
    ],
)
def test_the_transformer_is_the_pods_first_process(predictor: dict[str, Any], behind: str) -> None:
    service = isvc(predictor)
    plan = template.plan(service, "predictor", builtin.runtimes())
    assert isinstance(plan, Plan), plan
    paths = {source.mount: Path("/cache/m") for source in plan.sources}
    pod = template.pod(service, "predictor", plan, FIRST, paths)
    annotations = pod["metadata"]["annotations"]
    names = [container["name"] for container in pod["spec"]["containers"]]
    assert names == ["transformer-container", "kserve-container"]
    assert annotations[template.TRANSPORT_ANNOTATION] == "port"
    assert annotations[template.BEHIND_ANNOTATION] == behind
    assert annotations[template.MODEL_ANNOTATION] == "t"
    words = " ".join(pod["spec"]["containers"][1]["args"])
    assert "$(PORT)" in words
    assert "socket" not in words


@pytest.mark.parametrize(
    ("predictor", "annotations", "words"),
    [
        (
            {**MODEL, "containers": [{"name": "transformer-container", "image": "me/t"}]},
            {},
            "image 'me/t' cannot be run",
        ),
        ({**MODEL, "containers": [transformer()]}, {"colonnade.dev/direct": "true"}, "colonnade.dev/direct"),
        ({"containers": [PROGRAM, transformer(), {"name": "third"}]}, {}, "not kserve-container, transformer"),
    ],
)
def test_what_cannot_be_is_refused(predictor: dict[str, Any], annotations: dict[str, str], words: str) -> None:
    found = template.plan(isvc(predictor, annotations=annotations), "predictor", builtin.runtimes())
    assert isinstance(found, Refusal)
    assert words in found.message
