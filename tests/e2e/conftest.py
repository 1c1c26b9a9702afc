from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from .product import SHARED, Product


@pytest.fixture(scope="session")
def iris_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a scikit-learn iris classifier."""
    folder = tmp_path_factory.mktemp("iris")
    samples, species = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(samples, species), folder / "model.joblib")
    return folder


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A platform for the tests of one module; it must stop cleanly and leave no process behind."""
    running = Product(tmp_path_factory.mktemp("platform") / "state").start()
    yield running
    assert running.process is not None
    alive_before_stop = running.process.poll() is None
    code = running.stop()
    if alive_before_stop:
        assert code == 0
    assert not running.processes()


@pytest.fixture
def shared() -> Path:
    if not SHARED.exists():
        pytest.skip(f"KServe's data is not at {SHARED}")
    return SHARED


@pytest.fixture
def kubectl() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
