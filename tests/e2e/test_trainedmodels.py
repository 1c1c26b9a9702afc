"""Many models in one server, through the running product: applied, changed, removed, refused, and through faults."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from .load import Load
from .product import Product, service, until

ASKED = {"instances": [[1.0, 2.0]]}
V2 = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1.0, 2.0]}]}


def constant(folder: Path, value: int) -> Path:
    """A model that answers with one number."""
    made = DummyClassifier(strategy="constant", constant=value).fit(np.zeros((2, 2)), np.array([0, value]))
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(made, folder / "model.joblib")
    return folder


def trained(name: str, uri: Path | str, of: str, memory: str = "1Mi", framework: str = "sklearn") -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "TrainedModel",
        "metadata": {"name": name},
        "spec": {"inferenceService": of, "model": {"storageUri": str(uri), "framework": framework, "memory": memory}},
    }


def apply(product: Product, *objects: dict[str, Any]) -> None:
    product.colonnade("apply", "-f", "-", data="\n---\n".join(map(json.dumps, objects)))


def conditions(product: Product, name: str) -> dict[str, dict[str, Any]]:
    found = json.loads(product.kubectl("get", "tm", name, "-o", "json"))
    return {each["type"]: each for each in (found.get("status") or {}).get("conditions", ())}


def is_ready(product: Product, name: str) -> bool:
    return conditions(product, name).get("Ready", {}).get("status") == "True"


def asked(product: Product, name: str, of: str) -> Any:
    path = f"serving/default/{of}/v1/models/{name}:predict"
    answer = httpx.post(f"{product.http}/{path}", json=ASKED, timeout=30)
    return answer.json()["predictions"] if answer.status_code == 200 else answer.status_code


@pytest.fixture
def many(product: Product) -> Iterator[str]:
    predictor = {"sklearn": {"resources": {"limits": {"memory": "1Gi"}}}, "minReplicas": 2}
    product.apply(service("many", predictor))
    yield "many"
    product.colonnade("delete", "isvc", "many")
    product.kubectl("delete", "tm", "--all")


def test_a_model_comes_changes_moves_nothing_else_and_goes(product: Product, many: str, tmp_path: Path) -> None:
    apply(
        product,
        trained("one", constant(tmp_path / "one", 1), many),
        trained("two", constant(tmp_path / "two", 2), many),
    )
    for name, value in (("one", 1), ("two", 2)):
        until(lambda name=name: is_ready(product, name), f"{name} ready")
        assert asked(product, name, many) == [value]
        bare = httpx.post(f"{product.http}/v1/models/{name}:predict", json=ASKED, timeout=30)
        assert bare.json() == {"predictions": [value]}
    row = product.kubectl("get", "trainedmodels", "one").splitlines()[1].split()
    assert row[1].endswith("/v1/models/one:predict")
    assert row[2] == "True"
    host = row[1].removeprefix("http://").partition("/")[0]
    by_host = httpx.post(f"{product.http}/v1/models/two:predict", json=ASKED, headers={"host": host})
    assert by_host.json() == {"predictions": [2]}
    told = httpx.get(f"{product.http}/v1/models/two", headers={"host": host})
    assert told.json() == {"name": "two", "ready": True}  # what KServe's SDK waits for
    for verb in ("load", "unload"):
        refused = httpx.post(f"{product.http}/serving/default/{many}/v2/repository/models/two/{verb}")
        assert refused.status_code == 405
        assert "apply or delete a TrainedModel" in refused.text

    with Load(f"{product.http}/serving/default/{many}/v1/models/one:predict", ASKED) as load:
        apply(product, trained("one", constant(tmp_path / "other", 7), many))
        until(lambda: asked(product, "one", many) == [7], "the new version")
        until(lambda: is_ready(product, "one"), "one ready again")
    assert load.failed == {}
    assert {asked(product, "one", many)[0] for _ in range(8)} == {7}

    product.kubectl("delete", "tm", "one")
    until(lambda: asked(product, "one", many) == 404, "one gone")
    assert asked(product, "two", many) == [2]


def test_a_replica_that_was_killed_comes_back_with_all_its_models(product: Product, many: str, tmp_path: Path) -> None:
    models = [trained(f"m{number}", constant(tmp_path / str(number), number + 1), many) for number in range(5)]
    apply(product, *models)
    for number in range(5):
        until(lambda number=number: is_ready(product, f"m{number}"), "ready")
    before = product.replica_pids()
    os.kill(before[0], signal.SIGKILL)
    until(lambda: len(set(product.replica_pids()) - set(before)) == 1, "another process")
    until(lambda: all(is_ready(product, f"m{number}") for number in range(5)), "ready again")
    for number in range(5):
        assert {asked(product, f"m{number}", many)[0] for _ in range(6)} == {number + 1}


def test_a_model_moves_to_another_service(product: Product, many: str, tmp_path: Path) -> None:
    product.apply(service("more", {"sklearn": {}}))
    path = constant(tmp_path / "mover", 6)
    apply(product, trained("mover", path, many))
    until(lambda: is_ready(product, "mover"), "ready")
    apply(product, trained("mover", path, "more"))
    until(lambda: asked(product, "mover", "more") == [6], "served by the other")
    until(lambda: asked(product, "mover", many) == 404, "and no more by the first")
    bare = httpx.post(f"{product.http}/v2/models/mover/infer", json=V2, timeout=30)
    assert bare.json()["outputs"][0]["data"] == [6]
    product.colonnade("delete", "isvc", "more")
    until(lambda: conditions(product, "mover")["Ready"].get("reason") == "InferenceServiceNotFound", "kept, and waits")


def test_models_are_served_on_while_no_control_plane_runs(product: Product, many: str, tmp_path: Path) -> None:
    apply(product, trained("stays", constant(tmp_path / "stays", 1), many))
    until(lambda: is_ready(product, "stays"), "ready")
    before = product.replica_pids()
    http = product.http
    product.kill_control_plane()
    answer = httpx.post(f"{http}/serving/default/{many}/v1/models/stays:predict", json=ASKED, timeout=30)
    assert answer.json() == {"predictions": [1]}
    product.start()
    apply(product, trained("comes", constant(tmp_path / "comes", 2), many))
    until(lambda: is_ready(product, "comes"), "the new control plane loads models, too")
    assert product.replica_pids() == before
    assert [asked(product, name, many) for name in ("stays", "comes")] == [[1], [2]]
    product.kubectl("delete", "tm", "stays")
    until(lambda: asked(product, "stays", many) == 404, "what an earlier one had loaded is unloaded")


def test_what_fails_or_does_not_fit_says_so_and_leaves_the_others(product: Product, many: str, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.joblib").write_bytes(b"no model")
    apply(
        product,
        trained("good", constant(tmp_path / "good", 3), many, "600Mi"),
        trained("bad", tmp_path / "bad", many),
        trained("orphan", tmp_path / "good", "nobody"),
    )
    until(lambda: is_ready(product, "good"), "good ready")
    apply(product, trained("large", tmp_path / "good", many, "600Mi"))
    until(lambda: conditions(product, "large").get("MemoryResourceAvailable", {}).get("status") == "False", "no memory")
    assert conditions(product, "large")["Ready"]["reason"] == "MemoryResourceNotAvailable"
    until(lambda: conditions(product, "bad").get("Ready", {}).get("reason") == "ModelLoadFailed", "bad failed")
    assert conditions(product, "orphan")["Ready"]["status"] == "False"
    assert asked(product, "good", many) == [3]
    assert asked(product, "large", many) == 404

    product.kubectl("delete", "tm", "good")
    until(lambda: is_ready(product, "large"), "there is room now")
    assert asked(product, "large", many) == [3]
    apply(product, trained("bad", constant(tmp_path / "mended", 4), many))
    until(lambda: is_ready(product, "bad"), "mended")


def test_a_service_with_a_model_of_its_own_takes_no_other(product: Product, iris_model: Path) -> None:
    product.apply(service("single", {"sklearn": {"storageUri": str(iris_model)}}))
    apply(product, trained("guest", iris_model, "single"))
    until(lambda: conditions(product, "guest").get("IsMMSPredictor", {}).get("status") == "False", "refused")
    assert asked(product, "guest", "single") == 404
    product.colonnade("delete", "isvc", "single")
    product.kubectl("delete", "tm", "guest")


@pytest.mark.slow
def test_hundreds_of_small_models(product: Product, tmp_path: Path) -> None:
    product.apply(service("hundreds", {"sklearn": {}}))
    models = [
        trained(f"h{number}", constant(tmp_path / str(number % 7), number % 7 + 1), "hundreds") for number in range(200)
    ]
    apply(product, *models)

    def ready() -> bool:
        found = json.loads(product.kubectl("get", "tm", "-o", "json"))["items"]
        return (
            sum(
                any(
                    each["type"] == "Ready" and each["status"] == "True"
                    for each in one.get("status", {}).get("conditions", ())
                )
                for one in found
            )
            == 200
        )

    until(ready, "200 models", 120)
    assert [asked(product, f"h{number}", "hundreds") for number in range(0, 200, 9)] == [
        [number % 7 + 1] for number in range(0, 200, 9)
    ]
    (pid,) = product.replica_pids()
    os.kill(pid, signal.SIGKILL)
    until(lambda: asked(product, "h199", "hundreds") == [199 % 7 + 1], "served again", 60)
    product.colonnade("delete", "isvc", "hundreds")
    product.kubectl("delete", "tm", "--all")
