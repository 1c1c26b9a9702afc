"""What a loaded model tells of itself for its conversion: its kind, where its inputs lie, and graphs that may equal it.

A graph from here is a candidate and no more; converters get some models wrong without a word. Seen so far, all caught
by the checks: onnxmltools 1.16 forgets the average of LightGBM's `rf` boosting and the link of XGBoost's `reg:logistic`
and `binary:logitraw`, cannot read XGBoost 3's `dart` and `gblinear`, and gives trees of float64 rows wrong thresholds.
LightGBM parts float64 numbers, so its trees are written as such by `forest`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

import numpy as np

from colonnade.errors import LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes.base import framework
from colonnade.runtimes.compile import forest
from colonnade.runtimes.compile.form import INPUT
from colonnade.runtimes.compile.inputs import Domain

T = TypeVar("T")

Graphs = dict[str, bytes]  # by the name of the output that each computes
Candidates = Iterator[tuple[str, Callable[[], Graphs]]]  # name of the type that graphs compute in, and what makes them

# Attributes of fitted estimators that hold rows of the training data or statistics of them, in order of preference.
_ROWS = ("_fit_X", "X_train_", "support_vectors_", "cluster_centers_", "theta_")


class Unconvertible(Exception):
    """Nothing here can convert the model; the message says why."""


def describe(model: Model) -> tuple[str, Domain, Candidates]:
    """The model's kind, its domain, and candidates in order of preference.

    Raises:
        Unconvertible: it has no fixed number of features, or is of no framework that is converted.
    """
    estimator = getattr(model, "estimator", None)
    if estimator is not None:
        return _sklearn(estimator)
    booster = getattr(model, "booster", None)
    if model.platform == "xgboost":
        return _xgboost(booster)
    if model.platform == "lightgbm":
        return _lightgbm(booster)
    raise Unconvertible(f"models of {model.platform or type(model).__name__} are not converted")


def _sklearn(estimator: Any) -> tuple[str, Domain, Candidates]:
    width = getattr(estimator, "n_features_in_", None)
    if width is None:
        raise Unconvertible(f"a {type(estimator).__name__} does not say how many features it takes")
    first = estimator.steps[0][1] if getattr(estimator, "steps", None) else estimator
    thresholds = _sklearn_thresholds(estimator)
    centre, scale = _spread(thresholds, int(width)) if thresholds else _statistics(first, int(width))

    def convert(kind: str) -> Graphs:
        converter = framework("skl2onnx", "compile", "skl2onnx")
        types = framework("skl2onnx.common.data_types", "compile", "skl2onnx")
        kinds = {"double": types.DoubleTensorType, "float": types.FloatTensorType}
        options = {id(estimator): {"zipmap": False}} if hasattr(estimator, "predict_proba") else None
        opsets = {"": 18, "ai.onnx.ml": 3}
        inputs = [(INPUT, kinds[kind]([None, width]))]
        return _by_output(converter.to_onnx(estimator, initial_types=inputs, options=options, target_opset=opsets))

    graphs = ((kind, partial(convert, kind)) for kind in ("double", "float"))
    return _name(estimator), Domain(centre, scale, thresholds), graphs


def _name(estimator: Any) -> str:
    steps = getattr(estimator, "steps", None)
    inner = f"({', '.join(type(step).__name__ for _, step in steps)})" if steps else ""
    return f"{type(estimator).__name__}{inner}"


def _sklearn_thresholds(estimator: Any) -> dict[int, np.ndarray]:
    """The thresholds of an estimator that is a tree or an ensemble of trees, by feature."""
    found: dict[int, list[float]] = {}
    trees = [estimator, *np.ravel(np.array(getattr(estimator, "estimators_", []), dtype=object))]
    for tree in [getattr(each, "tree_", None) for each in trees]:
        if tree is not None:
            for feature, value in zip(tree.feature.tolist(), tree.threshold.tolist(), strict=True):
                if feature >= 0:
                    found.setdefault(feature, []).append(value)
    for predictor in [each for stage in getattr(estimator, "_predictors", ()) for each in stage]:
        nodes = predictor.nodes[predictor.nodes["is_leaf"] == 0]
        for feature, value in zip(nodes["feature_idx"].tolist(), nodes["num_threshold"].tolist(), strict=True):
            found.setdefault(feature, []).append(value)
    return {feature: np.array(values) for feature, values in found.items()}


def _spread(thresholds: Mapping[int, np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale from where trees part; features that no tree looks at get any."""
    centre, scale = np.zeros(width), np.ones(width)
    for feature, values in thresholds.items():
        finite = values[np.isfinite(values)]
        if len(finite):
            centre[feature] = np.median(finite)
            scale[feature] = np.std(finite) or max(abs(float(finite[0])), 1.0)
    return centre, scale


def _statistics(estimator: Any, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale from what a fitted step keeps of its data; else 0 and 1."""
    for name in _ROWS:
        rows = getattr(estimator, name, None)
        if isinstance(rows, np.ndarray) and rows.ndim == 2 and rows.shape[1] == width and len(rows):
            spread = np.std(rows, axis=0)
            return np.mean(rows, axis=0).astype(np.float64), np.where(spread > 0, spread, 1.0).astype(np.float64)
    centre = _row(getattr(estimator, "mean_", None), width, 0.0)
    scale = _row(getattr(estimator, "scale_", None), width, 1.0)
    if hasattr(estimator, "data_min_"):
        low, high = _row(estimator.data_min_, width, -1.0), _row(estimator.data_max_, width, 1.0)
        centre, scale = (low + high) / 2, (high - low) / 4
    return centre, np.where(scale > 0, scale, 1.0)


def _row(values: Any, width: int, otherwise: float) -> np.ndarray:
    if np.shape(values) == (width,):
        return np.asarray(values, dtype=np.float64)
    return np.full(width, otherwise)


def _xgboost(booster: Any) -> tuple[str, Domain, Candidates]:
    learner = json.loads(booster.save_raw("json"))["learner"]
    kind = f"{learner['gradient_booster']['name']} {learner['objective']['name']}"
    width = int(booster.num_features())
    found: dict[int, list[float]] = {}
    for tree in learner["gradient_booster"].get("model", {}).get("trees", []):
        if any(tree.get("split_type", [])):
            raise Unconvertible("XGBoost's categorical splits are not converted")
        nodes = zip(tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True)
        for left, feature, value in nodes:
            if left >= 0:
                found.setdefault(feature, []).append(value)
    thresholds = {feature: np.array(values) for feature, values in found.items()}

    def convert() -> Graphs:
        converter = framework("onnxmltools", "compile", "onnxmltools")
        types = framework("onnxmltools.convert.common.data_types", "compile", "onnxmltools")
        plain = booster.copy()
        plain.feature_names = None  # the converter reads none but its own
        plain.feature_types = None
        return _by_output(
            converter.convert_xgboost(plain, initial_types=[(INPUT, types.FloatTensorType([None, width]))])
        )

    return f"Booster ({kind})", Domain(*_spread(thresholds, width), thresholds), iter([("float", convert)])


def _lightgbm(booster: Any) -> tuple[str, Domain, Candidates]:
    dump = booster.dump_model()
    width = int(dump["max_feature_idx"]) + 1
    found: dict[int, list[float]] = {}
    for tree in dump["tree_info"]:
        for node in forest.splits(tree["tree_structure"]):
            if node["decision_type"] != "<=":
                raise Unconvertible("LightGBM's categorical splits are not converted")
            if node["missing_type"] == "Zero":
                raise Unconvertible("LightGBM's zero_as_missing is not converted")
            found.setdefault(node["split_feature"], []).append(node["threshold"])
    thresholds = {feature: np.array(values) for feature, values in found.items()}
    kind = str(dump.get("objective", "no objective"))
    domain = Domain(*_spread(thresholds, width), thresholds)
    return f"Booster ({kind})", domain, iter([("double", lambda: _by_output(forest.lightgbm(dump, width)))])


def converted(make: Callable[[], T]) -> T:
    """What a converter or onnxruntime makes.

    Raises:
        Unconvertible: it has failed, whatever it raised.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make()
    except (LoadFailed, Unconvertible):
        raise
    except Exception as error:
        first = str(error).strip().partition("\n")[0]
        raise Unconvertible(f"{type(error).__name__}: {first}") from error


def _by_output(graph: Any) -> dict[str, bytes]:
    """A graph parted into one for each output, so that nothing is computed that is not asked for."""
    from onnx.utils import Extractor

    names = [output.name for output in graph.graph.output]
    if len(names) == 1:
        return {names[0]: graph.SerializeToString()}
    extractor = Extractor(graph)
    return {name: extractor.extract_model([INPUT], [name]).SerializeToString() for name in names}
