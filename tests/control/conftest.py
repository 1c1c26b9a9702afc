"""A model and a running control plane, for the tests of one module each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from colonnade.platforms import process

from .running_plane import MODEL, Plane


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.py").write_text(MODEL)
    return folder


@pytest.fixture
def planes() -> Iterator[Callable[[Path], Plane]]:
    """Starts control planes that a test stops or kills itself; ends what it left, also where it failed."""
    started: list[Plane] = []

    def launch(state: Path) -> Plane:
        started.append(Plane(state))
        return started[-1]

    yield launch
    for plane in started:
        plane.kill()
        process.kill(process.strays(str(plane.state.resolve())))


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    plane = Plane(tmp_path_factory.mktemp("plane") / "state")
    yield plane
    assert plane.stop() == 0
    assert process.strays(str(plane.state.resolve())) == []
