"""Models of scikit-learn written as PMML answer as the models themselves, to nine digits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from . import documents


def _fitted(estimator: Any, data: Any) -> tuple[Any, np.ndarray]:
    values = data.data.astype(np.float32).astype(np.float64)  # trees compare in single precision
    return estimator.fit(values, data.target), values


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("estimator", "data", "written"),
    [
        (RandomForestClassifier(6, max_depth=6, random_state=0), load_iris(), documents.of_forest),
        (RandomForestClassifier(4, max_depth=5, random_state=0), load_breast_cancer(), documents.of_forest),
        (LogisticRegression(max_iter=200), load_iris(), documents.of_logistic),
        (LogisticRegression(max_iter=200), load_breast_cancer(), documents.of_logistic),
        (MLPClassifier((7, 5), max_iter=60, random_state=0), load_iris(), documents.of_network),
    ],
)
def test_answers_are_those_of_the_original(
    tmp_path: Path, estimator: Any, data: Any, written: Callable[[Any], str]
) -> None:
    fitted, values = _fitted(estimator, data)
    model = documents.load(tmp_path, written(fitted))
    answers = documents.rows(model, *values.tolist())
    assert [answer["k"] for answer in answers] == fitted.predict(values).tolist()
    shares = [[answer[f"p{label}"] for label in fitted.classes_] for answer in answers]
    np.testing.assert_allclose(shares, fitted.predict_proba(values), rtol=1e-9, atol=1e-12)
