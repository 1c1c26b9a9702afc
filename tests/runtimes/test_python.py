"""`model.py`: which class is taken, how it is made, what its failures say."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from colonnade.errors import LoadFailed
from colonnade.model.binding import bind
from colonnade.model.contract import Model
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.python import PythonRuntime

ONE = """
import colonnade
import numpy as np
from beside import FACTOR

class Times(colonnade.Model):
    def load(self):
        self.offset = int(self.path("offset.txt").read_text())

    def predict(self, x: np.ndarray) -> np.ndarray:
        return x * FACTOR + self.offset
"""


@pytest.fixture(autouse=True)
def clean_imports() -> Iterator[None]:
    """Undo what a model.py does to the interpreter."""
    path, modules, writes_none = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    yield
    sys.path[:], sys.dont_write_bytecode = path, writes_none
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def load(folder: Path, source: str | None = None, **env: str) -> Model:
    if source is not None:
        (folder / "model.py").write_text(source)
    return PythonRuntime().load("times", folder, LoadOptions(trust_code=True, env=env))


def test_a_class_is_served_with_what_lies_beside_it(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("FACTOR = 3")
    (tmp_path / "offset.txt").write_text("100")
    model = load(tmp_path, ONE)
    model.load()
    assert (model.name, model.directory) == ("times", tmp_path)
    assert bind(model).predict_v1({"instances": [1, 2]})["predictions"].tolist() == [103, 106]
    assert "model" not in sys.modules


def test_without_consent_nothing_runs(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("open(__file__ + '.ran', 'w')")
    with pytest.raises(
        LoadFailed, match=r"model\.py is Python code.*colonnade\.dev/trust-code: \"true\" or with --trust"
    ):
        PythonRuntime().load("m", tmp_path, LoadOptions(env={}))
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.py"]


def test_no_bytecode_is_written_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "beside.py").write_text("FACTOR = 3")
    (tmp_path / "later.py").write_text("")
    late = ONE + "\n    def unload(self):\n        import later\n"
    load(tmp_path, late).unload()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["beside.py", "later.py", "model.py"]


def test_two_models_do_not_meet(tmp_path: Path) -> None:
    found = []
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(load(folder, f"import colonnade\nclass M(colonnade.Model):\n    number = {number}"))
    assert [model.number for model in found] == [1, 2]  # type: ignore[attr-defined]


MADE = "import colonnade\nclass M(colonnade.Model):\n    def __init__(self{}):\n        super().__init__({})\n"


@pytest.mark.parametrize(("parameters", "passed"), [("", ""), (", name", "name"), (", threshold=0.5", "")])
def test_a_class_may_take_the_name_or_nothing(tmp_path: Path, parameters: str, passed: str) -> None:
    model = load(tmp_path, MADE.format(parameters, passed))
    assert model.name == "times"
    assert getattr(model, "threshold", 0.5) == 0.5


TWO = "import colonnade\nclass A(colonnade.Model): pass\nclass B(colonnade.Model): pass\n"


def test_the_class_may_be_named(tmp_path: Path) -> None:
    assert type(load(tmp_path, TWO, MODEL_CLASS="B")).__name__ == "B"
    with pytest.raises(LoadFailed, match=r"no subclass of colonnade\.Model named C \(MODEL_CLASS\); it has A, B"):
        load(tmp_path, MODEL_CLASS="C")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (TWO, "must define one subclass of colonnade.Model, and defines A, B"),
        ("x = 1\n", "and defines none"),
        ("from colonnade import Model\n", "and defines none"),
        ("\n\nraise RuntimeError('boom')\n", r"fails to import: RuntimeError: boom at .*model\.py:3"),
        ("x = 1\ndef broken(:\n", r"fails to import: SyntaxError: .* at .*model\.py:2"),
        ("import sys\nsys.exit(3)\n", r"fails to import: SystemExit: 3 at .*model\.py:2"),
        ("import no_such_module\n", r"No module named 'no_such_module' at .*model\.py:1"),
        (MADE.format("", "") + "        raise ValueError('no weights')\n", r"M cannot be made: .*no weights at .*:5"),
    ],
)
def test_a_failure_names_file_and_line(tmp_path: Path, source: str, text: str) -> None:
    with pytest.raises(LoadFailed, match=text) as caught:
        load(tmp_path, source)
    assert str(tmp_path / "model.py") in caught.value.message


def test_a_folder_without_model_py_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"holds no model\.py"):
        load(tmp_path)


def test_a_failed_module_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed):
        load(tmp_path, "raise RuntimeError")
    assert type(load(tmp_path, "import colonnade\nclass M(colonnade.Model): pass\n")).__name__ == "M"
    assert np.size(sys.path) > 0
