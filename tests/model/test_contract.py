"""The base class, and the package's own door to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import colonnade
from colonnade.errors import InvalidInput
from colonnade.model.contract import Model


def test_a_model_without_a_constructor_of_its_own_has_its_defaults() -> None:
    class Bare(Model):
        def __init__(self) -> None:  # users forget super().__init__()
            self.weights = [1]

    model = Bare()
    assert (model.name, model.version, model.ready, model.inline) == ("model", "1", False, False)
    assert (list(model.inputs), list(model.outputs), model.platform) == ([], [], "")


def test_path_stays_in_the_models_directory(tmp_path: Path) -> None:
    model = Model("m")
    model.directory = tmp_path
    assert model.path("a", "b.bin") == tmp_path / "a" / "b.bin"
    assert model.path() == tmp_path
    for bad in (("..", "x"), ("a/../../x",), ("/etc/passwd",)):
        with pytest.raises(InvalidInput, match="leads out of the model's directory"):
            model.path(*bad)


@pytest.mark.parametrize("name", colonnade.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(colonnade, name) is not None
    assert name in dir(colonnade)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        colonnade.Nothing  # noqa: B018


def test_importing_the_package_imports_no_library() -> None:
    libraries = {"numpy", "msgspec", "pandas", "grpc"}
    script = f"import sys, colonnade; print(sorted({libraries} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
