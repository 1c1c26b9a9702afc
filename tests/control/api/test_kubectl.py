"""Real kubectl, unmodified, through what people do with it."""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.store import Ref

from .api_cluster import Cluster, service, service_ref

pytestmark = pytest.mark.usefixtures("kubectl_present")

LEGACY = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  labels: {app: iris}
spec:
  predictor:
    sklearn:
      storageUri: /models/iris
"""


def ready(cluster: Cluster, name: str, status: str = "True") -> None:
    conditions = [{"type": "Ready", "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z"}]
    state = {"url": f"http://{name}-default.example.com", "conditions": conditions, "observedGeneration": 1}
    cluster.store.update(service_ref(name), {"status": state}, status=True)


def test_apply_get_describe_delete(cluster: Cluster) -> None:
    assert cluster.kubectl("apply", "-f", "-", stdin=LEGACY) == "inferenceservice.serving.kserve.io/iris created\n"
    first = cluster.get("iris")
    assert first["spec"]["predictor"]["model"]["modelFormat"] == {"name": "sklearn"}
    cluster.kubectl("apply", "-f", "-", stdin=LEGACY)
    assert cluster.get("iris") == first  # nothing changed, so no new version and no restart
    cluster.kubectl("apply", "-f", "-", stdin=LEGACY.replace("/models/iris", "/models/other"))
    changed = cluster.get("iris")
    assert changed["spec"]["predictor"]["model"]["storageUri"] == "/models/other"
    assert "sklearn" not in changed["spec"]["predictor"]
    assert changed["metadata"]["generation"] == 2

    ready(cluster, "iris")
    rows = cluster.kubectl("get", "isvc").splitlines()
    assert rows[0].split() == [
        "NAME", "URL", "READY", "PREV", "LATEST", "PREVROLLEDOUTREVISION", "LATESTREADYREVISION", "AGE",
    ]  # fmt: skip
    assert rows[1].split()[:3] == ["iris", "http://iris-default.example.com", "True"]
    assert (
        cluster.kubectl("get", "isvc", "-l", "app in (iris)", "-o", "name")
        == "inferenceservice.serving.kserve.io/iris\n"
    )
    assert "iris" not in cluster.kubectl("get", "isvc", "-l", "app!=iris", check=False)
    assert cluster.kubectl("get", "isvc/iris", "-o", "jsonpath={.status.conditions[0].type}") == "Ready"
    assert "storageUri: /models/other" in cluster.kubectl("get", "isvc", "iris", "-o", "yaml")
    assert "iris" in cluster.kubectl("get", "inferenceservices", "-A", "-o", "wide")

    cluster.store.create(
        Ref("", "events", "default", "iris.1"),
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {},
            "involvedObject": {
                "kind": "InferenceService",
                "name": "iris",
                "namespace": "default",
                "uid": changed["metadata"]["uid"],
            },
            "type": "Warning",
            "reason": "ModelLoadFailed",
            "message": "no such file",
            "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:00:00Z",
            "source": {"component": "colonnade"},
        },
    )
    described = cluster.kubectl("describe", "isvc", "iris")
    assert "ModelLoadFailed" in described
    assert "/models/other" in described
    assert "ModelLoadFailed" in cluster.kubectl("get", "events")
    assert "deleted" in cluster.kubectl("delete", "isvc", "iris", "--wait", "--timeout=20s")
    assert "not found" in cluster.kubectl("get", "isvc", "iris", check=False)


def test_patch_replace_label_edit(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "iris.json"
    file.write_text(json.dumps(service("iris")))
    cluster.kubectl("create", "-f", str(file))
    assert "AlreadyExists" in cluster.kubectl("create", "-f", str(file), check=False)
    cluster.kubectl("patch", "isvc", "iris", "--type", "merge", "-p", '{"spec":{"predictor":{"minReplicas":2}}}')
    assert cluster.get("iris")["spec"]["predictor"]["minReplicas"] == 2
    replicas = "/spec/predictor/minReplicas"
    operations = [{"op": "test", "path": replicas, "value": 2}, {"op": "remove", "path": replicas}]
    cluster.kubectl("patch", "isvc", "iris", "--type", "json", "-p", json.dumps(operations))
    assert "minReplicas" not in cluster.get("iris")["spec"]["predictor"]
    assert "testing value failed" in cluster.kubectl(
        "patch", "isvc", "iris", "--type", "json", "-p", '[{"op":"test","path":"/kind","value":"x"}]', check=False
    )
    cluster.kubectl("label", "isvc", "iris", "tier=web")
    cluster.kubectl("annotate", "isvc", "iris", "colonnade.dev/trust-code=true")
    metadata = cluster.get("iris")["metadata"]
    assert metadata["labels"] == {"tier": "web"}
    assert metadata["annotations"]["colonnade.dev/trust-code"] == "true"
    assert metadata["generation"] == 3

    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i "s#/models/iris#/models/edited#" "$1"\n')
    editor.chmod(0o755)
    cluster.kubectl("edit", "isvc", "iris", KUBE_EDITOR=str(editor))
    assert cluster.get("iris")["spec"]["predictor"]["model"]["storageUri"] == "/models/edited"

    stale = cluster.get("iris")
    cluster.kubectl("replace", "-f", str(file))
    assert cluster.get("iris")["spec"]["predictor"]["model"]["storageUri"] == "/models/iris"
    file.write_text(json.dumps(stale))
    assert "the object has been modified" in cluster.kubectl("replace", "-f", str(file), check=False)


def test_server_side_apply(cluster: Cluster) -> None:
    text = json.dumps(service("iris", labels={"a": "1", "b": "2"}))
    cluster.kubectl("apply", "-f", "-", stdin=text)
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=text)  # takes client-side ownership over
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(service("iris", labels={"a": "1"})))
    assert cluster.get("iris")["metadata"]["labels"] == {"a": "1"}
    other = json.dumps(service("iris", "/models/other", labels={"a": "1"}))
    conflict = cluster.kubectl("apply", "--server-side", "--field-manager=ci", "-f", "-", stdin=other, check=False)
    assert "conflict with" in conflict
    assert ".spec.predictor.model.storageUri" in conflict
    cluster.kubectl("apply", "--server-side", "--field-manager=ci", "--force-conflicts", "-f", "-", stdin=other)
    assert cluster.get("iris")["spec"]["predictor"]["model"]["storageUri"] == "/models/other"
    before = cluster.get("iris")
    cluster.kubectl("apply", "--server-side", "--field-manager=ci", "-f", "-", stdin=other)
    assert cluster.get("iris") == before
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=LEGACY.replace("iris", "old"))
    legacy = cluster.get("old")
    assert legacy["spec"]["predictor"]["model"]["storageUri"] == "/models/old"
    cluster.kubectl("apply", "--server-side", "-f", "-", stdin=LEGACY.replace("iris", "old"))
    assert cluster.get("old") == legacy


def test_validation_and_dry_run(cluster: Cluster) -> None:
    broken = LEGACY.replace("storageUri", "storageURL")
    refused = cluster.kubectl("apply", "-f", "-", stdin=broken, check=False)
    assert "strict decoding error" in refused
    assert "storageURL" in refused
    warned = cluster.kubectl("apply", "--validate=warn", "-f", "-", stdin=broken, check=False)
    assert "Warning: unknown field" in warned
    assert "created" in warned
    cluster.kubectl("delete", "isvc", "iris")
    assert "(server dry run)" in cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=LEGACY)
    assert cluster.store.get(service_ref("iris")) is None
    cluster.kubectl("apply", "-f", "-", stdin=LEGACY)
    difference = cluster.kubectl("diff", "-f", "-", stdin=LEGACY.replace("/models/iris", "/models/new"), check=False)
    assert "/models/new" in difference
    assert "resourceVersion" not in "".join(line for line in difference.splitlines() if line[:1] in "+-")
    assert "/models/iris" in cluster.get("iris")["spec"]["predictor"]["model"]["storageUri"]
    nowhere = json.dumps(service("x", namespace="nowhere"))
    assert 'namespaces "nowhere" not found' in cluster.kubectl("create", "-f", "-", stdin=nowhere, check=False)


def test_a_kind_that_is_not_served_is_named(cluster: Cluster) -> None:
    llm = {"apiVersion": "serving.kserve.io/v1alpha2", "kind": "LLMInferenceService", "metadata": {"name": "g"}}
    refused = cluster.kubectl("apply", "-f", "-", stdin=json.dumps(llm), check=False)
    assert 'no matches for kind "LLMInferenceService" in version "serving.kserve.io/v1alpha2"' in refused


def test_wait_watch_and_chunks(cluster: Cluster) -> None:
    for name in ("a", "b", "c", "d", "e"):
        cluster.store.create(service_ref(name), service(name))
    names = cluster.kubectl("get", "isvc", "--chunk-size=2", "-o", "name").split()
    assert [name.rpartition("/")[2] for name in names] == ["a", "b", "c", "d", "e"]
    found: list[str] = []
    waiting = threading.Thread(
        target=lambda: found.append(cluster.kubectl("wait", "--for=condition=Ready", "isvc/a", "--timeout=20s"))
    )
    waiting.start()
    ready(cluster, "a", "False")
    ready(cluster, "a")
    waiting.join(30)
    assert found == ["inferenceservice.serving.kserve.io/a condition met\n"]

    command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "get", "isvc", "-w", "--output-watch-events"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cluster.environment) as watching:
        assert watching.stdout is not None
        lines = [watching.stdout.readline().split() for _ in range(6)]
        assert [line[:2] for line in lines[1:]] == [["ADDED", name] for name in "abcde"]
        cluster.store.delete(service_ref("c"))
        assert watching.stdout.readline().split()[:2] == ["DELETED", "c"]
        watching.kill()


def test_discovery_and_explain(cluster: Cluster) -> None:
    listed = cluster.kubectl("api-resources", "--no-headers")
    assert "isvc" in listed
    assert "serving.kserve.io/v1beta1" in cluster.kubectl("api-versions")
    assert "storageUri" in cluster.kubectl("explain", "isvc.spec.predictor.model")
    assert "FIELDS" in cluster.kubectl("explain", "configmap")
    assert "Server Version: v1.32" in cluster.kubectl("version")
    assert cluster.kubectl("auth", "can-i", "create", "isvc").strip() == "yes"
    assert cluster.kubectl("auth", "can-i", "create", "pods", check=False).startswith("no")
    assert "colonnade" in cluster.kubectl("auth", "whoami")


def test_core_kinds(cluster: Cluster) -> None:
    cluster.kubectl("create", "namespace", "team")
    cluster.kubectl("create", "configmap", "settings", "--from-literal=a=1", "-n", "team")
    cluster.kubectl("create", "secret", "generic", "key", "--from-literal=password=hunter2")
    secret = cluster.store.get(Ref("", "secrets", "default", "key"))
    assert secret is not None
    assert secret["data"] == {"password": "aHVudGVyMg=="}
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '2'}\n"
    cluster.kubectl("apply", "-f", "-", stdin=text)
    cluster.kubectl("apply", "-f", "-", stdin=text.replace("b: '2'", "c: '3'"))
    config = cluster.store.get(Ref("", "configmaps", "default", "c"))
    assert config is not None
    assert config["data"] == {"a": "1", "c": "3"}
    cluster.kubectl("patch", "cm", "c", "-p", '{"data":{"d":"4"}}')
    assert cluster.kubectl("get", "cm", "c", "--no-headers").split()[:2] == ["c", "3"]
    assert cluster.kubectl("get", "ns", "team", "--no-headers").split()[:2] == ["team", "Active"]
    assert "forbidden" in cluster.kubectl("delete", "ns", "default", check=False)
    cluster.kubectl("delete", "ns", "team", "--timeout=20s")
    assert cluster.store.get(Ref("", "configmaps", "team", "settings")) is None


def pod(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"serving.kserve.io/inferenceservice": "iris"}},
        "spec": {"containers": [{"name": "kserve-container", "image": "built-in"}]},
        "status": {
            "phase": "Running",
            "containerStatuses": [{"name": "kserve-container", "ready": True, "restartCount": 0}],
        },
    }


def test_pods_and_their_logs(cluster: Cluster) -> None:
    ref = Ref("", "pods", "default", "iris-1")
    cluster.store.create(ref, pod("iris-1"))
    log = cluster.logs.log_paths("default/iris-1").current
    log.write_text("one\ntwo\nthree\n")
    assert cluster.kubectl("get", "pods", "--no-headers").split()[:3] == ["iris-1", "1/1", "Running"]
    assert cluster.kubectl("logs", "iris-1") == "one\ntwo\nthree\n"
    assert cluster.kubectl("logs", "iris-1", "--tail=1", "-c", "kserve-container") == "three\n"
    assert cluster.kubectl("logs", "-l", "serving.kserve.io/inferenceservice=iris") == "one\ntwo\nthree\n"
    assert "not found" in cluster.kubectl("logs", "iris-1", "--previous", check=False)
    assert "is not valid for pod" in cluster.kubectl("logs", "iris-1", "-c", "other", check=False)
    assert "read only" in cluster.kubectl("delete", "pod", "iris-1", check=False)
    command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "logs", "-f", "iris-1", "--tail=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=cluster.environment) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "three\n"
        with log.open("a") as file:
            file.write("four\n")
        assert following.stdout.readline() == "four\n"
        log.rename(cluster.logs.log_paths("default/iris-1").previous)
        log.write_text("five\n")
        assert following.stdout.readline() == "five\n"
        cluster.store.delete(ref)
        assert following.wait(20) == 0
