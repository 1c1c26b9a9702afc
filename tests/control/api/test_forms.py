"""A predictor changes its form: a framework key, `model`, containers. By every way in which manifests are written.

A framework key is stored as `model`; whoever applied it must be able to take it away again by not writing it any more.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from colonnade.control.applying import apply
from colonnade.control.objects import Object
from colonnade.resources.defaulting import default

from .api_cluster import SERVICES, Cluster

FORMS: dict[str, Object] = {
    "sklearn": {"sklearn": {"storageUri": "/m/a", "runtimeVersion": "1.5", "env": [{"name": "A", "value": "1"}]}},
    "xgboost": {"xgboost": {"storageUri": "/m/b"}, "minReplicas": 2},
    "onnx": {"onnx": {"storageUri": "/m/c"}},
    "model": {"model": {"modelFormat": {"name": "xgboost"}, "storageUri": "/m/d"}},
    "containers": {"containers": [{"name": "mine", "image": "me/mine:1", "command": ["serve"]}]},
}
JOURNEY = ["sklearn", "containers", "sklearn", "xgboost", "model", "containers", "model", "onnx", "containers", "onnx"]
JOURNEY += ["sklearn"]


def manifest(form: str) -> Object:
    head = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": "iris"}}
    return {**head, "spec": {"predictor": FORMS[form]}}


def expected(form: str) -> Any:
    return default(manifest(form))["spec"]["predictor"]


@pytest.mark.usefixtures("kubectl_present")
@pytest.mark.parametrize("words", [("apply",), ("apply", "--server-side"), ("replace", "--force=false")])
def test_kubectl_changes_the_form(cluster: Cluster, words: tuple[str, ...]) -> None:
    if words[0] == "replace":
        cluster.kubectl("create", "-f", "-", stdin=json.dumps(manifest("model")))
    for form in JOURNEY:
        cluster.kubectl(*words, "-f", "-", stdin=json.dumps(manifest(form)))
        stored = cluster.get("iris")
        assert stored["spec"]["predictor"] == expected(form), form
        cluster.kubectl(*words, "-f", "-", stdin=json.dumps(manifest(form)))
        assert cluster.get("iris") == stored, f"{form} once more"


@pytest.mark.usefixtures("kubectl_present")
@pytest.mark.parametrize("mode", ["--server-side=false", "--server-side=true"])
@pytest.mark.parametrize("form", ["sklearn", "containers"])
def test_kubectl_sees_no_difference_in_what_it_applied(cluster: Cluster, form: str, mode: str) -> None:
    text = json.dumps(manifest(form))
    cluster.kubectl("apply", mode, "-f", "-", stdin=text)
    assert cluster.kubectl("diff", mode, "-f", "-", stdin=text) == ""
    changed = text.replace("/m/a", "/m/z").replace("mine:1", "mine:2")
    assert changed != text
    assert "+" in cluster.kubectl("diff", mode, "-f", "-", stdin=changed, check=False)


@pytest.mark.usefixtures("kubectl_present")
def test_client_side_and_server_side_apply_can_take_turns(cluster: Cluster) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest("sklearn")))
    for form in ("sklearn", "containers", "onnx"):  # the first one hands the ownership over
        cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(manifest(form)))
        assert cluster.get("iris")["spec"]["predictor"] == expected(form)


def test_our_own_apply_changes_the_form(cluster: Cluster) -> None:
    for form in JOURNEY:
        apply(cluster.store, manifest(form))
        stored = cluster.get("iris")
        assert stored["spec"]["predictor"] == expected(form), form
        assert apply(cluster.store, manifest(form)).object == stored
    assert stored["metadata"]["generation"] == len(JOURNEY)


def test_who_wrote_a_framework_key_owns_the_model(cluster: Cluster) -> None:
    apply(cluster.store, manifest("sklearn"))
    (owner,) = cluster.get("iris")["metadata"]["managedFields"]
    assert (owner["manager"], owner["operation"]) == ("colonnade", "Apply")
    assert set(owner["fieldsV1"]["f:spec"]["f:predictor"]["f:model"]) == {
        "f:modelFormat",
        "f:storageUri",
        "f:runtimeVersion",
        "f:env",
    }
    refused = cluster.http.patch(
        f"{SERVICES}/iris?fieldManager=ci",
        content=json.dumps(manifest("xgboost")),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    assert refused.status_code == 409
    assert ".spec.predictor.model.storageUri" in refused.json()["message"]


@pytest.mark.parametrize("form", ["xgboost", "onnx"])
def test_a_merge_patch_with_a_framework_key_replaces_the_model(cluster: Cluster, form: str) -> None:
    apply(cluster.store, manifest("sklearn"))
    patch = {"spec": {"predictor": FORMS[form]}}  # as KServe's SDK sends it: without a word on `model`
    answer = cluster.http.patch(
        f"{SERVICES}/iris", content=json.dumps(patch), headers={"Content-Type": "application/merge-patch+json"}
    )
    assert answer.status_code == 200
    assert cluster.get("iris")["spec"]["predictor"] == expected(form)


def test_two_forms_of_one_patch_are_refused(cluster: Cluster) -> None:
    apply(cluster.store, manifest("sklearn"))
    for patch in ({**FORMS["xgboost"], **FORMS["model"]}, {**FORMS["xgboost"], **FORMS["onnx"]}):
        answer = cluster.http.patch(
            f"{SERVICES}/iris",
            content=json.dumps({"spec": {"predictor": patch}}),
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert answer.status_code == 422
        assert "exactly one of" in answer.json()["message"]


def test_a_warning_names_the_field_that_was_written(cluster: Cluster) -> None:
    odd = manifest("sklearn")
    odd["spec"] = {"predictor": {"sklearn": {"storageUri": "/m", "storageURL": "/m"}}}
    answer = cluster.http.patch(
        f"{SERVICES}/iris?fieldManager=ci",
        content=json.dumps(odd),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    assert answer.status_code == 201
    assert "spec.predictor.sklearn.storageURL" in answer.headers["warning"]


def test_text_of_a_secret_that_is_no_longer_applied_goes(cluster: Cluster) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "stringData": {"a": "1", "b": "2"}}
    assert apply(cluster.store, secret).object["data"] == {"a": "MQ==", "b": "Mg=="}
    assert apply(cluster.store, {**secret, "stringData": {"a": "1"}}).object["data"] == {"a": "MQ=="}
