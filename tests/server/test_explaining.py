"""SHAP on a running replica: the values add up to what the model says, whichever method they come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from .environment import made_by, python_with
from .replica import Replica, Start

pytestmark = pytest.mark.slow

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.3, 2.9, 5.6, 1.8]]

MAKE = """
import sys, json, pathlib
import joblib, numpy as np, xgboost
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

folder = pathlib.Path(sys.argv[1])
x, y = load_iris(return_X_y=True)
rows = np.array({rows})
expected = {{}}

def keep(name, estimator, said, background=True):
    (folder / name).mkdir()
    joblib.dump(estimator, folder / name / "model.joblib")
    if background:
        np.savetxt(folder / name / "background.csv", x[::5], delimiter=",", header="a,b,c,d", comments="")
    expected[name] = said(estimator).tolist()

keep("forest", RandomForestClassifier(20, random_state=0).fit(x, y), lambda m: m.predict_proba(rows), False)
keep("linear", LogisticRegression(max_iter=1000).fit(x, y), lambda m: m.decision_function(rows))
keep("kernel", SVC(probability=True, random_state=0).fit(x, y), lambda m: m.predict_proba(rows))
keep("nothing", SVC().fit(x, y), lambda m: m.predict(rows), False)
booster = xgboost.train({{"objective": "binary:logistic"}}, xgboost.DMatrix(x, y == 2, feature_names=list("abcd")), 5)
(folder / "boosted").mkdir()
booster.save_model(folder / "boosted" / "model.ubj")
data = xgboost.DMatrix(rows, feature_names=list("abcd"))
expected["boosted"] = booster.predict(data, output_margin=True).tolist()
(folder / "expected.json").write_text(json.dumps(expected))
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with("shap", "shap", "xgboost-cpu", "pandas")


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_by(python, MAKE.format(rows=ROWS), tmp_path_factory.mktemp("models"))


def explaining(start: Start, python: Path, model: Path, *words: str) -> Replica:
    return start("--model-name", "m", "--model-dir", str(model), "--explainer", "shap", *words, python=python)


def explained(replica: Replica, body: dict[str, Any]) -> httpx.Response:
    return replica.http.post("/v1/models/m:explain", json=body)


@pytest.mark.parametrize(
    ("name", "method"), [("forest", "tree"), ("boosted", "tree"), ("linear", "linear"), ("kernel", "kernel")]
)
def test_values_add_up_to_the_models_answer(start: Start, python: Path, models: Path, name: str, method: str) -> None:
    replica = explaining(start, python, models / name).ready()
    answer = explained(replica, {"instances": ROWS})
    assert answer.status_code == 200, answer.text
    told = answer.json()["explanations"]
    assert told["method"] == method
    expected = np.array(json.loads((models / "expected.json").read_text())[name])
    values = np.array(told["shap_values"])
    assert np.allclose(np.squeeze(np.array(told["base_values"]) + values.sum(axis=1)), expected, atol=1e-3)
    assert np.abs(values).max() > 0.05
    tensor = {"name": "x", "shape": [2, 4], "datatype": "FP64", "data": ROWS}
    assert explained(replica, {"inputs": [tensor]}).json()["explanations"]["method"] == method
    assert replica.http.post("/v1/models/m:predict", json={"instances": ROWS}).status_code == 200
    refused = explained(replica, {"instances": [[1.0, 2.0]]})
    assert refused.status_code == 400
    assert "4 features" in refused.json()["error"]


def test_names_of_features_are_told(start: Start, python: Path, models: Path) -> None:
    replica = explaining(start, python, models / "boosted").ready()
    assert explained(replica, {"instances": ROWS}).json()["explanations"]["features"] == ["a", "b", "c", "d"]


def test_a_model_in_a_process_of_its_own_explains_too(start: Start, python: Path, models: Path) -> None:
    replica = explaining(start, python, models / "forest", "--execution", "process").ready()
    assert explained(replica, {"instances": ROWS}).json()["explanations"]["method"] == "tree"


def test_a_model_that_cannot_be_explained_does_not_load(start: Start, python: Path, models: Path) -> None:
    replica = explaining(start, python, models / "nothing")
    assert replica.wait() == 3
    assert "put background.npy or background.csv beside it" in replica.stderr.read_text()
