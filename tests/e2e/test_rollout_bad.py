"""A bad revision never gets a request: a load on the good one sees no other answer and no failure."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from .product import Product, until
from .steady import Steady
from .versions import Versions

GOLDEN = [{"request": {"instances": [[5.1, 3.5, 1.4, 0.2]]}, "response": {"predictions": [0]}}]
HANGS = (
    "import time\nimport colonnade\n\n\nclass Model(colonnade.Model):\n    def load(self):\n        time.sleep(600)\n"
)
CRASHES = "import os\nimport colonnade\n\n\nclass Model(colonnade.Model):\n    def load(self):\n        os._exit(9)\n"


def sklearn(folder: Path, **more: Any) -> dict[str, Any]:
    return {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": str(folder), **more}}


def python(folder: Path, text: str) -> dict[str, Any]:
    (folder / "model.py").write_text(text)
    return {"model": {"modelFormat": {"name": "python"}, "storageUri": str(folder)}}


def corrupt(folder: Path, model: Path) -> dict[str, Any]:
    (folder / "model.joblib").write_bytes((model / "model.joblib").read_bytes()[:-40])
    return sklearn(folder)


def wrong_shape(folder: Path, model: Path) -> dict[str, Any]:
    """A model of two features, beside the golden requests of the one with four."""
    samples, species = load_iris(return_X_y=True)
    joblib.dump(DecisionTreeClassifier().fit(samples[:, :2], species), folder / "model.joblib")
    (folder / "golden.json").write_text(json.dumps(GOLDEN))
    return sklearn(folder)


def wrong_answer(folder: Path, model: Path) -> dict[str, Any]:
    samples, species = load_iris(return_X_y=True)
    joblib.dump(DecisionTreeClassifier().fit(samples, 2 - species), folder / "model.joblib")
    (folder / "golden.json").write_text(json.dumps(GOLDEN))
    return sklearn(folder)


def hang_on_load(folder: Path, model: Path) -> dict[str, Any]:
    return python(folder, HANGS)


def crash_on_load(folder: Path, model: Path) -> dict[str, Any]:
    return python(folder, CRASHES)


def unknown_runtime(folder: Path, model: Path) -> dict[str, Any]:
    shutil.copytree(model, folder, dirs_exist_ok=True)
    return sklearn(folder, runtime="nobodys-runtime")


def refused_by_the_scan(folder: Path, model: Path) -> dict[str, Any]:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("run",))

    (folder / "model.pkl").write_bytes(pickle.dumps(Evil()))
    return sklearn(folder)


def wrong_digest(folder: Path, model: Path) -> dict[str, Any]:
    shutil.copytree(model, folder, dirs_exist_ok=True)
    return sklearn(folder)


def nothing_there(folder: Path, model: Path) -> dict[str, Any]:
    return sklearn(folder / "nowhere")


Bad = Callable[[Path, Path], dict[str, Any]]
BAD: dict[Bad, str] = {
    corrupt: "FailedToLoad",
    wrong_shape: "FailedToLoad",
    wrong_answer: "FailedToLoad",
    hang_on_load: "Loading",
    crash_on_load: "FailedToLoad",
    unknown_runtime: "FailedToLoad",
    refused_by_the_scan: "FailedToLoad",
    wrong_digest: "FailedToLoad",
    nothing_there: "FailedToLoad",
}
"""Each bad revision, and what becomes of its model."""


@pytest.fixture(scope="module")
def good(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return Versions(product, "victim", tmp_path_factory.mktemp("victim"))


@pytest.fixture
def load(good: Versions) -> Iterator[Steady]:
    """A load on the good revision, which nothing may disturb."""
    good.apply(good.predictor("good"))
    with Steady(good.url, 60, clients=8) as steady:
        yield steady
        enough = steady.answered + 20
        until(lambda: steady.answered >= enough, "the service keeps answering")
    assert (steady.failed, set(steady.answers)) == ({}, {"good"})


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.__name__)
def test_it_never_gets_a_request(good: Versions, load: Steady, bad: Bad, tmp_path: Path, iris_model: Path) -> None:
    notes = {"colonnade.dev/model-digest": "sha256:" + "0" * 64} if bad is wrong_digest else {}
    good.apply(bad(tmp_path, iris_model), notes, wait=False)
    until(lambda: good.model_state() == BAD[bad], f"its model is {BAD[bad]}")
    assert good.condition()["status"] == ("Unknown" if bad is hang_on_load else "False")
    assert good.condition("IngressReady")["status"] == "True"
