"""The one piece of work that the limits and the peers' custom models do: an array in, an array out, on one thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def load(path: str) -> Callable[[Any], Any]:
    """The predict function of an `.onnx` or `.joblib` model."""
    if path.endswith(".onnx"):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        run = session.run
        names = [session.get_outputs()[0].name]
        return lambda array: run(names, {"X": array})[0]
    import joblib

    predict: Callable[[Any], Any] = joblib.load(path).predict
    return predict
