"""XGBoost and LightGBM boosters as graphs: objectives, missing values, thresholds."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

from colonnade.runtimes.compile.agreement import difference
from colonnade.wire.tensors import DTYPES

from .conftest import Make

DATA = {"iris": load_iris, "cancer": load_breast_cancer, "diabetes": load_diabetes}


def xgb(data: str, objective: str, **settings: Any) -> Any:
    rows, targets = DATA[data](return_X_y=True)
    settings |= {"objective": objective, "nthread": 1, "max_depth": 3}
    return xgboost.train(settings, xgboost.DMatrix(rows, targets), 8)


def lgb(data: str, objective: str, **settings: Any) -> Any:
    rows, targets = DATA[data](return_X_y=True)
    settings |= {"objective": objective, "num_threads": 1, "verbose": -1}
    return lightgbm.train(settings, lightgbm.Dataset(rows, targets), 8)


BOOSTERS = {
    "xgboost probabilities": (xgb, "iris", "multi:softprob", {"num_class": 3}),
    "xgboost classes": (xgb, "iris", "multi:softmax", {"num_class": 3}),
    "xgboost probability": (xgb, "cancer", "binary:logistic", {}),
    "xgboost numbers": (xgb, "diabetes", "reg:squarederror", {}),
    "xgboost counts": (xgb, "diabetes", "count:poisson", {}),
    "lightgbm probabilities": (lgb, "iris", "multiclass", {"num_class": 3}),
    "lightgbm one against all": (lgb, "iris", "multiclassova", {"num_class": 3}),
    "lightgbm probability": (lgb, "cancer", "binary", {}),
    "lightgbm numbers": (lgb, "diabetes", "regression", {}),
    "lightgbm counts": (lgb, "diabetes", "poisson", {}),
    "lightgbm forest": (
        lgb,
        "diabetes",
        "regression",
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7},
    ),
    "lightgbm leaves": (lgb, "diabetes", "regression", {"min_data_in_leaf": 500}),
}


@pytest.mark.parametrize("kind", BOOSTERS)
def test_every_datatype_answers_alike(kind: str, pair: Make) -> None:
    train, data, objective, settings = BOOSTERS[kind]
    made = pair(train(data, objective, **settings))
    assert made.report.compiled, made.report.reason
    assert not made.report.refused
    compiled = made.compiled()
    rows = DATA[data](return_X_y=True)[0]
    random = np.random.default_rng(3)
    rows = rows + random.normal(0, rows.std(axis=0), rows.shape)
    for datatype in made.report.datatypes:
        table = rows.astype(DTYPES[datatype])
        for part in (table, table[:1]):
            difference(made.original.predict(part), compiled.predict(part), 1.0)
    assert made.asked == 0


@pytest.mark.parametrize("train", [xgb, lgb])
def test_missing_values_are_answered_by_whoever_reads_them_alike(train: Any, pair: Make) -> None:
    made = pair(train("iris", {xgb: "multi:softprob", lgb: "multiclass"}[train], num_class=3))
    rows = load_iris(return_X_y=True)[0].astype(np.float32)
    rows[::2, 1] = np.nan
    rows[::3, 2] = np.nan
    difference(made.original.predict(rows), made.compiled().predict(rows))


def test_trees_that_learned_from_missing_values(pair: Make) -> None:
    rows, targets = load_iris(return_X_y=True)
    rows = rows.copy()
    rows[::3, 2] = np.nan
    made = pair(lightgbm.train({"objective": "regression", "verbose": -1}, lightgbm.Dataset(rows, targets), 8))
    compiled = made.compiled()
    difference(made.original.predict(rows), compiled.predict(rows))
    assert made.asked == 0


def test_lightgbm_parts_at_its_float64_thresholds(pair: Make) -> None:
    """What float32 thresholds would get wrong."""
    booster = lgb("diabetes", "regression")
    made = pair(booster)
    compiled = made.compiled()
    rows = np.repeat(load_diabetes(return_X_y=True)[0][:1], 3, axis=0)
    trees = booster.trees_to_dataframe()
    for _, node in trees[trees["threshold"].notna()].iterrows():
        feature = booster.feature_name().index(node["split_feature"])
        on = float(node["threshold"])
        table = rows.copy()
        table[:, feature] = [np.nextafter(on, -np.inf), on, np.nextafter(on, np.inf)]
        difference(made.original.predict(table), compiled.predict(table))
    assert made.asked == 0


@pytest.mark.parametrize(
    ("train", "objective", "settings", "reason"),
    [
        (xgb, "reg:squarederror", {"booster": "gblinear"}, "gbtree_model_param"),
        (xgb, "reg:logistic", {}, "values differ"),
        (lgb, "regression", {"zero_as_missing": True}, "zero_as_missing"),
        (lgb, "regression", {"reg_sqrt": True}, "is not known here"),
    ],
)
def test_what_cannot_be_converted_says_why(
    train: Any, objective: str, settings: dict[str, Any], reason: str, pair: Make
) -> None:
    data = "cancer" if objective == "reg:logistic" else "diabetes"
    made = pair(train(data, objective, **settings))
    assert not made.report.compiled
    assert reason in made.report.reason


def test_categories_stay_with_the_original(pair: Make) -> None:
    random = np.random.default_rng(0)
    rows = np.c_[random.integers(0, 6, 400), random.normal(size=400)]
    targets = np.isin(rows[:, 0], (1, 4)) * 5.0 + rows[:, 1]
    data = lightgbm.Dataset(rows, targets, categorical_feature=[0])
    made = pair(lightgbm.train({"objective": "regression", "verbose": -1, "min_data_per_group": 1}, data, 8))
    assert "categorical" in made.report.reason
