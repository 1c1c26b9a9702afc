"""TorchServe's archives: which of them hold a model that needs nothing else."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from colonnade.errors import LoadFailed
from colonnade.runtimes.torchserve import archive_at, unpacked


def mar(path: Path, model: dict[str, Any] | None, **files: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "."), content)
        if model is not None:
            about = {"createdOn": "01/01/2026", "runtime": "python", "model": model, "archiverVersion": "0.12.0"}
            archive.writestr("MAR-INF/MANIFEST.json", json.dumps(about))
    return path


@pytest.mark.parametrize("where", ["m.mar", "model-store/m.mar"])
@pytest.mark.parametrize("handler", [{}, {"handler": "base_handler"}])
def test_a_model_alone_comes_out(tmp_path: Path, where: str, handler: dict[str, str]) -> None:
    about = {"modelName": "m", "serializedFile": "m.pt", "modelVersion": "1.0", **handler}
    made = mar(tmp_path / "in" / where, about, m__pt=b"graph", extra__txt=b"x")
    (tmp_path / "in" / "config").mkdir()
    for path in (tmp_path / "in", made):
        found = archive_at(path)
        assert found == made
    out = tmp_path / "out"
    out.mkdir()
    assert unpacked(made, out).read_bytes() == b"graph"
    assert [entry.name for entry in out.iterdir()] == ["m.pt"]


def test_a_declaration_comes_with_it(tmp_path: Path) -> None:
    files = {"m.pt": b"graph", "model-settings.json": b"{}"}
    made = mar(tmp_path / "m.mar", {"serializedFile": "m.pt"}, **files)
    out = tmp_path / "out"
    out.mkdir()
    unpacked(made, out)
    assert {entry.name for entry in out.iterdir()} == files.keys()


@pytest.mark.parametrize(
    ("model", "files", "message"),
    [
        ({"serializedFile": "m.pt", "handler": "mnist_handler.py"}, {"m__pt": b""}, "its handler mnist_handler.py"),
        ({"serializedFile": "m.pt", "handler": "my.py:go"}, {"m__pt": b""}, "its handler my.py"),
        ({"serializedFile": "m.pt", "handler": "image_classifier"}, {"m__pt": b""}, "its handler image_classifier"),
        ({"serializedFile": "m.pt", "modelFile": "net.py"}, {"m__pt": b""}, "the Python program net.py"),
        ({"handler": "base_handler"}, {}, "the model nowhere"),
        ({"serializedFile": "m.onnx"}, {"m__onnx": b""}, "m.onnx, which does not end in .pt"),
        ({"serializedFile": "m.pt"}, {}, "no complete archive"),
        ({"serializedFile": 3}, {}, "no complete archive"),
        (None, {}, "no complete archive"),
    ],
)
def test_what_needs_more_is_refused_by_name(
    tmp_path: Path, model: dict[str, Any] | None, files: dict[str, bytes], message: str
) -> None:
    made = mar(tmp_path / "m.mar", model, **files)
    with pytest.raises(LoadFailed, match=message):
        unpacked(made, tmp_path)


def test_a_name_that_climbs_lands_in_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    made = mar(tmp_path / "m.mar", {"serializedFile": "../../evil.pt"}, **{"../../evil.pt": b"x"})
    assert unpacked(made, out) == out / "evil.pt"


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    made = mar(tmp_path / "m.mar", {"serializedFile": "m.pt"}, m__pt=bytes(70 << 20))
    with pytest.raises(LoadFailed, match="times its size"):
        unpacked(made, tmp_path)


def test_of_several_archives_none_is_guessed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        mar(tmp_path / "model-store" / f"{name}.mar", {"serializedFile": "m.pt"})
    with pytest.raises(LoadFailed, match=r"several archives of TorchServe \(a.mar, b.mar\)"):
        archive_at(tmp_path)
    assert archive_at(tmp_path / "config") is None
