"""What a replica of an adapter will import, for a process that imports it before there is a model.

Only what is installed counts, and nothing here runs code of a model.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping

from colonnade.runtimes import catalogue

_SKLEARN = tuple(
    f"sklearn.{module}"
    for module in (
        *("calibration", "compose", "decomposition", "ensemble", "feature_extraction.text", "impute", "linear_model"),
        *("naive_bayes", "neighbors", "neural_network", "pipeline", "preprocessing", "svm", "tree"),
    )
)
_ALWAYS = ("numpy.random",)
_COMPILED = ("onnxruntime",)  # what the models of these adapters are served as, where that gives the same answers

MODULES: Mapping[str, tuple[str, ...]] = {
    "sklearn": ("joblib", "skops.io", *_SKLEARN, *_COMPILED),
    "onnx": ("onnxruntime",),
    "xgboost": ("xgboost", *_COMPILED),
    "lightgbm": ("lightgbm", *_COMPILED),
    "torch": ("torch",),
    "pmml": (),
    "python": (),
}
"""Modules by adapter. The adapters that are missing are not forked: TensorFlow and the tokenizers of Hugging Face begin
threads of their own, and a fork has one thread only."""


def preload(adapter: str) -> None:
    """Import the adapter and its modules.

    Raises:
        InvalidInput: no adapter has this name.
    """
    catalogue.runtime(adapter)
    for module in (*_ALWAYS, *MODULES.get(adapter, ())):
        try:
            importlib.import_module(module)
        except ImportError:  # an extra that is not installed: a model that needs it fails to load, and says why
            continue


def fresh_random() -> None:
    """Give the generators that libraries share a state of their own; Python's own does so by itself after a fork."""
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()
