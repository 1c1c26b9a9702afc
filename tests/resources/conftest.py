"""Data of the KServe project, where a checkout has it beside the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

KSERVE = Path(__file__).parents[3] / "shared" / "kserve"


@pytest.fixture(scope="session")
def kserve() -> Path:
    """The folder with KServe's CRDs, samples and runtimes."""
    if not KSERVE.is_dir():
        pytest.skip(f"KServe's data files are not at {KSERVE}")
    return KSERVE


@pytest.fixture
def iris() -> dict[str, Any]:
    """The smallest manifest that serves a model, with the old framework key."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "iris", "namespace": "default"},
        "spec": {"predictor": {"sklearn": {"storageUri": "/models/iris"}}},
    }
