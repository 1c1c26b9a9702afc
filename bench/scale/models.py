"""The models: iris, a forest of 100 MB, and one that takes a known time for each request."""

from __future__ import annotations

from pathlib import Path

from bench import models
from bench.models import MODELS

BIG = 100_000_000  # bytes
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
    big, slow = MODELS / "big.joblib", MODELS / "slow"
    if not big.exists():
        _forest(big)
    slow.mkdir(exist_ok=True)
    (slow / "model.py").write_text(_SLOW)
    return {"iris": MODELS / "iris.joblib", "iris-onnx": MODELS / "iris.onnx", "big": big, "slow": slow}


def _forest(path: Path) -> None:
    """A forest that is `BIG` bytes large: trees are added until it is."""
    import joblib
    import numpy as np
    from sklearn.ensemble import RandomForestRegressor

    chosen = np.random.default_rng(0)
    samples = chosen.standard_normal((20_000, 4)).astype(np.float32)
    forest = RandomForestRegressor(n_estimators=10, warm_start=True, random_state=0)
    while True:
        forest.fit(samples, chosen.standard_normal(20_000))
        joblib.dump(forest, path)
        if path.stat().st_size >= BIG:
            return
        forest.n_estimators += max(1, round(forest.n_estimators * (BIG / path.stat().st_size - 1)))
