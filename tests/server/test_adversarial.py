"""KServe's explainer `art` on a real predictor: what it finds is taken for something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from .environment import made_by, python_with
from .replica import Replica, Start

pytestmark = pytest.mark.slow

EPS = 0.3
MODULE = "colonnade.server.artexplainer"

MAKE = """
import pathlib, sys
import joblib
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

x, y = load_digits(return_X_y=True)
folder = pathlib.Path(sys.argv[1])
joblib.dump(LogisticRegression(max_iter=500).fit(x / 16, y), folder / "digits.joblib")
(folder / "model.py").write_text('''
import joblib, numpy as np
import colonnade


class Scores(colonnade.Model):
    def load(self):
        self.estimator = joblib.load(self.path("digits.joblib"))

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.estimator.predict_proba(x)
''')
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with("art", "adversarial-robustness-toolbox>=1.20")


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_by(python, MAKE, tmp_path_factory.mktemp("models"))


def explainer(start: Start, python: Path, predictor: Replica, *words: str) -> Replica:
    where = ("--model_name", "m", "--predictor_host", predictor.authority)
    return start(*where, "--nb_classes", "10", *words, python=python, module=MODULE)


def digits(number: int) -> list[tuple[np.ndarray, int]]:
    """Images (1, 8, 8, 1) from 0 to 1, and what they show."""
    images, labels = load_digits(return_X_y=True)
    return [
        ((image / 16).reshape(1, 8, 8, 1), int(label))
        for image, label in zip(images[:number], labels[:number], strict=True)
    ]


def said(predictor: Replica, image: np.ndarray) -> int:
    """The class that the predictor gives an image."""
    answer = predictor.http.post("/v1/models/m:predict", json={"instances": image.reshape(1, -1).tolist()}).json()
    found = np.array(answer["predictions"][0])
    return int(found if found.ndim == 0 else np.argmax(found))


def test_what_is_found_is_taken_for_something_else(start: Start, python: Path, models: Path) -> None:
    predictor = start("--model-name", "m", "--model-dir", str(models), "--runtime", "python", python=python, tcp=True)
    attacker = explainer(
        start, python, predictor.ready(), "--adversary_type", "SquareAttack", "--eps", str(EPS)
    ).ready()
    for image, label in digits(5):
        answer = attacker.http.post("/v1/models/m:explain", json={"instances": [image.tolist(), [label]]})
        assert answer.status_code == 200, answer.text
        told = answer.json()["explanations"]
        found = np.array(told["adversarial_example"])
        assert told["prediction"] == said(predictor, image) == label
        assert told["adversarial_prediction"] == said(predictor, found) != label
        assert found.shape == image.shape
        assert np.abs(found - image).max() <= EPS + 1e-6
        assert told["L2 error"] == pytest.approx(np.linalg.norm(found - image), abs=1e-4)


def test_a_predictor_that_names_classes_is_attacked_too(start: Start, python: Path, models: Path) -> None:
    model = str(models / "digits.joblib")
    predictor = start("--model-name", "m", "--model-dir", model, "--trust-code", python=python, tcp=True).ready()
    attacker = explainer(start, python, predictor, "--eps=1.0", "--max-iter", "300").ready()
    image, label = digits(1)[0]
    told: dict[str, Any] = attacker.http.post(
        "/v1/models/m:explain", json={"instances": [image.tolist(), [label]]}
    ).json()["explanations"]
    assert told["adversarial_prediction"] == said(predictor, np.array(told["adversarial_example"])) != label
    passed = attacker.http.post("/v1/models/m:predict", json={"instances": image.reshape(1, -1).tolist()})
    assert passed.json() == {"predictions": [label]}


def test_a_predictor_with_more_classes_than_it_was_told(start: Start, python: Path, models: Path) -> None:
    predictor = start("--model-name", "m", "--model-dir", str(models), "--runtime", "python", python=python, tcp=True)
    attacker = explainer(start, python, predictor.ready(), "--nb-classes=4").ready()
    image, label = digits(1)[0]
    refused = attacker.http.post("/v1/models/m:explain", json={"instances": [image.tolist(), [label]]})
    assert refused.status_code == 500
    assert "nb_classes is 4" in refused.json()["error"]


def test_a_predictor_that_is_gone(start: Start, python: Path, models: Path) -> None:
    predictor = start("--model-name", "m", "--model-dir", str(models), "--runtime", "python", python=python, tcp=True)
    attacker = explainer(start, python, predictor.ready()).ready()
    predictor.close()
    image, label = digits(1)[0]
    refused = attacker.http.post("/v1/models/m:explain", json={"instances": [image.tolist(), [label]]})
    assert refused.status_code in (500, 502, 503), refused.text
    assert json.loads(refused.text)["error"]


def test_without_the_library_it_names_the_extra(start: Start) -> None:
    replica = start("--predictor_host", "127.0.0.1:1", module=MODULE)
    assert replica.wait() == 3
    assert "pip install colonnade[art]" in replica.stderr.read_text()
