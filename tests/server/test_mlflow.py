"""Models that MLflow itself saved, on a running replica: one by its flavour, one as Python code through MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from .environment import made_by, python_with
from .replica import Start

pytestmark = pytest.mark.slow

SCRIPT = """
import pathlib, sys, mlflow, numpy, pandas
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
folder = pathlib.Path(sys.argv[1])
values, classes = load_iris(return_X_y=True, as_frame=True)
model = LogisticRegression(max_iter=300).fit(values, classes)
signature = infer_signature(values, model.predict(values))
mlflow.sklearn.save_model(model, folder / "iris", signature=signature, serialization_format="cloudpickle")

class Sum(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        assert list(model_input.columns) == ["a", "b"], model_input.columns
        if (model_input.a < 0).any():
            raise ValueError("a secret of the model")
        return model_input.a + model_input.b

frame = pandas.DataFrame({"a": [1.0], "b": [2]})
signature = infer_signature(frame, numpy.array([3.0]))
mlflow.pyfunc.save_model(folder / "sum", python_model=Sum(), signature=signature, pip_requirements=["pandas"])
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with("mlflow", "mlflow-skinny", "pandas")


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_by(python, SCRIPT, tmp_path_factory.mktemp("mlflow"))


def test_a_flavour_needs_no_mlflow(start: Start, models: Path) -> None:
    replica = start("--model-name=m", f"--model-dir={models / 'iris'}").ready()
    assert len(replica.http.get("/v2/models/m").json()["inputs"]) == 4
    answer = replica.http.post("/v1/models/m:predict", json={"instances": [[6.3, 3, 6, 2]]})
    assert answer.json() == {"predictions": [2]}


def test_python_code_is_held_to_its_signature(start: Start, python: Path, models: Path) -> None:
    replica = start("--model-name=m", f"--model-dir={models / 'sum'}", "--trust-code", python=python).ready()
    said = replica.http.get("/v2/models/m").json()
    assert [(each["name"], each["datatype"]) for each in said["inputs"]] == [("a", "FP64"), ("b", "INT64")]
    answer = replica.http.post("/v1/models/m:predict", json={"instances": [{"b": 2, "a": 1}, {"b": 3, "a": 0.5}]})
    assert answer.json() == {"predictions": [3.0, 3.5]}
    tensors = [
        {"name": "b", "datatype": "INT32", "shape": [1], "data": [2]},
        {"name": "a", "datatype": "FP32", "shape": [1], "data": [1]},
    ]
    [output] = replica.http.post("/v2/models/m/infer", json={"inputs": tensors}).json()["outputs"]
    assert output["data"] == [3.0]
    refused = replica.http.post("/v1/models/m:predict", json={"instances": [{"b": 2.5, "a": 1}]})
    assert (refused.status_code, "holds values that are no INT64" in refused.text) == (400, True)
    failed = replica.http.post("/v1/models/m:predict", json={"instances": [{"b": 2, "a": -1}]})
    assert (failed.status_code, "secret" in failed.text) == (500, False)
