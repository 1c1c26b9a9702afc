"""The rules of a service, with KServe's texts."""
# ruff: noqa: E501  a case of a table is one line

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given

from colonnade.errors import Invalid
from colonnade.resources.defaulting import default
from colonnade.resources.inferenceservice import parse
from colonnade.resources.validation import validate

from .arbitrary import services

MODEL = {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://a/b"}
STANDARD = {"serving.kserve.io/deploymentMode": "Standard"}
KNATIVE = {"serving.kserve.io/deploymentMode": "Serverless"}
HPA = STANDARD | {"serving.kserve.io/autoscalerClass": "hpa"}
KEDA = STANDARD | {"serving.kserve.io/autoscalerClass": "keda"}


def service(spec: dict[str, Any], annotations: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    """A service by its spec; `model` is there if no other form is."""
    meta = {"name": "iris", "annotations": annotations, **metadata}
    return {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": meta, "spec": spec}


def causes(obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    """The broken rules of an object, with its defaults."""
    try:
        validate(default(obj), old)
    except Invalid as error:
        return list(error.causes)
    return []


def predictor(given: dict[str, Any], annotations: dict[str, str] | None = None) -> list[tuple[str, str]]:
    return causes(service({"predictor": {"model": MODEL, **given}}, annotations))


def keda(metric: dict[str, Any]) -> list[tuple[str, str]]:
    return predictor({"autoScaling": {"metrics": [metric]}}, KEDA)


def canary(*canaries: dict[str, Any], annotations: dict[str, str] | None = None) -> list[tuple[str, str]]:
    listed = [{"trafficPercent": 10, **item} for item in canaries]
    return causes(service({"predictor": {"model": MODEL, "name": "stable"}, "canary": listed}, annotations))


def workers(spec: dict[str, Any], model: dict[str, Any], scaler: str = "none") -> list[tuple[str, str]]:
    annotations = {"serving.kserve.io/autoscalerClass": scaler}
    return causes(service({"predictor": {"model": MODEL | model, "workerSpec": spec}}, annotations))


CASES: list[tuple[Callable[[], list[tuple[str, str]]], str, str]] = [
    (
        lambda: predictor({"minReplicas": 3, "maxReplicas": 2}),
        "minReplicas",
        "'MinReplicas' cannot be greater than MaxReplicas",
    ),
    (lambda: predictor({"minReplicas": -1}), "minReplicas", "'MinReplicas' cannot be less than 0"),
    (lambda: predictor({"maxReplicas": -1}), "maxReplicas", "'MaxReplicas' cannot be less than 0"),
    (lambda: predictor({"containerConcurrency": -1}), "containerConcurrency", "parallelism cannot be less than 0"),
    (lambda: predictor({"canaryTrafficPercent": 101}), "canaryTrafficPercent", "must be between [0, 100], not 101"),
    (lambda: predictor({"canaryTrafficPercent": -1}), "canaryTrafficPercent", "must be between [0, 100], not -1"),
    (lambda: predictor({"timeout": -1}), "timeout", "timeout cannot be less than 0"),
    (lambda: predictor({"logger": {"url": "http://x"}}), "logger.mode", "invalid logger type"),
    (
        lambda: predictor({"logger": {"mode": "all", "storage": {"path": "x"}}}),
        "logger.storage",
        "invalid logger storage configuration",
    ),
    (
        lambda: predictor({"batcher": {"maxBatchSize": -1}}),
        "batcher.maxBatchSize",
        "maxBatchSize cannot be less than 0",
    ),
    (
        lambda: predictor({"model": MODEL | {"name": "x"}}),
        "model.name",
        "the 'name' field is not allowed in standard predictor",
    ),
    (
        lambda: predictor({"model": MODEL | {"storageUri": "ftp://x/y"}}),
        "model.storageUri",
        "or match https://{}.blob.core.windows.net/{}/{} or be an absolute or relative local path. StorageUri [ftp://x/y] is not supported",
    ),
    (
        lambda: predictor({"storageUris": [{"uri": "gs://a"}]}),
        "storageUris",
        "Setting both StorageURI and StorageURIs is not supported.",
    ),
    (
        lambda: predictor({"model": MODEL | {"env": [{"name": "PYTHONPATH", "value": "/x"}]}}),
        "model.env[0]",
        'the InferenceService "iris" is invalid: setting PYTHONPATH in container "" is not allowed for security reasons',
    ),
    (
        lambda: predictor({"model": MODEL | {"resources": {"limits": {"cpu": "lots"}}}}),
        "model.resources.limits[cpu]",
        "'lots' is no quantity",
    ),
    (
        lambda: predictor({"model": MODEL | {"resources": {"limits": {"cpu": "-1"}}}}),
        "model.resources.limits[cpu]",
        '"-1" must be greater than or equal to 0',
    ),
    (
        lambda: predictor({"model": MODEL | {"storageUri": None, "confidential": {"enabled": True}}}),
        "model.confidential",
        "confidential model serving requires storageUri to be set",
    ),
    (
        lambda: predictor({"model": MODEL | {"confidential": {"enabled": True, "resourceId": "x"}}}),
        "model.confidential.resourceId",
        "must be in the format kbs:///<repo>/<type>/<tag>",
    ),
    (
        lambda: predictor({"containers": [{"name": "transformer-container", "env": [{"name": "STORAGE_URI"}]}]}),
        "containers[0].env",
        "storage uri should not be specified in transformer container",
    ),
    (
        lambda: predictor(
            {"model": None, "containers": [{"image": "x", "env": [{"name": "PROTOCOL", "value": "v3"}]}]}
        ),
        "containers[0].env[0]",
        "invalid protocol v3. Must be one of [v1, v2]",
    ),
    (lambda: predictor({"scaleMetric": "cpu"}, KNATIVE), "scaleMetric", "[cpu] is not a supported metric"),
    (
        lambda: predictor({"deploymentStrategy": {"type": "Recreate"}}, KNATIVE),
        "deploymentStrategy",
        "customizing deploymentStrategy is only supported for raw deployment mode",
    ),
    (
        lambda: predictor({"scaleMetric": "rps", "scaleTarget": 0}, KNATIVE),
        "scaleTarget",
        "the target for rps should be greater than 1",
    ),
    (lambda: predictor({"scaleMetric": "rps"}, HPA), "scaleMetric", "[rps] is not a supported metric"),
    (
        lambda: predictor({"scaleTarget": 0}, HPA),
        "scaleTarget",
        "the target utilization percentage should be a [1-100] integer",
    ),
    (
        lambda: predictor({"autoScaling": {"metrics": [{"type": "PodMetric"}]}}, HPA),
        "autoScaling.metrics[0].type",
        "invalid HPA metric source type with value [PodMetric],valid metric source types are Resource",
    ),
    (lambda: predictor({"scaleMetric": "cpu"}, KEDA), "scaleMetric", "ScaleMetric is not supported for KEDA"),
    (
        lambda: keda({"type": "External", "external": {"metric": {}, "target": {"type": "Value", "value": "1"}}}),
        "autoScaling.metrics[0].external.metric.query",
        "the query should not be empty",
    ),
    (
        lambda: keda({"type": "PodMetric", "podmetric": {"metric": {"query": "x"}, "target": {}}}),
        "autoScaling.metrics[0].podmetric.target.value",
        "the target threshold value should not be empty",
    ),
    (
        lambda: keda(
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 101}},
            }
        ),
        "autoScaling.metrics[0].resource.target.averageUtilization",
        "the target utilization percentage should be a [1-100] integer",
    ),
    (
        lambda: keda(
            {
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Ki"}},
            }
        ),
        "autoScaling.metrics[0].resource.target.averageValue",
        "the memory target value should be greater than 1 MiB",
    ),
    (
        lambda: keda({"type": "Resource"}),
        "autoScaling.metrics[0]",
        "metricSpec.Resource is not set for resource metric source type",
    ),
]


@pytest.mark.parametrize(("given", "field", "text"), CASES, ids=[text for _, _, text in CASES])
def test_rules_of_a_component(given: Callable[[], list[tuple[str, str]]], field: str, text: str) -> None:
    ((path, message),) = given()
    assert path == f"spec.predictor.{field}"
    assert text in message


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        ({"sklearn": {}, "xgboost": {}}, "found sklearn, xgboost"),
        ({"sklearn": {}, "model": MODEL}, "found model, sklearn"),
        ({"model": MODEL, "containers": [{"name": "kserve-container"}]}, "found model, containers"),
        ({"minReplicas": 1}, "found none"),
        ({"containers": []}, "found none"),
    ],
)
def test_exactly_one_form_of_predictor(spec: dict[str, Any], given: str) -> None:
    ((path, message),) = causes(service({"predictor": spec}))
    assert path == "spec.predictor"
    assert message.startswith(
        "exactly one of [SKLearn, XGBoost, Tensorflow, PyTorch, Triton, ONNX, HuggingFace, PMML, LightGBM, "
    )
    assert message.endswith(given)


@pytest.mark.parametrize(
    "spec",
    [
        {"predictor": {"sklearn": {"storageUri": "s3://a/b"}}},
        {"predictor": {"model": MODEL | {"storageUri": "relative/path"}}},
        {"predictor": {"model": MODEL | {"storageUri": "https://x.blob.core.windows.net/a/b"}}},
        {"predictor": {"model": MODEL, "minReplicas": 0, "maxReplicas": 0, "canaryTrafficPercent": 0}},
        {"predictor": {"model": MODEL, "scaleMetric": "cpu"}},
        {"predictor": {"model": MODEL, "scaleMetric": "concurrency"}},
        {"predictor": {"model": MODEL, "containers": [{"name": "transformer-container", "image": "t"}]}},
        {"predictor": {"containers": [{"image": "x", "env": [{"name": "PROTOCOL", "value": "v2"}]}]}},
        {"predictor": {"model": {"modelFormat": {"name": "x"}}, "storageUris": [{"uri": "gs://a"}]}},
        {"predictor": {"model": MODEL}, "explainer": {"art": {"type": "SquareAttack"}}},
    ],
)
def test_valid_services(spec: dict[str, Any]) -> None:
    assert causes(service(spec)) == []


@pytest.mark.parametrize("name", ["Iris", "1iris", "iris-", "iris_a", "ir.is", "-"])
def test_names_have_kserves_text(name: str) -> None:
    ((path, message),) = causes(service({"predictor": {"model": MODEL}}, name=name))
    assert path == "metadata.name"
    assert message == (
        f'the InferenceService "{name}" is invalid: a InferenceService name must consist of lower case alphanumeric '
        'characters or \'-\', and must start with alphabetical character. (e.g. "my-name" or "abc-123", '
        "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
    )


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"namespace": "a.b"}, "metadata.namespace"),
        ({"labels": {"a": "b c"}}, "metadata.labels"),
        ({"labels": {"-a": "b"}}, "metadata.labels"),
        ({"labels": {"A_B/a": "b"}}, "metadata.labels"),
        ({"annotations": {"a b": "c"}}, "metadata.annotations"),
        (
            {"annotations": {"serving.kserve.io/autoscalerClass": "x"}},
            "metadata.annotations[serving.kserve.io/autoscalerClass]",
        ),
        ({"name": None}, "metadata.name"),
    ],
)
def test_metadata(metadata: dict[str, Any], path: str) -> None:
    assert [found for found, _ in causes(service({"predictor": {"model": MODEL}}, **metadata))] == [path]


def test_all_failures_are_reported_at_once() -> None:
    obj = service(
        {
            "predictor": {"model": MODEL, "minReplicas": -1, "containerConcurrency": -1},
            "transformer": {"minReplicas": 2, "maxReplicas": 1, "containers": [{"image": "t"}]},
        },
        name="Iris",
    )
    assert [path for path, _ in causes(obj)] == [
        "metadata.name",
        "spec.predictor.minReplicas",
        "spec.predictor.containerConcurrency",
        "spec.transformer.minReplicas",
    ]
    with pytest.raises(Invalid, match=r'^InferenceService.serving.kserve.io "Iris" is invalid: \[metadata.name: .*\]$'):
        validate(default(obj))


@pytest.mark.parametrize(
    ("uris", "text"),
    [
        ([{"uri": ""}], "storage URI cannot be empty"),
        ([{"uri": "a", "mountPath": "/"}], "storage path cannot be empty"),
        ([{"uri": "a", "mountPath": "/a/../b"}], "storage path cannot contain '..' for security reasons: /a/../b"),
        (
            [{"uri": "a", "mountPath": "/a/x"}, {"uri": "b", "mountPath": "/b/x"}],
            "storage paths must have a common parent",
        ),
        ([{"uri": "pvc://a", "mountPath": "/m"}] * 2, "PVC storage paths must be unique"),
    ],
)
def test_storage_uris(uris: list[dict[str, str]], text: str) -> None:
    form = {"modelFormat": {"name": "sklearn"}}
    ((path, message),) = causes(service({"predictor": {"model": form, "storageUris": uris}}))
    assert path.startswith("spec.predictor.storageUris")
    assert text in message


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (lambda: workers({"containers": [{"name": "a"}, {"name": "b"}]}, {"storageUri": "pvc://x"}), "setting multiple containers in workerSpec"),
        (lambda: workers({"tensorParallelSize": 0}, {"storageUri": "pvc://x"}), "WorkerSpec.TensorParallelSize cannot be less than 1(0)"),
        (lambda: workers({}, {"storageUri": None}), "StorageURI must be set for multinode enabled"),
        (lambda: workers({}, {}), "Multinode only supports 'pvc' and 'oci' Storage Protocol(gs)"),
        (lambda: workers({}, {"storageUri": "oci://x"}, "hpa"), "Multinode only supports 'none' autoscaler(hpa)"),
        (
            lambda: workers({}, {"storageUri": "oci://x", "env": [{"name": "PIPELINE_PARALLEL_SIZE"}]}),
            "setting PIPELINE_PARALLEL_SIZE in environment variables is not allowed",
        ),
    ],
)  # fmt: skip
def test_several_nodes(found: Callable[[], list[tuple[str, str]]], text: str) -> None:
    ((_, message),) = found()
    assert message.startswith('the InferenceService "iris" is invalid: ')
    assert text in message


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (lambda: canary({"predictor": {}}), "predictor.name is required"),
        (lambda: canary({"predictor": {"name": "b"}}, {"predictor": {"name": "b"}}), "duplicated"),
        (lambda: canary({"predictor": {"name": "stable"}}), "conflicts with stable"),
        (lambda: canary({"predictor": {"name": "b"}, "trafficPercent": 60}, {"predictor": {"name": "c"}, "trafficPercent": 50}), "must be <= 100"),
        (lambda: canary({"predictor": {"name": "b", "maxReplicas": 5}}), "must not set maxReplicas"),
        (lambda: canary({"predictor": {"name": "b", "minReplicas": 5}}), "must not exceed stable"),
        (lambda: canary({"predictor": {"name": "b"}}, annotations=KNATIVE), "only supported in Standard deployment mode"),
        (lambda: canary({"predictor": {"name": "b"}, "trafficPercent": 101}), "101 must be 100 or less"),
    ],
)  # fmt: skip
def test_canaries(found: Callable[[], list[tuple[str, str]]], text: str) -> None:
    ((_, message),) = found()
    assert text in message


@pytest.mark.parametrize(
    ("before", "status", "after", "refused"),
    [
        ("Standard", None, "Knative", True),
        ("RawDeployment", None, "Standard", False),
        (None, "Standard", "Serverless", True),
        ("Serverless", "Standard", "Serverless", False),
        ("Standard", "Standard", None, False),
    ],
)
def test_the_deployment_mode_stays(before: str | None, status: str | None, after: str | None, refused: bool) -> None:
    def mode(value: str | None) -> dict[str, str]:
        return {"serving.kserve.io/deploymentMode": value} if value else {}

    spec = {"predictor": {"model": MODEL}}
    old = service(spec, mode(before)) | ({"status": {"deploymentMode": status}} if status else {})
    found = causes(service(spec, mode(after)), old)
    assert bool(found) == refused
    if refused:
        new = "Knative" if after == "Serverless" else after
        assert found[0][1] == f"update rejected: deploymentMode cannot be changed from 'Standard' to '{new}'"


def test_a_new_name_of_the_predictor_needs_a_new_model() -> None:
    old = service({"predictor": {"model": MODEL}})
    same = service({"predictor": {"model": MODEL, "name": "v2"}})
    assert causes(same, old) == [
        ("spec.predictor.name", "predictor.name change requires a model change (e.g. storageUri)")
    ]
    assert causes(service({"predictor": {"model": MODEL | {"storageUri": "gs://a/c"}, "name": "v2"}}), old) == []


@pytest.mark.parametrize(
    ("kind", "name", "valid"),
    [("ConfigMap", "a.b", True), ("ConfigMap", "A", False), ("Namespace", "a.b", False), ("Namespace", "a", True)],
)
def test_names_of_core_kinds(kind: str, name: str, valid: bool) -> None:
    obj = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    assert (causes(obj) == []) == valid


def test_kinds_that_are_not_served_have_no_rules() -> None:
    validate({"apiVersion": "apps/v1", "kind": "Deployment"})
    validate({})


@given(services)
def test_any_service_is_valid_or_refused(obj: dict[str, Any]) -> None:
    try:
        validate(default(obj), obj)
    except Invalid as error:
        refused = error.causes
    else:
        refused = ()
    assert all(message for _, message in refused)


@pytest.mark.parametrize(
    ("given", "uri", "protocol", "replicas"),
    [
        ({"sklearn": {"storageUri": "/m", "protocolVersion": "v2"}, "minReplicas": 3}, "/m", "v2", 3),
        ({"model": MODEL, "minReplicas": 0}, "gs://a/b", "v1", 1),
        ({"containers": [{"env": [{"name": "STORAGE_URI", "value": "/x"}]}]}, "/x", "v1", 1),
        ({"containers": [{"env": [{"name": "PROTOCOL", "value": "v2"}]}]}, None, "v2", 1),
        ({}, None, "v1", 1),
    ],
)
def test_what_a_typed_view_says(given: dict[str, Any], uri: str | None, protocol: str, replicas: int) -> None:
    found = parse(service({"predictor": given})).spec.predictor
    assert (found.model_uri, found.protocol, found.replicas) == (uri, protocol, replicas)
