"""From a manifest and its runtime to a pod: what each of the two says, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonnade.control.runtimes import builtin
from colonnade.control.runtimes.selection import Runtimes
from colonnade.control.templates import template
from colonnade.control.templates.template import Plan, Refusal
from colonnade.control.workload.sources import MODEL_MOUNT
from colonnade.server.arguments import parse

from ..kserve_objects import isvc, revision

BUILT_IN = builtin.runtimes()


def with_runtime(spec: dict[str, Any], **metadata: Any) -> Runtimes:
    mine = {"metadata": {"name": "mine", "namespace": "ns", **metadata}, "spec": spec}
    return Runtimes.of([mine], builtin.objects(()))


def runtime(container: dict[str, Any], **fields: Any) -> dict[str, Any]:
    formats = [{"name": "sklearn", "version": "1", "autoSelect": True}]
    return {"supportedModelFormats": formats, "containers": [{"name": "kserve-container", **container}], **fields}


def planned(service: dict[str, Any], runtimes: Runtimes = BUILT_IN) -> Plan:
    found = template.plan(service, "predictor", runtimes)
    assert isinstance(found, Plan), found
    return found


def test_a_runtime_is_a_command() -> None:
    command = {
        "image": "a/b:1",
        "command": ["serve"],
        "args": ["--name={{.Name}}", "--dir=/mnt/models", "--http_port=8080", "--grpc_port=9000"],
        "env": [{"name": "A", "value": "{{.Labels.tier}}"}, {"name": "B", "value": "runtime"}],
    }
    own = {"storageUri": "/m", "args": ["--more"], "env": [{"name": "B", "value": "mine"}], "runtimeVersion": "2"}
    predictor = {"model": {"modelFormat": {"name": "sklearn"}, **own}, "labels": {"team": "b"}}
    service = isvc(predictor, labels={"tier": "gold"})
    plan = planned(service, with_runtime(runtime(command, labels={"team": "a", "from": "runtime"})))
    assert (plan.runtime, plan.runtime_kind, plan.transport) == ("mine", "ServingRuntime", "ports")
    pod = template.pod(service, "predictor", plan, revision(), {MODEL_MOUNT: Path("/cache/m")}, Path("/envs/x"))
    container = pod["spec"]["containers"][0]
    assert container["command"] == ["serve"]
    ports = ["--http_port=$(PORT)", "--grpc_port=$(GRPC_PORT)"]
    assert container["args"] == ["--name=iris", "--dir=/cache/m", *ports, "--more"]
    env = {entry["name"]: entry["value"] for entry in container["env"]}
    assert (env["A"], env["B"], container["image"]) == ("gold", "mine", "a/b:2")
    assert pod["metadata"]["labels"].items() >= {"team": "b", "from": "runtime", "component": "predictor"}.items()
    assert pod["metadata"]["annotations"][template.ENVIRONMENT_ANNOTATION] == "/envs/x"


def test_a_command_of_the_manifest_stands_for_that_of_the_runtime() -> None:
    model = {"modelFormat": {"name": "sklearn"}, "storageUri": "/m", "command": ["mine"], "args": ["-x"]}
    plan = planned(isvc({"model": model}))
    assert (plan.container["command"], plan.runtime, plan.transport) == (["mine"], "kserve-sklearnserver", "port")
    assert plan.container["args"][-2:] == ["--http_port=$(PORT)", "-x"]


def test_an_own_runtime_of_a_known_image_gives_its_arguments_to_the_built_in_server() -> None:
    mine = runtime({"image": "sklearnserver:1", "args": ["--model_name={{.Name}}", "--nthread=3", "--http_port=8080"]})
    service = isvc({"sklearn": {"storageUri": "/m", "args": ["--max-queue=9"]}})
    plan = planned(service, with_runtime(mine))
    assert (plan.runtime, plan.transport, plan.model) == ("mine", "socket", "iris")
    assert plan.container["args"][-2:] == ["--nthread=3", "--max-queue=9"]


def test_arguments_of_another_server_are_not_given_to_the_built_in_one() -> None:
    plan = planned(isvc({"onnx": {"storageUri": "/m", "args": ["--nthread=2"]}}))
    assert plan.runtime == "kserve-tritonserver"
    assert plan.container["args"][-1] == "--nthread=2"
    assert not [word for word in plan.container["args"] if "tritonserver" in word or "model-store" in word]
    parse(plan.container["args"], {})


@pytest.mark.parametrize("name", [entry["metadata"]["name"] for entry in builtin.objects(())])
def test_the_built_in_server_understands_what_each_runtime_gives_it(name: str) -> None:
    offers = next(each for each in BUILT_IN.cluster if each.name == name).spec["supportedModelFormats"]
    for offer in offers:
        model = {"modelFormat": {"name": offer["name"]}, "runtime": name, "storageUri": "/m"}
        plan = template.plan(isvc({"model": model}), "predictor", BUILT_IN)
        if isinstance(plan, Plan):
            assert plan.transport == "socket"
            parse(plan.container["args"], {})


@pytest.mark.parametrize(
    ("given", "reason", "words"),
    [
        (runtime({"command": ["x"], "args": ["{{.Spec}}"]}), "InvalidPredictorSpec", "{{.Spec}} is no placeholder"),
        (
            {**runtime({}), "containers": [{"name": "other"}]},
            "InvalidPredictorSpec",
            "No container configuration found in selected serving runtime",
        ),
        (runtime({"image": "me/mine"}), "NoSupportingRuntime", "ServingRuntime mine, chosen for modelFormat sklearn"),
    ],
)
def test_a_runtime_that_cannot_run_is_refused_by_its_name(given: dict[str, Any], reason: str, words: str) -> None:
    found = template.plan(isvc(), "predictor", with_runtime(given))
    assert isinstance(found, Refusal)
    assert found.reason == reason
    assert words in found.message


MLSERVER = {
    "command": ["mlserver", "start", "/mnt/models"],
    "env": [
        {"name": "MLSERVER_MODEL_IMPLEMENTATION", "value": "{{.Labels.modelClass}}"},
        {"name": "MLSERVER_HTTP_PORT", "value": "8080"},
    ],
}


def test_mlserver_gets_what_kserve_gives_it() -> None:
    annotations = {"serving.kserve.io/server-type": "mlserver"}
    plan = planned(isvc(), with_runtime(runtime(MLSERVER), annotations=annotations))
    env = {entry["name"]: entry["value"] for entry in plan.container["env"]}
    assert env == {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_METRICS_PORT": "$(METRICS_PORT)",
        "MLSERVER_MODEL_NAME": "iris",
        "MLSERVER_MODEL_URI": "/mnt/models",
        "MLSERVER_MODEL_IMPLEMENTATION": "mlserver_sklearn.SKLearnModel",
        "MLSERVER_HTTP_PORT": "$(PORT)",
    }


def test_what_the_user_says_to_mlserver_counts() -> None:
    annotations = {"serving.kserve.io/server-type": "mlserver"}
    service = isvc(
        {"sklearn": {"storageUri": "/m", "env": [{"name": "MLSERVER_MODEL_NAME", "value": "other"}]}},
        labels={"modelClass": "my.Class"},
    )
    plan = planned(service, with_runtime(runtime(MLSERVER), annotations=annotations))
    env = {entry["name"]: entry["value"] for entry in plan.container["env"]}
    assert (env["MLSERVER_MODEL_NAME"], env["MLSERVER_MODEL_IMPLEMENTATION"]) == ("other", "my.Class")


@pytest.mark.parametrize(
    ("annotations", "text"),
    [
        ({"colonnade.dev/sticky": "ip"}, "must be header:NAME or cookie:NAME, not 'ip'"),
        ({"serving.knative.dev/rollout-duration": "soon"}, "serving.knative.dev/rollout-duration"),
    ],
)
def test_what_a_rollout_cannot_follow_is_refused(annotations: dict[str, str], text: str) -> None:
    found = template.plan(isvc(annotations=annotations), "predictor", BUILT_IN)
    assert isinstance(found, Refusal)
    assert text in found.message
