"""LightGBM: text models, `.bst` (as KServe names them) or `.txt`.

Answers are the booster's raw output, as KServe's lgbserver gives them: probabilities for classifiers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from colonnade import defaults
from colonnade.errors import LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes import tables
from colonnade.runtimes.base import LoadOptions, framework, model_file, require_width, threads
from colonnade.wire.tensors import InferRequest

if TYPE_CHECKING:
    import pandas


class LightGBMModel(Model):
    """A booster. Its declared input is one matrix; it takes any numeric type, and columns by name as well."""

    platform = "lightgbm"
    lenient = True
    inline = True
    max_batch_size = defaults.MAX_BATCH_SIZE

    def __init__(self, name: str, booster: Any, thread_count: int) -> None:
        super().__init__(name)
        self.booster = booster
        self._threads = thread_count
        self._names: list[str] = booster.feature_name()
        self.inputs, self.outputs = tables.described(self, len(self._names))

    def predict(self, table: np.ndarray | pandas.DataFrame) -> np.ndarray:
        """The booster's output: shape (rows,) or (rows, classes), FP64.

        Raises:
            InvalidInput: the rows do not fit the booster.
        """
        rows = tables.matrix(self._rows(table), len(self._names))
        answer: np.ndarray = self.booster.predict(rows, num_threads=self._threads)
        return answer

    def example(self) -> InferRequest:
        """Rows of numbers."""
        return tables.example(self.name, len(self._names))

    def _rows(self, table: np.ndarray | pandas.DataFrame) -> np.ndarray:
        if isinstance(table, np.ndarray):
            return table
        if tables.is_named(table):
            table = tables.selected(table, self._names, missing_allowed=True)
        else:
            require_width(table.shape[1], len(self._names))
        return tables.numbers(table)


class LightGBMRuntime:
    """Loads boosters of LightGBM."""

    name = "lightgbm"
    formats = ("lightgbm",)
    suffixes = (".bst", ".txt")

    def load(self, name: str, path: Path, options: LoadOptions) -> LightGBMModel:
        """Load the one booster at `path`; predictions use `OMP_NUM_THREADS` threads, else one.

        Raises:
            LoadFailed: see `base.Runtime.load`.
        """
        file = model_file(path, self.suffixes)
        content = file.read_bytes()
        if not content.startswith(b"tree"):
            raise LoadFailed(f"{file} is no LightGBM text model; save it with Booster.save_model('model.txt')")
        if b"end of trees" not in content:  # the library reads past the end of a cut file
            raise LoadFailed(f"{file} is cut off: it has no line 'end of trees'; copy it again")
        lightgbm = framework("lightgbm", "lightgbm", "lightgbm")
        count = threads(options.env)
        try:
            booster = lightgbm.Booster(model_file=str(file))
        except lightgbm.basic.LightGBMError as error:
            raise LoadFailed(f"{file} cannot be read by LightGBM: {error}; save it again") from error
        return LightGBMModel(name, booster, count)
