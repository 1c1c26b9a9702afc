"""From a manifest to a pod, or to the reason why not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from colonnade import defaults, flags
from colonnade.control.runtimes import builtin
from colonnade.control.runtimes.selection import Runtime
from colonnade.control.templates import template
from colonnade.control.templates.template import Plan, Refusal
from colonnade.control.workload.components import Component
from colonnade.control.workload.revisions import Revision
from colonnade.control.workload.sources import MODEL_MOUNT, Source
from colonnade.server.arguments import parse

from ..kserve_objects import isvc

FIRST = Revision("iris", Component("predictor", "", {}), 1, "abc")
BUILT_IN = builtin.runtimes()


def planned(predictor: dict[str, Any], **metadata: Any) -> Plan:
    found = template.plan(isvc(predictor, **metadata), "predictor", BUILT_IN)
    assert isinstance(found, Plan), found
    return found


def made(plan: Plan, predictor: dict[str, Any]) -> dict[str, Any]:
    paths = {source.mount: Path("/cache/m") for source in plan.sources}
    pod = template.pod(isvc(predictor), "predictor", plan, FIRST, paths)
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


@pytest.mark.parametrize(
    ("uri", "consent", "args", "trusted"),
    [
        ("/m", None, [], None),  # the server's own rule: a model.py runs, a pickle may not run code
        ("file:///m", None, [], None),
        ("https://h/m.zip", None, [], False),
        ("HTTP://h/m.zip", None, [], False),
        ("https://h/m.zip", "true", [], True),
        ("/m", "false", [], False),
        ("/m", "false", ["--trust-code"], False),
        ("https://h/m.zip", None, ["--trust_code"], True),
    ],
)
def test_code_from_the_network_needs_consent(
    uri: str, consent: str | None, args: list[str], trusted: bool | None
) -> None:
    annotations = {} if consent is None else {defaults.TRUST_CODE: consent}
    model = {"modelFormat": {"name": "python"}, "storageUri": uri, "args": args}
    plan = planned({"model": model}, annotations=annotations)
    assert parse(plan.container["args"], {}).trust_code is trusted


def test_flags_that_the_platform_decides_are_dropped() -> None:
    for name in [name for name, flag in flags.FLAGS.items() if flag.effect is flags.Effect.PLACED]:
        plan = planned({"sklearn": {"storageUri": "/m", "args": [f"{name}=mine", name, "mine", "--nthread=1"]}})
        assert not any("mine" in word for word in plan.container["args"]), name
        assert plan.container["args"][-1] == "--nthread=1"


@pytest.mark.parametrize(
    ("args", "uri"),
    [
        (["--model_id=google-bert/bert-base-uncased"], "hf://google-bert/bert-base-uncased"),
        (["--model-id", "a/b", "--model_revision", "v1", "--task=fill_mask"], "hf://a/b:v1"),
    ],
)
def test_a_model_that_arguments_name_at_the_hub_is_fetched_as_any_other(args: list[str], uri: str) -> None:
    token = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
    model = {"modelFormat": {"name": "huggingface"}, "args": args, "env": [token]}
    plan = planned({"model": model})
    assert plan.sources == (Source(uri, referred=(("HF_TOKEN", "hub", "token"),)),)
    words = plan.container["args"]
    assert not any("model-id" in word or "model_id" in word or "revision" in word for word in words)
    assert "--no-trust-code" in words, "it comes from the network"
    assert planned({"model": {**model, "storageUri": "/m"}}).sources[0].uri == "/m"


def test_a_predictor_without_a_model_serves_those_of_a_folder() -> None:
    plan = planned({"sklearn": {}})
    assert (plan.runtime, plan.transport, plan.sources) == ("kserve-sklearnserver", "socket", ())
    arguments = parse([word.replace("$(COLONNADE_MODEL_SET)", "/set") for word in plan.container["args"]], {})
    assert (arguments.multi_model, str(arguments.model_dir), arguments.trust_code) == (True, "/set", None)


def test_a_runtime_for_several_models_comes_first_where_no_model_is_named() -> None:
    spec = {
        "multiModel": True,
        "supportedModelFormats": [{"name": "sklearn", "autoSelect": True}],
        "containers": [{"name": "kserve-container", "image": "kserve/sklearnserver"}],
    }
    several = replace(builtin.runtimes(), namespaced=(Runtime("several", "default", spec),))
    for predictor, runtime in (({}, "several"), ({"storageUri": "/m"}, "kserve-sklearnserver")):
        plan = template.plan(isvc({"sklearn": predictor}), "predictor", several)
        assert isinstance(plan, Plan)
        assert plan.runtime == runtime


@pytest.mark.parametrize("args", [["--model_name=other"], ["--model-name", "other"]])
def test_the_model_name_of_the_arguments_is_the_one_that_replicas_answer_to(args: list[str]) -> None:
    assert planned({"sklearn": {"storageUri": "/m", "args": args}}).model == "other"


def test_a_known_image_of_kserve_is_the_built_in_server() -> None:
    image = {"name": "kserve-container", "image": "registry:5000/kserve/sklearnserver:v0.15"}
    plan = planned({"containers": [{**image, "env": [{"name": "STORAGE_URI", "value": "/m"}]}]})
    assert (plan.runtime, plan.transport, plan.sources) == ("", "socket", (Source("/m"),))
    assert "--runtime sklearn " in " ".join(plan.container["args"])


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


def test_probes_reach_the_pod() -> None:
    probes = {name: {"exec": {"command": ["true"]}} for name in ("readinessProbe", "livenessProbe", "startupProbe")}
    predictor = {"sklearn": {"storageUri": "/m", **probes}}
    assert probes.items() <= made(planned(predictor), predictor).items()


def test_a_port_named_h2c_speaks_grpc() -> None:
    ports = [{"name": "h2c", "containerPort": 8081}]
    assert planned({"containers": [{"name": "c", "command": ["x"], "ports": ports}]}).transport == "h2c"


def test_several_sources_have_their_mounts() -> None:
    uris = [{"uri": "/a", "mountPath": "/mnt/models/a"}, {"uri": "/b", "mountPath": "/mnt/models/b"}]
    predictor = {"containers": [{"name": "c", "command": ["x", "/mnt/models/b/f"]}], "storageUris": uris}
    found = made(planned(predictor), predictor)
    assert found["command"] == ["x", "/cache/m/b/f"]


def test_the_pod_is_found_by_the_labels_of_kserve() -> None:
    predictor = {"sklearn": {"storageUri": "/m"}, "labels": {"team": "a"}, "annotations": {"note": "b"}}
    pod = template.pod(isvc(predictor), "predictor", planned(predictor), FIRST, {MODEL_MOUNT: Path("/m")})
    labels = pod["metadata"]["labels"]
    assert labels["serving.kserve.io/inferenceservice"] == "iris"
    assert (labels["component"], labels["team"], pod["metadata"]["annotations"]["note"]) == ("predictor", "a", "b")
    assert pod["metadata"]["ownerReferences"][0]["uid"] == "u1"


@pytest.mark.parametrize(
    ("runtime", "form", "protocol", "served_by"),
    [
        ("kserve-sklearnserver", "sklearn", None, "sklearn"),
        ("kserve-sklearnserver", "sklearn", "v2", "sklearn"),
        ("kserve-xgbserver", "xgboost", "v1", "xgboost"),
        ("kserve-mlserver", "lightgbm", None, "lightgbm"),
        ("kserve-predictiveserver", "sklearn", None, "sklearn"),  # never chosen by itself
        ("kserve-tritonserver", "onnx", "grpc-v2", "onnx"),
    ],
)
def test_a_named_runtime_of_kserve_is_the_built_in_server(
    runtime: str, form: str, protocol: str | None, served_by: str
) -> None:
    model: dict[str, Any] = {"modelFormat": {"name": form}, "runtime": runtime, "storageUri": "/m"}
    plan = planned({"model": model | ({"protocolVersion": protocol} if protocol else {})})
    assert plan.runtime == runtime
    assert f"--runtime {served_by} " in " ".join(plan.container["args"])


def test_an_unknown_runtime_is_said_as_kserve_says_it() -> None:
    model = {"modelFormat": {"name": "sklearn"}, "runtime": "my-runtime", "storageUri": "/m"}
    found = template.plan(isvc({"model": model}), "predictor", BUILT_IN)
    assert isinstance(found, Refusal)
    assert found.reason == "RuntimeNotRecognized"
    assert found.message.startswith("Waiting for runtime to become available: my-runtime is not known here")


@pytest.mark.parametrize(
    ("predictor", "reason", "words"),
    [
        (
            {"model": {"modelFormat": {"name": "spark"}, "storageUri": "/m"}},
            "NoSupportingRuntime",
            "No runtime found to support specified framework",
        ),
        ({"paddle": {"storageUri": "/m"}}, "NoSupportingRuntime", "its server paddleserver is not on the PATH"),
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
        ({"huggingface": {}}, "InvalidPredictorSpec", "storageUri is missing"),
        ({"containers": [{"name": "c", "image": "me/mine:1"}]}, "InvalidPredictorSpec", "me/mine:1"),
        ({"containers": [{"name": "c", "image": "me/mine:1"}]}, "InvalidPredictorSpec", "Give a `command`"),
        ({"containers": [{"name": "a"}, {"name": "b"}]}, "InvalidPredictorSpec", "not a, b"),
        (
            {"sklearn": {"storageUri": "/m"}, "containers": [{"name": "transformer-container"}]},
            "InvalidPredictorSpec",
            "containers[name=transformer-container]: image '' cannot be run",
        ),
        ({"sklearn": {"storageUri": "/m"}, "workerSpec": {"a": 1}}, "InvalidPredictorSpec", "workerSpec"),
        (
            {"sklearn": {"storageUri": "/m", "readinessProbe": {"grpc": {"port": 1}}}},
            "InvalidPredictorSpec",
            "readinessProbe.grpc",
        ),
        (
            {"containers": [{"name": "c", "command": ["x"], "livenessProbe": {"grpc": {"port": 1}}}]},
            "InvalidPredictorSpec",
            "livenessProbe.grpc",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_the_reason_and_the_fix(
    predictor: dict[str, Any], reason: str, words: str
) -> None:
    found = template.plan(isvc(predictor), "predictor", BUILT_IN)
    assert isinstance(found, Refusal)
    assert found.reason == reason
    assert words in found.message


CHAINED = [
    "--model_name",
    "iris",
    "--http_port",
    "$(PORT)",
    "--grpc_port",
    "$(GRPC_PORT)",
    "--predictor_host",
    "$(COLONNADE_PREDICTOR_HOST)",
]


@pytest.mark.parametrize("component", ["transformer", "explainer"])
@pytest.mark.parametrize(
    ("given", "concurrency", "args"),
    [
        ([], None, CHAINED),
        (["--mine=1"], 0, ["--mine=1", *CHAINED]),
        ([], 4, [*CHAINED, "--workers", "4"]),
        (["--workers=2"], 4, ["--workers=2", *CHAINED]),
        (["--model-name", "other"], None, ["--model-name", "other", *CHAINED[2:]]),
        (["--http_port=8080", "--grpc_port", "8081"], None,
         ["--http_port=$(PORT)", "--grpc_port", "$(GRPC_PORT)", *CHAINED[:2], *CHAINED[6:]]),
        (["--predictor_host=elsewhere:80"], None, ["--predictor_host=elsewhere:80", *CHAINED[:6]]),
    ],
)  # fmt: skip
def test_what_stands_before_a_predictor_is_told_where_it_is(
    component: str, given: list[str], concurrency: int | None, args: list[str]
) -> None:
    service = isvc()
    container = {"name": "c", "command": ["python", "main.py"], "args": given}
    service["spec"][component] = {"containers": [container], "containerConcurrency": concurrency}
    plan = template.plan(service, component, BUILT_IN)
    assert isinstance(plan, Plan), plan
    assert (plan.container["args"], plan.transport) == (args, "ports")
    assert plan.model == ("other" if "other" in given else "iris")
    assert isinstance(template.plan(service, "predictor", BUILT_IN), Plan)


@pytest.mark.parametrize(
    ("component", "spec", "annotations", "text"),
    [
        ("transformer", {"containers": [{"name": "c", "image": "me/t:1"}]}, {}, "image 'me/t:1' cannot be run"),
        ("transformer", {"containers": [{"name": "a"}, {"name": "b"}]}, {}, "not a, b"),
        ("explainer", {"art": {"type": "SquareAttack"}}, {}, "pip install colonnade[art]"),
        (
            "transformer",
            {"containers": [{"name": "c", "command": ["x"]}]},
            {defaults.DIRECT: "true"},
            "requests would pass spec.transformer by",
        ),
    ],
)
def test_a_component_that_cannot_run_is_refused(
    component: str, spec: dict[str, Any], annotations: dict[str, str], text: str
) -> None:
    service = isvc(annotations=annotations)
    service["spec"][component] = spec
    found = template.plan(service, component, BUILT_IN)
    assert isinstance(found, Refusal)
    assert text in found.message


def test_a_transformer_may_bring_files() -> None:
    service = isvc()
    env = [{"name": "STORAGE_URI", "value": "/words"}]
    service["spec"]["transformer"] = {"containers": [{"name": "c", "command": ["x"], "env": env}]}
    plan = template.plan(service, "transformer", BUILT_IN)
    assert isinstance(plan, Plan)
    assert plan.sources == (Source("/words"),)


def test_annotations_become_flags_of_the_server_and_arguments_win() -> None:
    annotations = {"colonnade.dev/queue-target": "0.5", "colonnade.dev/max-queue": "7"}
    plan = planned({"sklearn": {"storageUri": "/m", "args": ["--max-queue=9"]}}, annotations=annotations)
    assert plan.container["args"][-3:] == ["--max-queue=7", "--queue-target=0.5", "--max-queue=9"]
    assert all(flag in flags.FLAGS for flag in flags.ANNOTATIONS.values())


@pytest.mark.parametrize(
    ("batcher", "flags"),
    [
        ({"maxBatchSize": 8, "maxLatency": 20, "timeout": 60}, ["--max-batch-size=8", "--max-batch-latency=20"]),
        ({}, ["--max-batch-size=32"]),  # KServe's default
    ],
)
def test_a_batcher_becomes_flags_of_the_server(batcher: dict[str, Any], flags: list[str]) -> None:
    predictor = {"sklearn": {"storageUri": "/m", "args": ["--nthread=1"]}, "batcher": batcher}
    annotations = {"colonnade.dev/execution": "process"}
    plan = planned(predictor, annotations=annotations)
    assert plan.container["args"][-2 - len(flags) :] == [*flags, "--execution=process", "--nthread=1"]


def test_a_port_of_its_own_is_asked_for_by_annotation() -> None:
    plan = planned({"sklearn": {"storageUri": "/m"}}, annotations={defaults.DIRECT: "true"})
    place = plan.container["args"].index("--direct-port")
    assert plan.container["args"][place + 1] == "$(COLONNADE_DIRECT_PORT)"
    plain = planned({"sklearn": {"storageUri": "/m"}}, annotations={defaults.DIRECT: "false"})
    assert "--direct-port" not in plain.container["args"]


@pytest.mark.parametrize(
    ("predictor", "annotations", "text"),
    [
        ({"sklearn": {"storageUri": "/m"}}, {defaults.DIRECT: "yes"}, 'must be "true" or "false", not \'yes\''),
        ({"containers": [{"name": "c", "command": ["x"]}]}, {defaults.DIRECT: "true"}, "has its own port"),
        (
            {"sklearn": {"storageUri": "/m"}},
            {"colonnade.dev/retry-percent": "many"},
            "colonnade.dev/retry-percent must",
        ),
    ],
)
def test_annotations_that_cannot_be_met_are_refused(
    predictor: dict[str, Any], annotations: dict[str, str], text: str
) -> None:
    refusal = template.plan(isvc(predictor, annotations=annotations), "predictor", BUILT_IN)
    assert isinstance(refusal, Refusal)
    assert text in refusal.message


def test_a_mistake_in_the_routing_does_not_keep_a_former_revision_from_running() -> None:
    service = isvc({"sklearn": {"storageUri": "/m"}}, annotations={defaults.STICKY: "bogus"})
    refused = template.plan(service, "predictor", BUILT_IN)
    assert isinstance(refused, template.Refusal)
    assert defaults.STICKY in refused.message
    assert isinstance(template.plan(service, "predictor", BUILT_IN, former=True), Plan)
