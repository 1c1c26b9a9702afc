"""Folders of MLflow, loaded by their flavour without MLflow: signature, order of columns, types, consent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import yaml
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.model.binding import BoundModel, bind
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.mlflow import MLflowRuntime
from colonnade.wire.tensors import InferRequest, Tensor

NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
COLUMNS = json.dumps([{"type": "double", "name": name, "required": True} for name in NAMES])
CLASSES = json.dumps([{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}])
VIRGINICA = [6.3, 3.0, 6.0, 2.0]


def folder_of(folder: Path, flavors: dict[str, Any], signature: dict[str, str] | None) -> Path:
    """An MLmodel file as MLflow writes it."""
    (folder / "MLmodel").write_text(yaml.safe_dump({"flavors": flavors, "signature": signature}))
    return folder


def sklearn_in(folder: Path, predict: str = "predict", signature: dict[str, str] | None = None) -> Path:
    """A classifier of irises."""
    values, classes = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=300).fit(values, classes), folder / "model.pkl")
    flavors = {
        "python_function": {"loader_module": "mlflow.sklearn", "predict_fn": predict},
        "sklearn": {"pickled_model": "model.pkl", "serialization_format": "cloudpickle"},
    }
    return folder_of(folder, flavors, signature or {"inputs": COLUMNS, "outputs": CLASSES})


def load(folder: Path, **options: Any) -> BoundModel:
    return bind(MLflowRuntime().load("m", folder, LoadOptions(env={}, **options)))


def columns(values: list[float], names: list[str], dtype: Any = np.float64) -> InferRequest:
    tensors = [Tensor.of(name, np.array([value], dtype)) for name, value in zip(names, values, strict=True)]
    return InferRequest("m", tensors, parameters={"content_type": "pd"})


def test_the_signature_is_the_metadata(tmp_path: Path) -> None:
    model = load(sklearn_in(tmp_path))
    assert [(spec.name, spec.datatype, spec.shape) for spec in model.inputs] == [
        (name, "FP64", (-1,)) for name in NAMES
    ]
    assert [(spec.name, spec.datatype, spec.shape) for spec in model.outputs] == [("output-0", "INT64", (-1,))]


def test_rows_and_columns_in_any_order_and_narrower_type(tmp_path: Path) -> None:
    model = load(sklearn_in(tmp_path))
    assert model.predict_v1({"instances": [VIRGINICA]})["predictions"].tolist() == [2]
    named = dict(zip(NAMES, VIRGINICA, strict=True))
    assert model.predict_v1({"instances": [named]})["predictions"].tolist() == [2]
    backwards = columns(VIRGINICA[::-1], NAMES[::-1], np.float32)
    assert model.infer(backwards).outputs[0].data.tolist() == [2]
    whole = columns([6, 3, 6, 2], NAMES, np.int32)
    assert model.infer(whole).outputs[0].data.tolist() == [2]


def test_probabilities_where_the_model_was_saved_so(tmp_path: Path) -> None:
    model = load(sklearn_in(tmp_path, "predict_proba"))
    assert model.predict_v1({"instances": [VIRGINICA]})["predictions"].shape == (1, 3)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (columns(VIRGINICA, ["length", *NAMES[1:]]), "lacks the features sepal length; it has length"),
        (columns(VIRGINICA[:3], NAMES[:3]), "lacks the features petal width"),
        (InferRequest("m", [Tensor.of("x", np.ones((1, 3)))]), "expects 4 features per row and the request has 3"),
        (
            InferRequest("m", [Tensor.of(name, np.array([b"wide"], np.object_)) for name in NAMES]),
            '"sepal length" holds values that are no FP64',
        ),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, request_: InferRequest, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(sklearn_in(tmp_path)).infer(request_)
    assert message in caught.value.message


FUNCTION = {"python_function": {"loader_module": "mlflow.pyfunc.model"}}


def test_python_code_needs_consent_and_then_mlflow(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, FUNCTION, None)
    with pytest.raises(LoadFailed, match=r"mlflow\.pyfunc\.model flavour, which is not run without consent"):
        load(folder)
    with pytest.raises(LoadFailed, match=r"pip install colonnade\[mlflow\]"):
        load(folder, trust_code=True)


@pytest.mark.parametrize("file", ["../model.pkl", "/etc/passwd", "", 7])
def test_a_file_outside_the_folder_is_refused(tmp_path: Path, file: Any) -> None:
    folder = folder_of(tmp_path, {"sklearn": {"pickled_model": file}}, None)
    with pytest.raises(LoadFailed, match="must be a path inside the folder"):
        load(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("flavors: [", "is no YAML"),
        ("7", "names no flavors"),
        ("flavors: {spark: {}}", "has the flavours spark, and none is python_function"),
        ("flavors: {onnx: {data: m.onnx}}", "m.onnx does not exist"),
    ],
)
def test_an_mlmodel_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "MLmodel").write_text(content)
    with pytest.raises(LoadFailed, match=message):
        load(tmp_path)


@pytest.mark.parametrize("inputs", ["[{", '[{"name": "x"}]', '[{"type": "tensor"}]', "7", '["x"]'])
def test_a_signature_that_cannot_be_read(tmp_path: Path, inputs: str) -> None:
    with pytest.raises(LoadFailed, match="has a signature that cannot be read"):
        load(sklearn_in(tmp_path, signature={"inputs": inputs}))
