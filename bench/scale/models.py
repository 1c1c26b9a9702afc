"""The models: iris as ONNX, one of 100 MB, and one that takes a known time for each request."""

from __future__ import annotations

from pathlib import Path

from bench import models
from bench.models import MODELS

WIDTH = 3600  # 2 x 3600 x 3600 weights of four bytes are 104 MB
SLOW_SECONDS = 0.05

_SLOW = f"""\
import time

import colonnade


class Slow(colonnade.Model):
    def predict(self, payload):
        time.sleep({SLOW_SECONDS})
        return {{"predictions": [1]}}
"""


def build() -> dict[str, Path]:
    """Writes the models that are missing; where they lie, by name."""
    models.build()
    big, slow = MODELS / "big.onnx", MODELS / "slow"
    if not big.exists():
        _big(big)
    slow.mkdir(exist_ok=True)
    (slow / "model.py").write_text(_SLOW)
    return {"iris": MODELS / "iris.onnx", "big": big, "slow": slow}


def _big(path: Path) -> None:
    """Two dense layers over four features."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    chosen = np.random.default_rng(0)
    shapes = {"first": (4, WIDTH), "second": (WIDTH, WIDTH), "third": (WIDTH, WIDTH), "last": (WIDTH, 1)}
    weights = [
        numpy_helper.from_array(chosen.standard_normal(shape).astype(np.float32) / WIDTH, name)
        for name, shape in shapes.items()
    ]
    nodes, value = [], "x"
    for name in shapes:
        nodes.append(helper.make_node("MatMul", [value, name], [f"{name}-out"]))
        value = f"{name}-out"
    graph = helper.make_graph(
        nodes,
        "big",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", 1])],
        weights,
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), str(path))
