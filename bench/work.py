"""The one piece of work that the bare loop and the peers' custom models do: an array in, an array of labels out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def load(path: str) -> Callable[[Any], Any]:
    """The predict function of an `.onnx` or `.joblib` model, on one thread."""
    if path.endswith(".onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        run = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run
        return lambda array: run(["label"], {"X": array})[0]
    import joblib

    predict: Callable[[Any], Any] = joblib.load(path).predict
    return predict
