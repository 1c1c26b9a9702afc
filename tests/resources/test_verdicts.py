"""What becomes of each field of a manifest."""
# ruff: noqa: E501  a case of a table is one line

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.control.runtimes import builtin, engines
from colonnade.errors import Invalid
from colonnade.resources import kinds, served
from colonnade.resources.defaulting import default
from colonnade.resources.kinds import Kind
from colonnade.resources.shape import Entries, Listing, Record, Scalar, Shape, join, shape_of
from colonnade.resources.validation import validate
from colonnade.resources.verdicts import HIDDEN, FieldVerdict, check, check_text
from colonnade.runtimes import catalogue, images

from .arbitrary import json_values, services


def verdicts(obj: dict[str, Any]) -> dict[str, FieldVerdict]:
    """The verdicts by path."""
    return {found.path: found for found in check(obj)}


def of_predictor(given: dict[str, Any], path: str) -> FieldVerdict:
    obj = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "a"},
        "spec": {"predictor": given},
    }
    return verdicts(obj)[f"spec.predictor.{path}"]


SKLEARN = {"modelFormat": {"name": "sklearn"}}

CASES: list[tuple[dict[str, Any], str, str, str]] = [
    ({"sklearn": {"storageUri": "/m"}}, "sklearn.storageUri", "runs", ""),
    ({"sklearn": {"storageUri": "file:///m"}}, "sklearn.storageUri", "runs", ""),
    ({"sklearn": {"storageUri": "gs://m"}}, "sklearn.storageUri", "runs", ""),
    ({"sklearn": {"storageUri": "modelscope://o/m"}}, "sklearn.storageUri", "cluster-only", "modelscope:// is not run by this version"),
    ({"sklearn": {"storageUri": "https://a.file.core.windows.net/s/m"}}, "sklearn.storageUri", "cluster-only", "file shares are not run"),
    ({"sklearn": {"storageUri": "pvc://claim/m"}}, "sklearn.storageUri", "emulated", "--pvc NAME=DIR"),
    ({"sklearn": {"storageUri": "oci+native://host.example/m"}}, "sklearn.storageUri", "emulated", "without a container engine"),
    ({"sklearn": {"storageUri": "abfss://c@a.dfs.core.windows.net/m"}}, "sklearn.storageUri", "emulated", "KServe takes it only as https://"),
    ({"pytorch": {"storageUri": "/m"}}, "pytorch.storageUri", "emulated", "one whose handler is a program is refused"),
    ({"pytorch": {"storageUri": "gs://b/m.pt2"}}, "pytorch.storageUri", "runs", ""),
    ({"pytorch": {"storageUri": "pvc://c/m"}}, "pytorch.storageUri", "emulated", "--pvc NAME=DIR`; .pt2, .pt"),
    ({"pytorch": {"storageUri": "/m", "command": ["torchserve"]}}, "pytorch.storageUri", "runs", ""),
    ({"model": {"modelFormat": {"name": "pytorch"}, "storageUri": "/m"}}, "model.storageUri", "emulated", "TorchServe archive"),
    ({"model": {"modelFormat": {"name": "pytorch"}, "runtime": "own", "storageUri": "/m"}}, "model.storageUri", "runs", ""),
    ({"triton": {"storageUri": "/m", "args": ["--log-verbose=1"]}}, "triton.args[0]", "runs", ""),
    ({"model": SKLEARN}, "model.modelFormat.name", "runs", ""),
    ({"model": SKLEARN, "batcher": {"maxBatchSize": 8}}, "batcher.maxBatchSize", "runs", "most rows"),
    ({"model": SKLEARN, "batcher": {"maxLatency": 8}}, "batcher.maxLatency", "runs", "a lone one never waits"),
    ({"model": SKLEARN, "batcher": {"timeout": 8}}, "batcher.timeout", "emulated", "has no effect here"),
    ({"containers": [{"command": ["x"]}], "batcher": {"maxLatency": 8}}, "batcher.maxLatency", "runs", "a lone one never waits"),
    ({"model": {"modelFormat": {"name": "tensorflow"}}}, "model.modelFormat.name", "runs", ""),
    ({"model": {"modelFormat": {"name": "triton"}}}, "model.modelFormat.name", "emulated", "served by tritonserver if"),
    ({"model": {"modelFormat": {"name": "spark"}}}, "model.modelFormat.name", "emulated", "a ServingRuntime with a `command` must"),
    ({"model": {"modelFormat": {"name": "spark"}, "args": ["--x"]}}, "model.args[0]", "runs", ""),
    ({"model": SKLEARN | {"runtime": "mine", "args": ["--x"]}}, "model.args[0]", "runs", ""),
    ({"model": SKLEARN | {"command": ["x"]}}, "model.command[0]", "runs", "local process"),
    ({"model": SKLEARN | {"runtime": "kserve-sklearnserver"}}, "model.runtime", "emulated", "built-in"),
    ({"model": SKLEARN | {"runtime": "mine"}}, "model.runtime", "runs", "ServingRuntime of the namespace"),
    ({"model": SKLEARN | {"runtimeVersion": "1"}}, "model.runtimeVersion", "emulated", "installed library"),
    ({"model": SKLEARN | {"protocolVersion": "v2"}}, "model.protocolVersion", "runs", "at once"),
    ({"model": SKLEARN | {"protocolVersion": "grpc-v1"}}, "model.protocolVersion", "emulated", "by its server only"),
    ({"model": SKLEARN | {"args": ["--nthread=2"]}}, "model.args[0]", "runs", ""),
    ({"model": SKLEARN | {"args": ["--workers", "2", "--nthread", "2"]}}, "model.args[1]", "emulated", "has no effect here: one process"),
    ({"model": SKLEARN | {"args": ["--workers", "2", "--nthread", "2"]}}, "model.args[3]", "runs", ""),
    ({"sklearn": {"storageUri": "/m", "args": ["--ssl_keyfile=x"]}}, "sklearn.args[0]", "cluster-only", "does not start with it"),
    ({"model": SKLEARN | {"args": ["--http_port", "1"]}}, "model.args[1]", "emulated", "address"),
    ({"model": SKLEARN | {"args": ["--enable_predictor_health_check", "x"]}}, "model.args[1]", "unknown", "no flag"),
    ({"model": SKLEARN | {"args": ["--model_nam=x"]}}, "model.args[0]", "unknown", "did you mean --model-name?"),
    ({"containers": [{"image": "i", "command": ["x"], "args": ["--x"]}]}, "containers[0].args[0]", "runs", ""),
    ({"containers": [{"image": "kserve/sklearnserver", "args": ["--workers=2"]}]}, "containers[0].args[0]", "emulated", "no effect"),
    ({"containers": [{"image": "mine", "args": ["--workers=2"]}]}, "containers[0].args[0]", "cluster-only", "container engine"),
    ({"model": SKLEARN | {"resources": {"limits": {"nvidia.com/gpu": 1}}}}, "model.resources.limits[nvidia.com/gpu]", "runs", "whole devices"),
    ({"model": SKLEARN | {"resources": {"limits": {"nvidia.com/mig-1g.5gb": 1}}}}, "model.resources.limits[nvidia.com/mig-1g.5gb]", "cluster-only", "refused"),
    ({"model": SKLEARN | {"resources": {"limits": {"memory": "1Gi"}}}}, "model.resources.limits.memory", "runs", "OOMKilled"),
    ({"model": SKLEARN | {"resources": {"requests": {"cpu": "1"}}}}, "model.resources.requests.cpu", "runs", "unclaimed"),
    ({"model": SKLEARN | {"resources": {"requests": {"ephemeral-storage": "1Gi"}}}}, "model.resources.requests.ephemeral-storage", "emulated", "recorded"),
    ({"priority": 5}, "priority", "runs", ""),
    ({"minReplicas": 2}, "minReplicas", "runs", ""),
    ({"minReplicas": 0}, "minReplicas", "runs", "the last replica goes when nobody asks"),
    ({"maxReplicas": 2}, "maxReplicas", "runs", ""),
    ({"maxReplicas": 0}, "maxReplicas", "emulated", "no limit but the machine's"),
    ({"scaleTarget": 5}, "scaleTarget", "runs", ""),
    ({"scaleMetric": "rps"}, "scaleMetric", "runs", ""),
    ({"scaleMetricType": "Utilization"}, "scaleMetricType", "runs", ""),
    ({"scaleMetricType": "AverageValue"}, "scaleMetricType", "emulated", "as in KServe"),
    ({"annotations": {"autoscaling.knative.dev/target": "5"}}, "annotations[autoscaling.knative.dev/target]", "runs", ""),
    ({"annotations": {"autoscaling.knative.dev/taget": "5"}}, "annotations[autoscaling.knative.dev/taget]", "unknown", "did you mean target?"),
    ({"annotations": {"team": "a"}}, "annotations.team", "runs", ""),
    ({"autoScaling": {"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]}}, "autoScaling.metrics[0].resource.target.type", "runs", ""),
    ({"autoScaling": {"metrics": [{"type": "PodMetric", "podmetric": {"metric": {"backend": "opentelemetry"}, "target": {}}}]}}, "autoScaling.metrics[0].podmetric.metric.backend", "emulated", "own /metrics"),
    ({"autoScaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}}}}, "autoScaling.behavior.scaleDown.stabilizationWindowSeconds", "runs", ""),
    ({"containerConcurrency": 2}, "containerConcurrency", "runs", "more wait in the gateway"),
    ({"canaryTrafficPercent": 2}, "canaryTrafficPercent", "runs", "splits exactly"),
    ({"logger": {"mode": "all"}}, "logger.mode", "runs", "without a sidecar"),
    ({"timeout": 2}, "timeout", "runs", ""),
    ({"nodeSelector": {"a/b": "c"}}, "nodeSelector[a/b]", "cluster-only", "one machine"),
    ({"affinity": {"x": [{"y": 1}]}}, "affinity.x[0].y", "cluster-only", "one machine"),
    ({"tolerations": [{"key": "gpu"}]}, "tolerations[0].key", "emulated", "always met"),
    ({"serviceAccountName": "x"}, "serviceAccountName", "emulated", "replicas get no identity"),
    ({"volumes": [{"name": "v", "emptyDir": {}}]}, "volumes[0].emptyDir", "cluster-only", "local processes"),
    ({"containers": [{"command": ["x"], "image": "i"}]}, "containers[0].command[0]", "runs", "local process"),
    ({"containers": [{"command": ["x"], "image": "i"}]}, "containers[0].image", "emulated", "without the image"),
    ({"containers": [{"image": "docker.io/kserve/sklearnserver:v0.15"}]}, "containers[0].image", "emulated", "built-in"),
    ({"containers": [{"image": "kserve/torchserve-kfs:0.9"}]}, "containers[0].image", "emulated", "stands in for it"),
    ({"containers": [{"image": "me/mine:1"}]}, "containers[0].image", "cluster-only", "container engine"),
    ({"containers": [{"name": "a"}, {"name": "kserve-container"}]}, "containers[0].name", "cluster-only", "refused"),
    ({"containers": [{"name": "a"}, {"name": "kserve-container"}]}, "containers[1].name", "runs", ""),
    ({"model": SKLEARN, "containers": [{"name": "transformer-container"}]}, "containers[0].name", "runs", ""),
    ({"model": SKLEARN, "containers": [{"name": "beside"}]}, "containers[0].name", "cluster-only", "only the model"),
    ({"containers": [{"readinessProbe": {"httpGet": {"path": "/", "port": "http"}}}]}, "containers[0].readinessProbe.httpGet.path", "runs", ""),
    ({"containers": [{"readinessProbe": {"httpGet": {"path": "/", "port": "http"}}}]}, "containers[0].readinessProbe.httpGet.port", "emulated", "own address"),
    ({"modle": {}}, "modle", "unknown", "did you mean model?"),
    ({"sklearn": {"storageURI": "x"}}, "sklearn.storageURI", "unknown", "did you mean storageUri?"),
    ({"zzz": 1}, "zzz", "unknown", "no such field"),
    ({"minReplicas": "two"}, "minReplicas", "unknown", "must be of type integer, not string"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "path", "verdict", "note"), CASES, ids=[f"{c[1]}-{c[2]}" for c in CASES])
def test_verdicts_of_a_predictor(given: dict[str, Any], path: str, verdict: str, note: str) -> None:
    found = of_predictor(given, path)
    assert found.verdict == verdict
    assert note in found.note


def test_what_is_not_run_stays_not_run_below_and_typos_are_still_found(iris: dict[str, Any]) -> None:
    iris["spec"]["predictor"]["workerSpec"] = {"containers": [{"name": "worker", "comand": ["x"], "args": ["y"]}]}
    found = verdicts(iris)
    assert found["spec.predictor.workerSpec.containers[0].args[0]"].verdict == "cluster-only"
    assert "not run by this version" in found["spec.predictor.workerSpec.containers[0].args[0]"].note
    assert found["spec.predictor.workerSpec.containers[0].comand"].verdict == "unknown"


@pytest.mark.parametrize(
    ("art", "path", "verdict"),
    [
        ({"type": "SquareAttack"}, "type", "runs"),
        ({"type": "squareattack"}, "type", "runs"),
        ({"type": "ShadowAttack"}, "type", "unknown"),
        ({"config": {"nb_classes": "10"}}, "config.nb_classes", "runs"),
        ({"config": {"nb_clases": "10"}}, "config.nb_clases", "unknown"),
        ({"image": "kserve/art-explainer:latest"}, "image", "emulated"),
        ({"image": "me/art-explainer-2:latest"}, "image", "cluster-only"),
        ({"storageUri": "gs://bucket/x"}, "storageUri", "emulated"),
        ({"args": ["--max_iter=10"]}, "args[0]", "runs"),
        ({"resources": {"limits": {"cpu": "1"}}}, "resources.limits.cpu", "runs"),
    ],
)
def test_the_built_in_explainer(iris: dict[str, Any], art: dict[str, Any], path: str, verdict: str) -> None:
    iris["spec"]["explainer"] = {"art": art}
    assert verdicts(iris)[f"spec.explainer.art.{path}"].verdict == verdict


def test_a_transformer_runs_and_an_explainer_of_an_image_does_not(iris: dict[str, Any]) -> None:
    iris["spec"]["transformer"] = {
        "containers": [{"name": "c", "image": "me/t:1", "command": ["x"], "args": ["--mine"]}]
    }
    iris["spec"]["explainer"] = {"containers": [{"name": "c", "image": "me/e:1"}]}
    found = verdicts(iris)
    assert found["spec.transformer.containers[0].args[0]"].verdict == "runs"
    assert found["spec.explainer.containers[0].image"].verdict == "cluster-only"
    del iris["spec"]["transformer"]["containers"][0]["command"]
    assert verdicts(iris)["spec.transformer.containers[0].args[0]"].verdict == "cluster-only"


@pytest.mark.parametrize(
    ("key", "verdict"),
    [
        ("colonnade.dev/trust-code", "runs"),
        ("colonnade.dev/trust-cod", "unknown"),
        ("serving.kserve.io/deploymentMode", "emulated"),
        ("serving.kserve.io/autoscalerClass", "runs"),
        ("serving.kserve.io/anything", "cluster-only"),
        ("autoscaling.knative.dev/target", "runs"),
        ("autoscaling.knative.dev/target-burst-capacity", "emulated"),
        ("autoscaling.knative.dev/targt", "unknown"),
        ("team", "runs"),
    ],
)
def test_annotations(iris: dict[str, Any], key: str, verdict: str) -> None:
    iris["metadata"]["annotations"] = {key: "x"}
    assert verdicts(iris)[join("metadata.annotations", key)].verdict == verdict


def test_the_values_of_a_secret_are_hidden() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "a"},
        "data": {"p": "aHVudGVyMg=="},
        "stringData": {"q": "hunter2"},
    }
    secret["data"]["r"] = 5  # type: ignore[index]
    assert "hunter2" not in str(check(secret))
    assert {found.value for found in check(secret) if found.path.startswith(("data", "stringData"))} == {HIDDEN}


@pytest.mark.parametrize(
    ("api_version", "kind", "verdict", "note"),
    [
        ("serving.kserve.io/v1alpha1", "LocalModelNode", "cluster-only", "LocalModelNode is not run by this version"),
        ("serving.kserve.io/v1alpha2", "LLMInferenceService", "cluster-only", "not run by this version"),
        ("serving.kserve.io/v1alpha2", "InferenceService", "unknown", "served as serving.kserve.io/v1beta1"),
        ("serving.kserve.io/v1beta1", "InferenceServise", "unknown", "did you mean InferenceService?"),
        (
            "serving.knative.dev/v1",
            "Service",
            "cluster-only",
            "kind Service of group serving.knative.dev is not served here",
        ),
        ("v1", "PersistentVolumeClaim", "cluster-only", "kind PersistentVolumeClaim of group core is not served here"),
        (None, "Secret", "unknown", "apiVersion"),
        ("v1", 5, "unknown", "kind"),
    ],
)
def test_other_kinds_have_one_verdict(api_version: Any, kind: Any, verdict: str, note: str) -> None:
    (found,) = check({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}})
    assert found.verdict == verdict
    assert note in found.note


def test_a_document_that_cannot_be_read_has_a_verdict_and_the_next_one_too() -> None:
    text = "image: {user}/x\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    first, second = check_text(text, "f.yaml")
    assert first.object is None
    assert [found.verdict for found in first.fields] == ["unknown"]
    assert first.fields[0].note.startswith("f.yaml, document 1, line 1: ")
    assert second.object is not None
    assert {found.verdict for found in second.fields} == {"runs"}


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Paths of all leaves of a JSON value."""
    if isinstance(value, dict) and value:
        for name, below in value.items():
            yield from leaves(below, join(path, name))
    elif isinstance(value, list) and value:
        for index, below in enumerate(value):
            yield from leaves(below, f"{path}[{index}]")
    else:
        yield path


def covered(obj: dict[str, Any]) -> None:
    """Every leaf has one verdict: its own, or that of the unknown part that it lies in."""
    found = check(obj)
    paths = [verdict.path for verdict in found]
    assert len(set(paths)) == len(paths)
    known = set(paths)
    wholes = tuple(verdict.path for verdict in found if verdict.verdict == "unknown")
    for leaf in leaves(obj):
        assert leaf in known or any(leaf == whole or leaf.startswith((f"{whole}.", f"{whole}[")) for whole in wholes), (
            leaf
        )


def test_every_sample_of_kserve_gets_a_verdict_on_every_field(kserve: Path) -> None:
    files = sorted((kserve / "samples").glob("*.yaml")) + sorted((kserve / "runtimes").glob("*.yaml"))
    services = 0
    for file in files:
        for document in check_text(file.read_text(), file.name):
            assert document.fields, file.name
            if document.object is not None and document.object["apiVersion"] == "serving.kserve.io/v1beta1":
                services += 1
                covered(document.object)
                covered(default(document.object))
    assert services > 40


def test_kserves_runtimes_have_no_unknown_field(kserve: Path) -> None:
    for file in sorted((kserve / "runtimes").glob("*.yaml")):
        for document in check_text(file.read_text(), file.name):
            unknown = [found for found in document.fields if found.verdict == "unknown"]
            assert not unknown, (file.name, unknown)


def unruled(shape: Shape, path: str, ruled: bool) -> Iterator[str]:
    """Fields on which no declaration says what becomes of them."""
    match shape:
        case Record():
            for field in shape.properties.values():
                listed = field.shape.item if isinstance(field.shape, Listing) else field.shape
                by_value = field.rule is not None and isinstance(listed, Scalar | Entries)
                below = ruled or field.ruling is not None or by_value
                yield from unruled(field.shape, f"{path}.{field.name}", below)
        case Listing():
            yield from unruled(shape.item, f"{path}[]", ruled)
        case Entries():
            yield from unruled(shape.value, f"{path}{{}}", ruled)
        case _ if not ruled:
            yield path


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.kind)
def test_no_field_is_ignored_in_silence(kind: Kind) -> None:
    assert list(unruled(shape_of(kind.struct), kind.kind, False)) == []


@given(services)
def test_any_service_is_checked_in_full(obj: dict[str, Any]) -> None:
    check(obj)
    check(default(obj))


@given(st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "spec"]) | st.text(max_size=4), json_values))
def test_any_object_is_checked(obj: dict[str, Any]) -> None:
    assert check(obj)


def test_what_is_nested_without_end_is_refused_and_breaks_nothing() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"a": deep}
    head = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "a"}}
    obj = {**head, "spec": {"predictor": {"sklearn": {"storageUri": "/m"}, "affinity": deep}}}
    with pytest.raises(Invalid, match="nested deeper than 100 levels"):
        validate(default(obj))
    assert len(check(default(obj))) == 6


def test_what_is_said_to_be_served_is_what_the_runtimes_serve() -> None:
    adapters = {form: name for image in images.IMAGES.values() for form, name in image.adapters.items()}
    assert set(served.FORMATS) == set(adapters)
    assert set(adapters.values()) == set(catalogue.RUNTIMES)
    assert set(served.RUNTIMES) == {obj["metadata"]["name"] for obj in builtin.objects(())}
    for form, program in served.PROGRAMS.items():
        container = {"image": next(image for image, known in images.IMAGES.items() if known.program == program)}
        assert isinstance(engines.of(container, form, {program}, brought=False), engines.Program)
    for name in served.IMAGES:
        known = images.of(f"registry/kserve/{name}:v1")
        assert known is not None
        assert known.flags == (name not in served._FOREIGN)
        assert served.is_known_image(f"registry:5000/kserve/{name}@sha256:abc")
    assert images.of("me/my-sklearnserver:1") is None
