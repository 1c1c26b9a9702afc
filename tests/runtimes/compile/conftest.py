"""Models as files, their originals, and what the examination makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import lightgbm
import pytest
import xgboost

from colonnade.model.contract import Model
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.catalogue import runtime
from colonnade.runtimes.compile.compiled import CompiledModel
from colonnade.runtimes.compile.golden import Example
from colonnade.runtimes.compile.report import Report
from colonnade.runtimes.compile.verification import examine


class Pair:
    """An original and its compiled form, which may never ask the original unless told."""

    def __init__(self, original: Model, golden: list[Example]) -> None:
        self.original = original
        self.asked = 0
        self.report: Report
        self.report, self.graphs = examine(original, golden, 1)

    def compiled(self) -> CompiledModel:
        """The compiled form."""

        def load() -> Model:
            self.asked += 1
            return self.original

        return CompiledModel("m", self.report, self.graphs, load, 1)


Make = Callable[..., Pair]


@pytest.fixture
def pair(tmp_path: Path) -> Make:
    """`pair(model, **environment)`: saved, loaded by its adapter, and examined."""

    def make(model: Any, golden: list[Example] | None = None, **env: str) -> Pair:
        if isinstance(model, xgboost.Booster):
            kind, file = "xgboost", tmp_path / "model.ubj"
            model.save_model(file)
        elif isinstance(model, lightgbm.Booster):
            kind, file = "lightgbm", tmp_path / "model.txt"
            model.save_model(file)
        else:
            kind, file = "sklearn", tmp_path / "model.joblib"
            joblib.dump(model, file)
        return Pair(runtime(kind).load("m", file, LoadOptions(trust_code=True, env=env)), golden or [])

    return make
