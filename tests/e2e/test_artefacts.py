"""Models that come from elsewhere: credentials, progress, mirrors, local model caches and commands, on the product."""

from __future__ import annotations

import base64
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from colonnade.cli.api import Api, kind_path
from colonnade.cli.apply import apply_object
from colonnade.cli.targets import kind_named

from ..storage.origin import Origin, Ranged
from .product import Product, service, until

ROWS = {"instances": [[6.8, 2.8, 4.8, 1.4]]}


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mirrored")


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, mirrored: Path) -> Iterator[Product]:
    state = tmp_path_factory.mktemp("platform") / "state"
    running = Product(state, "--mirror", f"gs://examples={mirrored}", "--cache-size", "1Mi").start()
    yield running
    assert running.stop() == 0
    assert not running.processes()


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    yield server
    server.close()


@pytest.fixture
def model(iris_model: Path) -> bytes:
    return (iris_model / "model.joblib").read_bytes()


def seen(product: Product, kind: str, name: str) -> dict[str, Any]:
    """An object, by the API: a command for each look would cost a second."""
    served = kind_named(kind)
    path = kind_path(served, "default" if served.namespaced else None, name)
    found: dict[str, Any] = Api.from_kubeconfig(product.state / "kubeconfig").request("GET", path)
    return found


def put(product: Product, manifest: dict[str, Any]) -> None:
    kind = kind_named(manifest["kind"])
    apply_object(Api.from_kubeconfig(product.state / "kubeconfig"), kind, manifest, "default")


def message(product: Product, name: str) -> str:
    conditions = seen(product, "isvc", name).get("status", {}).get("conditions", [])
    return next((each.get("message", "") for each in conditions if each["type"] == "Ready"), "")


def guarded(origin: Origin, path: str, body: bytes) -> None:
    """Serve a file to those who show the right header."""

    def answer(handler: Any) -> None:
        known = handler.headers.get("Authorization") == "Bearer hunter2"
        handler.send_response(200 if known else 401)
        handler.send_header("Content-Length", str(len(body) if known else 0))
        handler.end_headers()
        handler.wfile.write(body if known else b"")

    origin.answers[path] = answer


def test_a_secret_that_comes_later_mends_a_fetch_at_once_and_shows_nowhere(
    product: Product, origin: Origin, model: bytes
) -> None:
    guarded(origin, "/model.joblib", model)
    predictor = {"serviceAccountName": "sa", "sklearn": {"storageUri": origin.url("/model.joblib")}}
    put(product, service("private", predictor))
    until(lambda: 'serviceaccounts "sa" not found' in message(product, "private"), "the account is missing")
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}, "secrets": [{"name": "s"}]}
    headers = {"https-host": "127.0.0.1", "headers": '{"Authorization": "Bearer hunter2"}'}
    put(product, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": headers})
    put(product, account)
    put(product, service("private", predictor))
    ready(product, "private")
    assert product.ask("private", "v1", ROWS).json() == {"predictions": [1]}
    told = product.colonnade("get", "isvc,pods,events", "-o", "yaml")
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in product.replica_pids()]
    assert environments
    for text in (told, product.log.read_text(), *map(str, environments)):
        assert "hunter2" not in text
        assert base64.b64encode(b"hunter2").decode().rstrip("=") not in text


def test_progress_is_in_the_status_and_on_the_command_line(product: Product, origin: Origin, model: bytes) -> None:
    served = Ranged(model + bytes(33 << 20))  # joblib stops reading where its pickle ends
    served.gate, served.cut, served.cuts = threading.Event(), 8 << 20, 10_000
    origin.answers["/model.joblib"] = served
    predictor = {"sklearn": {"storageUri": origin.url("/model.joblib?sig=hunter2")}}
    put(product, service("large", predictor))
    text = until(lambda: (found := message(product, "large")).count("Downloading ") and found, "progress is told")
    assert "/model.joblib: " in text
    assert f" of {(len(served.body)) / (1 << 20):.1f} MiB (" in text
    assert "hunter2" not in text
    said = product.colonnade(
        "apply", "-f", "-", "--wait", "--timeout", "1", code=4, data=_json(service("large", predictor))
    )
    assert "Downloading http://127.0.0.1" in said
    served.cuts = 0
    served.gate.set()
    ready(product, "large")


def ready(product: Product, name: str) -> None:
    def is_ready() -> bool:
        conditions = seen(product, "isvc", name).get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    until(is_ready, f"{name} is Ready")


def _json(manifest: dict[str, Any]) -> str:
    return msgspec.json.encode(manifest).decode()


def test_a_mirror_stands_in_for_a_place_that_nobody_reaches(product: Product, mirrored: Path, model: bytes) -> None:
    (mirrored / "iris").mkdir()
    (mirrored / "iris/model.joblib").write_bytes(model)
    put(product, service("mirrored", {"sklearn": {"storageUri": "gs://examples/iris"}}))
    ready(product, "mirrored")
    assert product.ask("mirrored", "v1", ROWS).json() == {"predictions": [1]}
    note = seen(product, "isvc", "mirrored")["status"]["annotations"]["colonnade.dev/model-origin"]
    assert note == f"gs://examples/iris from its mirror {mirrored}/iris"
    put(product, service("unmirrored", {"sklearn": {"storageUri": "gs://examples/other"}}))
    until(lambda: "has no 'other'; put it there" in message(product, "unmirrored"), "what is missing is named")


def test_a_local_model_cache_serves_when_its_source_is_gone(product: Product, origin: Origin, model: bytes) -> None:
    origin.serve("/models/model.joblib", model)
    uri = origin.url("/models/model.joblib")
    cache: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "LocalModelCache",
        "metadata": {"name": "iris"},
        "spec": {"sourceModelUri": uri, "modelSize": "1Gi", "nodeGroups": ["workers"]},
    }
    put(product, service("cached", {"sklearn": {"storageUri": uri}}))
    put(product, cache)
    until(
        lambda: '"workers" not found' in seen(product, "localmodelcache", "iris").get("status", {}).get("message", ""),
        "",
    )
    group: dict[str, Any] = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "LocalModelNodeGroup",
        "metadata": {"name": "workers"},
        "spec": {"storageLimit": "1Mi"},
    }
    put(product, group)
    until(lambda: "storageLimit is 1Mi" in seen(product, "localmodelcache", "iris")["status"]["message"], "the limit")
    group["spec"]["storageLimit"] = "10Gi"
    put(product, group)
    until(lambda: seen(product, "localmodelcache", "iris")["status"]["copies"]["available"] == 1, "the model is there")
    assert seen(product, "localmodelcache", "iris")["status"]["nodeStatus"] == {"localhost": "NodeDownloaded"}
    requests = len(origin.seen)
    origin.answers.clear()
    put(product, service("late", {"sklearn": {"storageUri": uri}}))
    ready(product, "late")
    assert product.ask("late", "v1", ROWS).json() == {"predictions": [1]}
    assert len(origin.seen) == requests, "the source was not asked"
    until(
        lambda: (
            {"name": "late", "namespace": "default"}
            in seen(product, "localmodelcache", "iris")["status"].get("inferenceServices", [])
        ),
        "the cache names who uses it",
    )
    cache["spec"]["sourceModelUri"] = "s3://other/model"
    refused = product.colonnade("apply", "-f", "-", code=1, data=_json(cache))
    assert "StorageUri is immutable" in refused
    assert "local model cache" in product.colonnade("cache", "list")


def test_a_command_of_the_users_own_fetches(product: Product, iris_model: Path) -> None:
    program = "import os, shutil, sys; shutil.copy(os.environ['FROM'] + '/model.joblib', sys.argv[2])"
    container = {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterStorageContainer",
        "metadata": {"name": "registry"},
        "spec": {
            "container": {
                "name": "storage-initializer",
                "command": [sys.executable, "-c", program],
                "env": [{"name": "FROM", "value": str(iris_model)}],
            },
            "supportedUriFormats": [{"prefix": "hf://registry"}],
        },
    }
    put(product, container)
    put(product, service("commanded", {"sklearn": {"storageUri": "hf://registry/iris"}}))
    ready(product, "commanded")
    assert product.ask("commanded", "v1", ROWS).json() == {"predictions": [1]}


def test_what_runs_is_not_evicted(product: Product) -> None:
    until(lambda: "replica" in product.colonnade("cache", "list"), "the platform said what is in use")
    for artefact in (product.state / "cache/artefacts").iterdir():
        os.utime(artefact, (0, 0))
    before = product.colonnade("cache", "list")
    product.colonnade("cache", "prune")
    after = product.colonnade("cache", "list")
    for line in before.splitlines():
        if "replica" in line or "local model cache" in line:
            assert line.split()[0] in after
    assert product.ask("commanded", "v1", ROWS).json() == {"predictions": [1]}
