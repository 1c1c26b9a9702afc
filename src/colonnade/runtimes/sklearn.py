"""scikit-learn: `.joblib`, `.pkl`, `.pickle` by the allow-list of pickles, `.skops` by the same list.

Behaves as KServe's sklearnserver: one file, `predict`, or `predict_proba` with the variable `PREDICT_PROBA=true`.
"""

from __future__ import annotations

import logging
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from colonnade import defaults
from colonnade.errors import Error, InferenceError, InvalidInput, LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes import allowlist, pickles, tables
from colonnade.runtimes.base import LoadOptions, flag, framework, model_file, require_width
from colonnade.wire.tensors import InferRequest

if TYPE_CHECKING:
    import pandas

_log = logging.getLogger(__name__)


class SklearnModel(Model):
    """A fitted estimator.

    Its declared input is one matrix; the estimator takes any numeric type, and columns by name as well.
    """

    platform = "sklearn"
    lenient = True
    inline = True
    max_batch_size = defaults.MAX_BATCH_SIZE

    def __init__(self, name: str, estimator: Any, *, probabilities: bool, saved_with: str | None, running: str) -> None:
        super().__init__(name)
        self.estimator = estimator
        self._compute = estimator.predict_proba if probabilities else estimator.predict
        self._mismatch = saved_with is not None
        self._versions = f"scikit-learn {saved_with} saved the model and {running} runs it"
        self._fix = f"save it again with {running}, or install scikit-learn=={saved_with}"
        names = getattr(estimator, "feature_names_in_", None)
        self._names: list[str] | None = None if names is None else [str(name) for name in names]
        width = getattr(estimator, "n_features_in_", None)
        self._width: int | None = None if width is None else int(width)
        self._needs_frame = self._names is not None and _selects_by_name(estimator)
        if self._needs_frame:
            framework("pandas", "pandas", "pandas")  # that it is missing is said now, and not to each request
        elif self._width is not None:
            self.inputs, self.outputs = tables.described(self, self._width)

    def predict(self, table: np.ndarray | pandas.DataFrame) -> Any:
        """The estimator's answer for a matrix (rows, features), named columns, or a list of texts.

        Raises:
            InvalidInput: the rows do not fit the estimator.
            InferenceError: the estimator cannot predict under the installed scikit-learn.
        """
        rows = self._array(table) if isinstance(table, np.ndarray) else self._columns(table)
        try:
            return self._compute(rows)
        except ValueError as error:  # what scikit-learn's own validation of inputs raises
            raise InvalidInput(f"the request does not fit the model: {_first_line(error)}") from error
        except Error:
            raise
        except Exception as error:
            if not self._mismatch:
                raise
            _log.exception("a model of another scikit-learn version failed to predict", extra={"model": self.name})
            raise InferenceError(f"the model fails to predict: {self._versions}; {self._fix}") from error

    def example(self) -> InferRequest | None:
        """Rows of numbers, if that is what the estimator was fitted on."""
        return None if self._width is None or self._needs_frame else tables.example(self.name, self._width)

    def _array(self, array: np.ndarray) -> Any:
        if array.dtype.kind == "O":
            array = tables.texts(array)
            if self._width is None:  # a vectorizer takes a list of texts; [n, 1] is how some clients send it
                return array.ravel() if array.ndim == 2 and array.shape[1] == 1 else array
        elif self._width is not None:
            array = tables.matrix(array, self._width)
        if self._needs_frame and array.ndim == 2:
            require_width(array.shape[1], len(self._names or ()))
            return framework("pandas", "pandas", "pandas").DataFrame(array, columns=self._names)
        return array

    def _columns(self, frame: pandas.DataFrame) -> Any:
        if not tables.is_named(frame):
            return self._array(frame.to_numpy())
        if self._names is not None:
            return tables.selected(frame, self._names)
        frame = tables.merged(frame)
        if self._width is None:
            return frame
        require_width(frame.shape[1], self._width)
        return tables.numbers(frame)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _selects_by_name(estimator: Any) -> bool:
    """Whether a ColumnTransformer inside picks columns by name, so that it needs a data frame."""
    parts = [
        step for _, step, *_ in (getattr(estimator, "steps", None) or getattr(estimator, "transformers", None) or ())
    ]
    columns = [entry[2] for entry in getattr(estimator, "transformers", None) or ()]
    named = any(isinstance(column, str) or (np.ndim(column) == 1 and _all_text(column)) for column in columns)
    return named or any(_selects_by_name(part) for part in parts)


def _all_text(column: Any) -> bool:
    return len(column) > 0 and all(isinstance(name, str) for name in column)


def _load_skops(path: Path) -> Any:
    skops = framework("skops.io", None, "skops")
    try:
        untrusted: list[str] = skops.get_untrusted_types(file=path)
        for each in untrusted:
            module, _, name = each.rpartition(".")
            allowlist.resolve(module, name)
        return skops.load(path, trusted=untrusted)
    except allowlist.Refused as error:
        raise pickles.refusal(path, str(error)) from None
    except (zipfile.BadZipFile, ValueError, TypeError, KeyError, EOFError, ImportError, AttributeError) as error:
        raise LoadFailed(f"{path} cannot be read as a skops file: {error}; save it again") from error


def _load_trusted(path: Path) -> Any:
    """With consent: whatever the file does when it is loaded, it does."""
    try:
        if path.suffix.lower() == ".skops":
            skops = framework("skops.io", None, "skops")
            return skops.load(path, trusted=skops.get_untrusted_types(file=path))
        return framework("joblib", None, "joblib").load(path)
    except Exception as error:  # the file's code may raise anything
        raise LoadFailed(f"{path} cannot be loaded: {error}; save it again, or check what it imports") from error


class SklearnRuntime:
    """Loads estimators of scikit-learn."""

    name = "sklearn"
    formats = ("sklearn",)
    suffixes = (".joblib", ".pkl", ".pickle", ".skops")

    def load(self, name: str, path: Path, options: LoadOptions) -> SklearnModel:
        """Load the one estimator at `path`.

        Raises:
            LoadFailed: see `base.Runtime.load`; or the file holds no estimator, or one that cannot do what is asked.
        """
        file = model_file(path, self.suffixes)
        probabilities = flag(options.env, "PREDICT_PROBA")
        sklearn = framework("sklearn", None, "scikit-learn")
        mismatch = framework("sklearn.exceptions", None, "scikit-learn").InconsistentVersionWarning
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", mismatch)
            if options.trust_code:
                estimator = _load_trusted(file)
            else:
                estimator = _load_skops(file) if file.suffix.lower() == ".skops" else pickles.load(file)
        saved_with = next(
            (each.message.original_sklearn_version for each in caught if isinstance(each.message, mismatch)), None
        )
        if saved_with is not None:
            _log.warning(
                "%s was saved with scikit-learn %s and is loaded with %s: it may fail or answer differently",
                *(file, saved_with, sklearn.__version__),
            )
        method = "predict_proba" if probabilities else "predict"
        if isinstance(estimator, type) or not callable(getattr(estimator, method, None)):
            because = " (PREDICT_PROBA is set)" if probabilities else ""
            raise LoadFailed(
                f"{file} holds a {type(estimator).__name__} without {method}{because}; save a fitted model"
            )
        # Arrays come in the order of the features, which is what this warning asks for.
        warnings.filterwarnings("ignore", message="X does not have valid feature names", category=UserWarning)
        return SklearnModel(
            name, estimator, probabilities=probabilities, saved_with=saved_with, running=sklearn.__version__
        )
