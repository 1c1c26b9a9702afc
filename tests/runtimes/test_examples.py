"""The rows on which a loaded model is tried out: they fit it, or there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from colonnade.model.binding import bind
from colonnade.model.contract import Model
from colonnade.runtimes import catalogue
from colonnade.runtimes.base import LoadOptions

X, Y = load_iris(return_X_y=True)


def loaded(runtime: str, path: Path) -> Model:
    return catalogue.runtime(runtime).load("m", path, LoadOptions(env={}))


def fits(model: Model, rows: int = 4) -> None:
    """The model answers its example."""
    example = model.example()
    assert example is not None
    assert {tensor.shape[0] for tensor in example.inputs} == {rows}
    answer = bind(model).infer(example)
    assert all(output.shape[0] == rows for output in answer.outputs)


def test_an_estimator_of_numbers_has_rows(tmp_path: Path) -> None:
    joblib.dump(LogisticRegression(max_iter=500).fit(X, Y), tmp_path / "model.joblib")
    fits(loaded("sklearn", tmp_path))


def test_an_estimator_of_text_or_of_columns_by_name_has_none(tmp_path: Path) -> None:
    joblib.dump(
        make_pipeline(CountVectorizer(), MultinomialNB()).fit(["one two", "two three"], [0, 1]), tmp_path / "a.joblib"
    )
    assert loaded("sklearn", tmp_path / "a.joblib").example() is None
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    by_name = make_pipeline(ColumnTransformer([("s", StandardScaler(), ["a", "b"])]), LogisticRegression())
    joblib.dump(by_name.fit(frame, Y), tmp_path / "b.joblib")
    assert loaded("sklearn", tmp_path / "b.joblib").example() is None


def test_boosters_have_rows(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    lightgbm = pytest.importorskip("lightgbm")
    xgboost.train({}, xgboost.DMatrix(X, Y), 2).save_model(tmp_path / "model.ubj")
    lightgbm.train({"verbose": -1}, lightgbm.Dataset(X, Y), 2).save_model(tmp_path / "model.txt")
    fits(loaded("xgboost", tmp_path / "model.ubj"))
    fits(loaded("lightgbm", tmp_path / "model.txt"))


def _identity(folder: Path, kind: int, shapes: Sequence[Sequence[Any]]) -> Model:
    inputs = [helper.make_tensor_value_info(f"x{index}", kind, shape) for index, shape in enumerate(shapes)]
    outputs = [helper.make_tensor_value_info(f"y{index}", kind, shape) for index, shape in enumerate(shapes)]
    nodes = [helper.make_node("Identity", [f"x{index}"], [f"y{index}"]) for index in range(len(shapes))]
    made = helper.make_graph(nodes, "g", inputs, outputs)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "model.onnx")
    return loaded("onnx", folder)


@pytest.mark.parametrize(
    ("kind", "shapes", "rows"),
    [
        (TensorProto.FLOAT, [["n", 4]], 4),
        (TensorProto.FLOAT, [["n", 3, 8, 8], ["n"]], 4),
        (TensorProto.INT64, [["n", 4]], 4),
        (TensorProto.BOOL, [["n", 4]], 4),
        (TensorProto.FLOAT, [[1, 4]], 1),
        (TensorProto.FLOAT16, [[6, 4]], 6),
    ],
)
def test_a_graph_of_known_sizes_has_rows(tmp_path: Path, kind: int, shapes: list[list[Any]], rows: int) -> None:
    model = _identity(tmp_path, kind, shapes)
    fits(model, rows)
    example = model.example()
    assert example is not None
    first = example.inputs[0].data
    assert rows == 1 or not np.array_equal(first[0], first[1]), "rows that are alike would tell nothing apart"


@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        (TensorProto.STRING, [["n", 1]]),
        (TensorProto.FLOAT, [["n", "length"]]),
        (TensorProto.FLOAT, [["n", 1024, 1024]]),
        (TensorProto.FLOAT, [[]]),
    ],
)
def test_a_graph_of_text_or_of_unknown_or_large_sizes_has_none(
    tmp_path: Path, kind: int, shapes: list[list[Any]]
) -> None:
    assert _identity(tmp_path, kind, shapes).example() is None
