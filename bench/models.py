"""Trains and exports the models that every server serves, once.

Iris as scikit-learn and as ONNX, a forest of 100 trees, and the mean of a row, which stands for a model whose cost is
the size of its input. The class of the overload workload computes the forest row by row, so that a server has a known
limit which no batching moves.
"""

from __future__ import annotations

from pathlib import Path

from bench.machine import WORK

MODELS = WORK / "models"

# What a user writes. It says nothing of batches, so it gets its requests one by one.
CLASS = """\
import joblib
import numpy as np

import colonnade


class Forest(colonnade.Model):
    def load(self):
        self.forest = joblib.load(self.path("forest.joblib"))

    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.forest.predict(rows)
"""


def build() -> None:
    """Writes the models that are missing."""
    if (MODELS / "forest-class" / "forest.joblib").exists():
        return
    import joblib
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    MODELS.mkdir(parents=True, exist_ok=True)
    samples, species = load_iris(return_X_y=True)
    samples = samples.astype(np.float32)
    classifier = LogisticRegression(max_iter=1000).fit(samples, species)
    joblib.dump(classifier, MODELS / "iris.joblib")
    exported = to_onnx(classifier, samples[:1], options={id(classifier): {"zipmap": False}})
    del exported.graph.output[1]  # the probabilities: every server shall do the same work
    (MODELS / "iris.onnx").write_bytes(exported.SerializeToString())
    _mean(MODELS / "mean.onnx")
    forest = RandomForestClassifier(n_estimators=100, n_jobs=1, random_state=0).fit(samples, species)
    joblib.dump(forest, MODELS / "forest.joblib")
    folder = MODELS / "forest-class"
    folder.mkdir(exist_ok=True)
    (folder / "model.py").write_text(CLASS)
    joblib.dump(forest, folder / "forest.joblib")


def _mean(path: Path) -> None:
    """The mean of each row, as ONNX."""
    from onnx import TensorProto, checker, helper

    node = helper.make_node("ReduceMean", ["X"], ["mean"], axes=[1], keepdims=1)
    rows = helper.make_tensor_value_info("X", TensorProto.FLOAT, ["N", "M"])
    means = helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["N", 1])
    graph = helper.make_graph([node], "mean", [rows], [means])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    path.write_bytes(model.SerializeToString())
