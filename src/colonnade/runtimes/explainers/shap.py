"""SHAP values of a model over a table: how much each feature of a row moved the answer away from the mean one.

The library has a method for each kind of model. Trees tell their values exactly and at once; linear models need rows
to compare with; any other model is asked for predictions with features left out, which takes long. The first method
that knows the model is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from colonnade.errors import InferenceError, LoadFailed
from colonnade.model.contract import Model
from colonnade.model.signatures import Form, read
from colonnade.runtimes import tables
from colonnade.runtimes.base import framework
from colonnade.runtimes.explainers import background

_MATRIX = (Form.ARRAY, Form.TABLE)


class Method(NamedTuple):
    """One way to explain a model: its name, the library's explainer, and further arguments of its `shap_values`."""

    name: str
    explainer: Any
    options: dict[str, Any]


def explain_hook(model: Model, path: Path) -> Callable[[np.ndarray], Any]:
    """The `explain` of a loaded model.

    Args:
        model: as its adapter made it.
        path: its file or folder; the rows to compare with lie there.

    Raises:
        LoadFailed: the library is not installed, or no method fits the model and the rows.
    """
    shap = framework("shap", "explain", "shap")
    faults = framework("shap.utils._exceptions", "explain", "shap")  # which exports them nowhere else
    unsuitable, failed = faults.InvalidModelError, faults.ExplainerError
    rows = background.read(path if path.is_dir() else path.parent)
    method = _first(_methods(shap, model, rows), unsuitable)
    if method is None:
        raise LoadFailed(_no_method(model, rows))
    names = _features(model)
    width = _width(model, rows)

    def explain(x: np.ndarray) -> dict[str, Any]:
        """SHAP values (rows, features), or (rows, features, outputs) for a model of several outputs."""
        matrix = np.atleast_2d(x) if width is None else tables.matrix(x, width)
        try:
            values = method.explainer.shap_values(np.asarray(matrix, np.float64), **method.options)
        except failed as error:
            raise InferenceError(f"the explanation failed: {str(error).partition(chr(10))[0]}") from error
        base = np.atleast_1d(np.asarray(method.explainer.expected_value, np.float64))
        told = {"method": method.name, "base_values": base.tolist(), "shap_values": np.asarray(values).tolist()}
        return {"explanations": {**told, "features": names} if names else told}

    return explain


def _methods(shap: Any, model: Model, rows: np.ndarray | None) -> Iterator[Callable[[], Method]]:
    """The methods to try in turn; making one raises if it does not know the model."""
    fitted = getattr(model, "estimator", None) or getattr(model, "booster", None)
    if fitted is not None:
        yield lambda: Method("tree", shap.TreeExplainer(fitted), {})
        if rows is not None:
            yield lambda: Method("linear", shap.LinearExplainer(fitted, rows), {})
    predict = getattr(fitted, "predict_proba", None) or _predict(model)
    if rows is not None and predict is not None:
        yield lambda: Method("kernel", shap.KernelExplainer(predict, rows), {"silent": True})


def _first(methods: Iterator[Callable[[], Method]], unsuitable: type[Exception]) -> Method | None:
    for make in methods:
        try:
            return make()
        except unsuitable:
            continue
        except Exception as error:  # the library meets models that it half knows
            raise LoadFailed(f"shap cannot explain the model: {type(error).__name__}: {error}") from error
    return None


def _predict(model: Model) -> Callable[[np.ndarray], Any] | None:
    """`predict`, if it takes a matrix and is a plain function."""
    signature = read(model.predict, "predict")
    plain = signature.form in _MATRIX and not (signature.is_async or signature.streams)
    return model.predict if plain else None


def _no_method(model: Model, rows: np.ndarray | None) -> str:
    if rows is None:
        return (
            f"this model is no tree that shap knows, and other models are explained against rows of data: put "
            f"{' or '.join(background.FILES)} beside it"
        )
    return f"a {type(model).__name__} takes no matrix of numbers, which is what shap explains"


def _features(model: Model) -> Sequence[str]:
    """Names of the columns, if the model knows them."""
    fitted = getattr(model, "estimator", None) or getattr(model, "booster", None)
    names = getattr(fitted, "feature_names_in_", None)
    if names is None:
        names = getattr(fitted, "feature_names", None)
    return [] if names is None else [str(name) for name in names]


def _width(model: Model, rows: np.ndarray | None) -> int | None:
    """Features in a row, if that is known."""
    if len(model.inputs) == 1 and len(model.inputs[0].shape) == 2 and model.inputs[0].shape[1] > 0:
        return model.inputs[0].shape[1]
    return None if rows is None else int(rows.shape[1])
