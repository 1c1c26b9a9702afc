"""Defaults as KServe's webhook sets them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from colonnade.resources import manifest
from colonnade.resources.defaulting import default, translate
from colonnade.resources.served import LEGACY_KEYS

from .arbitrary import services


def service(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "a"},
        "spec": spec,
    }


def predictor(given: dict[str, Any]) -> Any:
    """A predictor with its defaults."""
    return default(service({"predictor": given}))["spec"]["predictor"]


@pytest.mark.parametrize("key", LEGACY_KEYS)
def test_a_framework_key_becomes_model(key: str) -> None:
    body = {
        "storageUri": "gs://x/y",
        "runtimeVersion": "1.2",
        "args": ["--a"],
        "env": [{"name": "A", "value": "b"}],
        "resources": {"limits": {"cpu": "2"}},
    }
    found = predictor({"minReplicas": 2, key: body, "timeout": 5})
    protocol = {"protocolVersion": "v2"} if key in ("triton", "onnx", "huggingface") else {}
    assert found == {"minReplicas": 2, "model": {"modelFormat": {"name": key}, **body, **protocol}, "timeout": 5}
    assert list(found) == ["minReplicas", "model", "timeout"]


@pytest.mark.parametrize("key", ["sklearn", "onnx"])
def test_a_given_protocol_is_kept(key: str) -> None:
    assert predictor({key: {"protocolVersion": "v1"}})["model"]["protocolVersion"] == "v1"


@pytest.mark.parametrize(("name", "protocol"), [("triton", "v2"), ("vLLM", "v2"), ("sklearn", None), ("onnx", None)])
def test_the_protocol_of_a_format(name: str, protocol: str | None) -> None:
    assert predictor({"model": {"modelFormat": {"name": name}}})["model"].get("protocolVersion") == protocol


def test_a_single_container_gets_kserves_name_and_resources() -> None:
    found = predictor({"containers": [{"name": "mine", "image": "x", "resources": {"limits": {"memory": "4Gi"}}}]})
    assert found["containers"] == [
        {
            "name": "kserve-container",
            "image": "x",
            "resources": {"limits": {"cpu": "1", "memory": "4Gi"}, "requests": {"cpu": "1", "memory": "2Gi"}},
        }
    ]


def test_of_several_containers_the_names_are_kept() -> None:
    names = [{"name": "a"}, {"name": "b"}]
    assert [item["name"] for item in predictor({"containers": names})["containers"]] == ["a", "b"]


def test_a_transformer_gets_defaults_too() -> None:
    found = default(service({"predictor": {}, "transformer": {"containers": [{"image": "t"}]}}))
    assert found["spec"]["transformer"]["containers"][0]["name"] == "kserve-container"


def test_a_model_gets_no_resources_and_no_replicas() -> None:
    assert predictor({"sklearn": {"storageUri": "/m"}}) == {
        "model": {"modelFormat": {"name": "sklearn"}, "storageUri": "/m"}
    }


@pytest.mark.parametrize(
    "given",
    [
        {"sklearn": {}, "xgboost": {}},
        {"sklearn": {}, "model": {"modelFormat": {"name": "onnx"}}},
        {"sklearn": "text"},
        {"containers": "text"},
        {"containers": []},
        {"model": []},
    ],
)
def test_what_is_malformed_is_left_for_validation(given: dict[str, Any]) -> None:
    assert predictor(given) == given


@pytest.mark.parametrize(
    "obj",
    [
        {},
        {"kind": "InferenceService"},
        {"apiVersion": "v1", "kind": "Secret", "spec": {"predictor": {"sklearn": {}}}},
        service({}) | {"spec": None},
    ],
)
def test_other_objects_are_left_alone(obj: dict[str, Any]) -> None:
    assert default(obj) == obj


@given(services)
def test_defaulting_is_pure_and_idempotent(obj: dict[str, Any]) -> None:
    before = copy.deepcopy(obj)
    once = default(obj)
    assert obj == before
    assert default(once) == once


SKLEARN = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "/a"}}


@pytest.mark.parametrize(
    ("stored", "asked", "replaced"),
    [
        (SKLEARN, {"sklearn": {"storageUri": "/b"}}, True),
        (SKLEARN, {"xgboost": {"storageUri": "/b"}}, True),
        (SKLEARN, {"sklearn": None, "xgboost": {"storageUri": "/b"}}, True),
        (SKLEARN, {"sklearn": None, "containers": [{"name": "c"}]}, True),
        (SKLEARN, {"sklearn": None}, False),  # the manifest says `model` now
        (SKLEARN, {"sklearn": None, "model": {"storageUri": "/b"}}, False),
        (SKLEARN, {"containers": [{"name": "sidecar"}]}, False),
        (SKLEARN, {"xgboost": None, "containers": [{"name": "sidecar"}]}, False),
        (SKLEARN, {"sklearn": {}, "model": {"storageUri": "/b"}}, False),
        (SKLEARN, {"minReplicas": 2}, False),
        (SKLEARN, {"model": None, "containers": [{"name": "c"}]}, False),
        ({"containers": [{"name": "c"}]}, {"containers": None, "sklearn": {"storageUri": "/b"}}, False),
    ],
)
def test_a_framework_key_in_a_patch_means_the_model_it_has_become(
    stored: dict[str, Any], asked: dict[str, Any], replaced: bool
) -> None:
    patch = {"metadata": {"labels": {"a": "b"}}, "spec": {"predictor": asked, "canary": []}}
    before = copy.deepcopy(patch)
    found = translate(patch, service({"predictor": stored}))
    assert patch == before
    assert found == ({**patch, "spec": {"predictor": {**asked, "model": None}, "canary": []}} if replaced else patch)


@pytest.mark.parametrize("patch", [{}, {"spec": None}, {"spec": {"predictor": None}}, {"spec": {"predictor": []}}])
def test_other_patches_are_left_alone(patch: dict[str, Any]) -> None:
    assert translate(patch, service({"predictor": SKLEARN})) is patch


def test_samples_with_a_framework_key_have_a_model_afterwards(kserve: Path) -> None:
    rewritten = 0
    for file in sorted((kserve / "samples").glob("*.yaml")):
        for found in manifest.documents(file.read_text(), file.name):
            if isinstance(found, manifest.Unreadable) or found.object["apiVersion"] != "serving.kserve.io/v1beta1":
                continue
            before = found.object["spec"]["predictor"]
            after = default(found.object)["spec"]["predictor"]
            for key in set(before) & set(LEGACY_KEYS):
                rewritten += 1
                assert key not in after
                assert after["model"]["modelFormat"] == {"name": key}
                assert before[key].items() <= after["model"].items()
    assert rewritten > 15
