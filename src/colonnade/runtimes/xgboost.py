"""XGBoost: `.json`, `.ubj`, and `.bst` in one of these two encodings.

Answers are the booster's raw output, as KServe's xgbserver gives them: probabilities for `multi:softprob`, classes as
numbers for `multi:softmax`.
"""

from __future__ import annotations

import json
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


class XGBoostModel(Model):
    """A booster. Its declared input is one matrix; it takes any numeric type, and columns by name as well."""

    platform = "xgboost"
    lenient = True
    inline = True
    max_batch_size = defaults.MAX_BATCH_SIZE

    def __init__(self, name: str, xgboost: Any, booster: Any) -> None:
        super().__init__(name)
        self.booster = booster
        self._xgboost = xgboost
        self._width = int(booster.num_features())
        self._names: list[str] | None = booster.feature_names
        kind = json.loads(booster.save_config())["learner"]["learner_train_param"]["booster"]
        self._in_place = kind != "gblinear"  # linear boosters have no prediction from a plain array
        self.inputs, self.outputs = tables.described(self, self._width)

    def predict(self, table: np.ndarray | pandas.DataFrame) -> np.ndarray:
        """The booster's output: shape (rows,) or (rows, classes), FP32.

        Raises:
            InvalidInput: the rows do not fit the booster.
        """
        rows = tables.matrix(self._rows(table), self._width)
        if self._in_place:
            answer: np.ndarray = self.booster.inplace_predict(rows, validate_features=False)
            return answer
        data = self._xgboost.DMatrix(rows, feature_names=self._names)
        linear: np.ndarray = self.booster.predict(data)
        return linear

    def example(self) -> InferRequest:
        """Rows of numbers."""
        return tables.example(self.name, self._width)

    def _rows(self, table: np.ndarray | pandas.DataFrame) -> np.ndarray:
        if isinstance(table, np.ndarray):
            return table
        if tables.is_named(table) and self._names:
            table = tables.selected(table, self._names, missing_allowed=True)
        else:
            table = tables.merged(table)
            require_width(table.shape[1], self._width)
        return tables.numbers(table)


class XGBoostRuntime:
    """Loads boosters of XGBoost."""

    name = "xgboost"
    formats = ("xgboost",)
    suffixes = (".bst", ".json", ".ubj")

    def load(self, name: str, path: Path, options: LoadOptions) -> XGBoostModel:
        """Load the one booster at `path`; predictions use `OMP_NUM_THREADS` threads, else one.

        Raises:
            LoadFailed: see `base.Runtime.load`; or the file is in the binary format that XGBoost 3.1 gave up.
        """
        file = model_file(path, self.suffixes)
        content = file.read_bytes()
        if content.startswith((b"binf", b"bs64")):
            raise LoadFailed(
                f"{file} is in XGBoost's old binary format, which current versions do not read; convert it once with "
                "XGBoost 3.0: pip install xgboost==3.0.*, then xgboost.Booster(model_file=OLD).save_model('model.ubj')"
            )
        if not content.lstrip().startswith(b"{"):  # the library ends the process on an empty file
            raise LoadFailed(f"{file} is no XGBoost model: neither JSON nor UBJSON; save it with save_model()")
        if not content.rstrip().endswith(b"}"):  # and reads past the end of a cut one
            raise LoadFailed(f"{file} is cut off: its last object has no end; copy it again")
        xgboost = framework("xgboost", "xgboost", "xgboost")
        booster = xgboost.Booster(params={"nthread": threads(options.env)})
        try:
            booster.load_model(bytearray(content))
            return XGBoostModel(name, xgboost, booster)
        except (xgboost.core.XGBoostError, ValueError, KeyError) as error:
            reason = str(error).strip().splitlines()[0:1]
            raise LoadFailed(f"{file} is no XGBoost model: {' '.join(reason)}; save it with save_model()") from error
