"""scikit-learn models answer as graphs what they answer themselves, or stay as they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from skl2onnx.operator_converters.decision_tree import convert_sklearn_decision_tree_classifier
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from colonnade.errors import InvalidInput
from colonnade.runtimes.compile.agreement import difference
from colonnade.runtimes.compile.golden import Example
from colonnade.wire.tensors import DTYPES

from .conftest import Make

X, Y = load_iris(return_X_y=True)
WORDS = np.array(["setosa", "versicolor", "virginica"])[Y]
XD, YD = load_diabetes(return_X_y=True)
FLOATS = ("FP32", "FP64")

MODELS: dict[str, tuple[Any, Any, Any, tuple[str, ...]]] = {
    "logistic regression": (LogisticRegression(max_iter=1000), X, Y, FLOATS),
    "text labels": (LogisticRegression(max_iter=1000), X, WORDS, FLOATS),
    "boolean labels": (DecisionTreeClassifier(random_state=0), X, Y == 1, FLOATS),
    "forest": (RandomForestClassifier(100, random_state=0), X, Y, FLOATS),
    "forest of numbers": (RandomForestRegressor(20, random_state=0), XD, YD, FLOATS),
    "boosting": (GradientBoostingClassifier(n_estimators=20, random_state=0), X, Y, FLOATS),
    "boosting of numbers": (GradientBoostingRegressor(n_estimators=20, random_state=0), XD, YD, FLOATS),
    "pipeline": (make_pipeline(StandardScaler(), LogisticRegression()), X, WORDS, FLOATS),
    "support vectors": (make_pipeline(StandardScaler(), SVC()), X, Y, ("FP32",)),
    "several numbers": (LinearRegression(), X, np.c_[Y, 2.5 * Y], FLOATS),
    "several numbers of a forest": (RandomForestRegressor(5, random_state=0), X, np.c_[Y, 2.5 * Y], FLOATS),
    "network": (MLPClassifier((8,), max_iter=200, random_state=0), X, Y, FLOATS),
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_what_is_covered_answers_alike(kind: str, pair: Make) -> None:
    model, rows, targets, datatypes = MODELS[kind]
    made = pair(model.fit(rows, targets))
    assert made.report.compiled, made.report
    assert set(datatypes) <= set(made.report.datatypes), made.report.refused
    compiled = made.compiled()
    random = np.random.default_rng(7)
    for datatype in made.report.datatypes:
        table = (rows + random.normal(0, rows.std(axis=0), rows.shape)).astype(DTYPES[datatype])
        for part in (table, table[:1], table[1:4]):
            difference(made.original.predict(part), compiled.predict(part), 1.0)
    assert made.asked == 0


@pytest.mark.parametrize("kind", ["logistic regression", "forest", "boosting", "text labels"])
def test_probabilities(kind: str, pair: Make) -> None:
    model, rows, targets, _ = MODELS[kind]
    made = pair(model.fit(rows, targets), PREDICT_PROBA="true")
    answer = made.compiled().predict(rows)
    assert (answer.shape, answer.dtype) == ((150, 3), np.float64)
    difference(made.original.predict(rows), answer)
    assert made.asked == 0


def test_every_threshold_of_a_tree_parts_the_same_numbers(pair: Make) -> None:
    tree = DecisionTreeClassifier(random_state=0).fit(X, Y)
    made = pair(tree)
    compiled = made.compiled()
    inner = tree.tree_.feature >= 0
    for dtype in (np.float32, np.float64):
        for feature, value in zip(tree.tree_.feature[inner], tree.tree_.threshold[inner], strict=True):
            rows = np.repeat(X[:50].astype(dtype), 3, axis=0)
            on = dtype(value)
            beside = [np.nextafter(on, dtype(-np.inf)), on, np.nextafter(on, dtype(np.inf))]
            rows[:, feature] = np.tile(np.array(beside), 50)
            assert np.array_equal(made.original.predict(rows), compiled.predict(rows))
    assert made.asked == 0


def test_a_graph_that_rounds_is_refused_for_the_type_that_would_show_it(pair: Make) -> None:
    """The converter's support vectors compute in float32, which moves the border between labels for float64 rows."""
    made = pair(make_pipeline(StandardScaler(), SVC()).fit(X, Y))
    assert "borders" in made.report.refused["FP64"]
    compiled = made.compiled()
    compiled.predict(X.astype(np.float32))
    assert made.asked == 0
    assert np.array_equal(compiled.predict(X), made.original.predict(X))
    assert made.asked == 1


def test_a_converter_that_is_wrong_is_found_out(pair: Make) -> None:
    """Thresholds of histogram boosting lose digits on the way, which only rows on a threshold show."""
    made = pair(HistGradientBoostingClassifier(max_iter=20, random_state=0).fit(X, Y))
    assert not made.report.compiled
    assert "rows of the kind 'thresholds'" in made.report.reason


class Turncoat(DecisionTreeClassifier):
    """Answers otherwise than the tree that a converter sees, for some flowers."""

    def predict(self, rows: np.ndarray) -> np.ndarray:
        labels: np.ndarray = super().predict(rows)
        return np.where(rows[:, 0] > 7.5, 0, labels)


class Stranger(DecisionTreeClassifier):
    """Of a class that no converter knows."""


def test_a_graph_that_disagrees_never_serves(pair: Make) -> None:
    options = {"zipmap": [True, False, "columns"], "nocl": [True, False], "output_class_labels": [False, True]}
    options |= {"raw_scores": [True, False], "decision_path": [True, False], "decision_leaf": [True, False]}
    shapes = calculate_linear_classifier_output_shapes
    update_registered_converter(
        Turncoat, "Turncoat", shapes, convert_sklearn_decision_tree_classifier, options=options, overwrite=True
    )
    made = pair(Turncoat(random_state=0).fit(X, Y))
    assert not made.report.compiled
    assert "values differ" in made.report.reason


@pytest.mark.parametrize(
    ("model", "rows", "reason"),
    [
        (Stranger(), X, "Stranger"),
        (make_pipeline(FunctionTransformer(np.log1p), LinearRegression()), np.abs(X), "FunctionTransformer"),
    ],
)
def test_what_no_converter_knows_stays_as_it_is(model: Any, rows: np.ndarray, reason: str, pair: Make) -> None:
    made = pair(model.fit(rows, Y))
    assert not made.report.compiled
    assert reason in made.report.reason
    assert made.graphs == {}


def test_texts_stay_with_the_original(pair: Make) -> None:
    made = pair(make_pipeline(TfidfVectorizer(), MultinomialNB()).fit(["a good one", "a bad one"], [1, 0]))
    assert "does not say how many features" in made.report.reason


def test_what_the_graph_does_not_cover_is_asked_of_the_original(pair: Make) -> None:
    names = [f"f{index}" for index in range(4)]
    made = pair(LogisticRegression(max_iter=1000).fit(pd.DataFrame(X, columns=names), Y))
    compiled = made.compiled()
    frame = pd.DataFrame(X[:, ::-1], columns=names[::-1])
    assert np.array_equal(compiled.predict(frame), made.original.predict(frame))
    assert made.asked == 1
    with pytest.raises(InvalidInput, match="Input X contains NaN"):
        compiled.predict(np.array([[1.0, np.nan, 1.0, 1.0]]))
    with pytest.raises(InvalidInput, match="minimum of 1 is required"):
        compiled.predict(np.empty((0, 4)))
    large = np.array([[1e30, 1.0, 1.0, 1.0]])
    assert np.array_equal(compiled.predict(large), made.original.predict(large))


@pytest.mark.parametrize("table", [np.ones((1, 3)), np.ones(4), np.array([[b"a"] * 4], dtype=object)])
def test_refusals_are_the_originals(table: np.ndarray, pair: Make) -> None:
    made = pair(LogisticRegression(max_iter=1000).fit(X, Y))
    with pytest.raises(InvalidInput) as expected:
        made.original.predict(table)
    with pytest.raises(InvalidInput) as got:
        made.compiled().predict(table)
    assert str(got.value) == str(expected.value)


def test_golden_rows_are_compared_and_the_original_held_against_them(pair: Make) -> None:
    model = LogisticRegression(max_iter=1000).fit(X, Y)
    good = pair(model, [Example(X[:10], Y[:10])])
    assert (good.report.compiled, good.report.golden) == (True, 10)
    wrong = pair(model, [Example(X[:10], Y[:10] + 1)])
    assert not wrong.report.compiled
    assert "golden.json, entry 0: the model itself answers otherwise" in wrong.report.reason


def test_the_report_says_what_was_done(pair: Make) -> None:
    report = pair(RandomForestClassifier(20, random_state=0).fit(X, Y)).report
    assert report.model == "RandomForestClassifier"
    assert report.operators == {"float": ["TreeEnsembleClassifier"]}
    assert [timing.rows for timing in report.timings] == [1, 64]
    assert "compiled to ONNX" in report.summary
