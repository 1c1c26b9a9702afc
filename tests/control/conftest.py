"""A model and a running control plane, for the tests of one module each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from colonnade.platforms import process

from .running_plane import MODEL, Plane


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.py").write_text(MODEL)
    return folder


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    plane = Plane(tmp_path_factory.mktemp("plane") / "state")
    yield plane
    assert plane.stop() == 0
    assert process.strays(str(plane.state.resolve())) == []
