"""From a manifest to a pod, or to the reason why not."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade import defaults
from colonnade.control import template
from colonnade.control.revisions import Revision
from colonnade.control.template import Plan, Refusal, Source

from .kserve_objects import isvc

FIRST = Revision(1, "abc")


def planned(predictor: dict[str, Any], **metadata: Any) -> Plan:
    found = template.plan(isvc(predictor, **metadata))
    assert isinstance(found, Plan), found
    return found


def made(plan: Plan, predictor: dict[str, Any], **models: str) -> dict[str, Any]:
    pod = template.pod(isvc(predictor), plan, FIRST, "p", {source.uri: "/cache/m" for source in plan.sources} | models)
    container: dict[str, Any] = pod["spec"]["containers"][0]
    return container


def test_a_framework_key_runs_the_built_in_server() -> None:
    predictor = {"sklearn": {"storageUri": "/models/iris", "args": ["--max_queue=5", "--http_port=8080"]}}
    plan = planned(predictor)
    assert (plan.runtime, plan.transport, plan.model) == ("kserve-sklearnserver", "socket", "iris")
    assert plan.sources == (Source("/models/iris"),)
    container = made(plan, predictor)
    assert container["command"][1:] == ["-m", "colonnade.server"]
    words = " ".join(container["args"])
    assert "--model-name iris --runtime sklearn --model-dir /cache/m --socket $(COLONNADE_SOCKET)" in words
    assert words.endswith("--max_queue=5")
    assert "--trust-code" not in words


def test_consent_is_passed_on() -> None:
    plan = planned({"sklearn": {"storageUri": "/m"}}, annotations={defaults.TRUST_CODE: "true"})
    assert "--trust-code" in plan.container["args"]


@pytest.mark.parametrize("args", [["--model_name=other"], ["--model-name", "other"]])
def test_the_model_name_of_the_arguments_is_the_one_that_replicas_answer_to(args: list[str]) -> None:
    assert planned({"sklearn": {"storageUri": "/m", "args": args}}).model == "other"


def test_a_known_image_of_kserve_is_the_built_in_server() -> None:
    image = {"name": "kserve-container", "image": "registry:5000/kserve/sklearnserver:v0.15"}
    plan = planned({"containers": [{**image, "env": [{"name": "STORAGE_URI", "value": "/m"}]}]})
    assert (plan.runtime, plan.transport, plan.sources) == ("kserve-sklearnserver", "socket", (Source("/m"),))


def test_a_command_is_a_local_process_with_the_conventions_of_kserve() -> None:
    container = {
        "name": "kserve-container",
        "image": "me/mine:1",
        "command": ["python", "serve.py"],
        "args": ["--model_dir=/mnt/models", "--sub=/mnt/models/x", "--not=/mnt/models2", "--port=$(PORT)"],
        "env": [{"name": "STORAGE_URI", "value": "https://h/m.zip"}, {"name": "WHERE", "value": "/mnt/models"}],
    }
    predictor = {"containers": [container]}
    plan = planned(predictor)
    assert (plan.transport, plan.runtime, plan.sources) == ("port", "", (Source("https://h/m.zip"),))
    found = made(plan, predictor)
    assert found["args"] == ["--model_dir=/cache/m", "--sub=/cache/m/x", "--not=/mnt/models2", "--port=$(PORT)"]
    env = {entry["name"]: entry["value"] for entry in found["env"]}
    assert env["WHERE"] == env["MODEL_DIR"] == "/cache/m"
    assert env["K_REVISION"] == "iris-predictor-00001"
    assert env["K_SERVICE"] == env["K_CONFIGURATION"] == "iris-predictor"
    assert env["INFERENCE_SERVICE_NAME"] == "iris"


def test_a_port_named_h2c_speaks_grpc() -> None:
    ports = [{"name": "h2c", "containerPort": 8081}]
    assert planned({"containers": [{"name": "c", "command": ["x"], "ports": ports}]}).transport == "h2c"


def test_several_sources_have_their_mounts() -> None:
    uris = [{"uri": "/a", "mountPath": "/mnt/models/a"}, {"uri": "/b", "mountPath": "/mnt/models/b"}]
    predictor = {"containers": [{"name": "c", "command": ["x", "/mnt/models/b/f"]}], "storageUris": uris}
    found = made(planned(predictor), predictor, **{"/b": "/cache/b"})
    assert found["command"] == ["x", "/cache/b/f"]


def test_the_pod_is_found_by_the_labels_of_kserve() -> None:
    predictor = {"sklearn": {"storageUri": "/m"}, "labels": {"team": "a"}, "annotations": {"note": "b"}}
    pod = template.pod(isvc(predictor), planned(predictor), FIRST, "p", {"/m": "/m"})
    labels = pod["metadata"]["labels"]
    assert labels["serving.kserve.io/inferenceservice"] == "iris"
    assert (labels["component"], labels["team"], pod["metadata"]["annotations"]["note"]) == ("predictor", "a", "b")
    assert pod["metadata"]["ownerReferences"][0]["uid"] == "u1"


@pytest.mark.parametrize(
    ("predictor", "reason", "words"),
    [
        ({"pmml": {"storageUri": "/m"}}, "NoSupportingRuntime", "No runtime found to support specified framework"),
        (
            {"model": {"modelFormat": {"name": "sklearn"}, "runtime": "nope", "storageUri": "/m"}},
            "RuntimeNotRecognized",
            "nope is not known",
        ),
        (
            {"model": {"modelFormat": {"name": "sklearn"}, "runtime": "kserve-xgbserver", "storageUri": "/m"}},
            "NoSupportingRuntime",
            "Specified runtime does not support specified framework/version",
        ),
        (
            {
                "model": {
                    "modelFormat": {"name": "sklearn"},
                    "runtime": "kserve-mlserver",
                    "protocolVersion": "v1",
                    "storageUri": "/m",
                }
            },
            "NoSupportingRuntime",
            "Specified runtime does not support specified protocol version",
        ),
        ({"sklearn": {}}, "InvalidPredictorSpec", "storageUri is missing"),
        ({"containers": [{"name": "c", "image": "me/mine:1"}]}, "InvalidPredictorSpec", "me/mine:1"),
        ({"containers": [{"name": "c", "image": "me/mine:1"}]}, "InvalidPredictorSpec", "Give `command`"),
        ({"containers": [{"name": "a"}, {"name": "b"}]}, "InvalidPredictorSpec", "not a, b"),
        ({"sklearn": {"storageUri": "/m"}, "workerSpec": {"a": 1}}, "InvalidPredictorSpec", "workerSpec"),
        (
            {"sklearn": {"storageUri": "/m", "readinessProbe": {"grpc": {"port": 1}}}},
            "InvalidPredictorSpec",
            "readinessProbe.grpc",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_the_reason_and_the_fix(
    predictor: dict[str, Any], reason: str, words: str
) -> None:
    found = template.plan(isvc(predictor))
    assert isinstance(found, Refusal)
    assert found.reason == reason
    assert words in found.message


@pytest.mark.parametrize("component", ["transformer", "explainer"])
def test_a_component_is_not_dropped_in_silence(component: str) -> None:
    service = isvc()
    service["spec"][component] = {"containers": [{"name": "c"}]}
    found = template.plan(service)
    assert isinstance(found, Refusal)
    assert f"spec.{component}" in found.message
