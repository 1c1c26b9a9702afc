"""Trains iris once and exports it in the forms that the servers serve: `iris.joblib`, `iris.onnx`."""

from __future__ import annotations

import sys
from pathlib import Path

import joblib
import numpy as np
from skl2onnx import to_onnx
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    samples, species = load_iris(return_X_y=True)
    samples = samples.astype(np.float32)
    classifier = LogisticRegression(max_iter=1000).fit(samples, species)
    joblib.dump(classifier, folder / "iris.joblib")
    exported = to_onnx(classifier, samples[:1], options={id(classifier): {"zipmap": False}})
    del exported.graph.output[1]  # the probabilities: every server shall do the same work
    (folder / "iris.onnx").write_bytes(exported.SerializeToString())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
