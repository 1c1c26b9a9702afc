"""Which adapter serves what, decided without importing any framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from colonnade.errors import InvalidInput
from colonnade.runtimes.catalogue import ENTRIES, RUNTIMES, detect, for_format, for_image, for_name, runtime


def test_asking_the_catalogue_imports_no_framework() -> None:
    script = (
        "import sys; from colonnade.runtimes import catalogue as c;"
        "c.for_format('sklearn'); c.for_image('a/mlserver:1');"
        "heavy = {'numpy','sklearn','joblib','onnxruntime','xgboost','lightgbm','pandas','scipy','skops'};"
        "print(sorted(heavy & set(sys.modules)));"
        "[c.runtime(name) for name in c.RUNTIMES];"
        "print(sorted((heavy - {'numpy'}) & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["[]", "[]"], ran.stdout


def test_every_entry_names_an_adapter_that_takes_its_formats() -> None:
    for entry in ENTRIES:
        assert set(entry.formats) <= set(runtime(entry.runtime).formats), entry
    for name in RUNTIMES:
        assert runtime(name).name == name
    with pytest.raises(InvalidInput, match="runtime 'torch' is unknown; use one of sklearn"):
        runtime("torch")


@pytest.mark.parametrize(
    ("model_format", "protocol", "name"),
    [
        ("sklearn", None, "kserve-sklearnserver"),
        ("sklearn", "v1", "kserve-sklearnserver"),
        ("sklearn", "v2", "kserve-mlserver"),
        ("sklearn", "grpc-v2", "colonnade-sklearn"),
        ("xgboost", "v1", "kserve-xgbserver"),
        ("lightgbm", None, "kserve-lgbserver"),
        ("onnx", "v2", "kserve-tritonserver"),
        ("onnx", "v1", "colonnade-onnx"),
        ("python", None, "colonnade-python"),
        ("sklearn", "grpc-v1", None),
        ("tensorflow", None, None),
    ],
)
def test_a_format_gets_the_runtime_that_kserve_selects(
    model_format: str, protocol: str | None, name: str | None
) -> None:
    entry = for_format(model_format, protocol)
    assert (entry.name if entry else None) == name


def test_a_runtime_may_be_named_that_is_never_selected() -> None:
    entry = for_name("kserve-predictiveserver", "xgboost")
    assert entry is not None
    assert (entry.runtime, entry.auto_select) == ("xgboost", False)
    assert for_name("kserve-xgbserver", "sklearn") is None
    assert for_name("nothing") is None


@pytest.mark.parametrize(
    ("image", "adapter"),
    [
        ("kserve/sklearnserver:v0.15.0", "sklearn"),
        ("sklearnserver", "sklearn"),
        ("kserve-sklearnserver:replace", "sklearn"),
        ("registry.example:5000/team/xgbserver", "xgboost"),
        ("registry.example:5000/team/lgbserver:1@sha256:00ff", "lightgbm"),
        ("kserve/lgbserver@sha256:00ff", "lightgbm"),
        ("seldonio/mlserver:1.7.1", "auto"),
        ("kserve-predictiveserver:latest", "auto"),
        ("me/my-sklearnserver:1", None),
        ("nvcr.io/nvidia/tritonserver:23.05", None),
        ("", None),
    ],
)
def test_a_known_image_maps_to_its_adapter(image: str, adapter: str | None) -> None:
    entry = for_image(image)
    assert (entry.runtime if entry else None) == adapter


@pytest.mark.parametrize(
    ("name", "content", "adapter"),
    [
        ("m.joblib", b"", "sklearn"),
        ("m.PKL", b"", "sklearn"),
        ("m.skops", b"", "sklearn"),
        ("m.onnx", b"", "onnx"),
        ("m.ubj", b"", "xgboost"),
        ("m.bst", b"tree\nversion=v3", "lightgbm"),
        ("m.txt", b"tree\nversion=v4", "lightgbm"),
        ("m.bst", b"binf\0\0", "xgboost"),
        ("m.bst", b"{L\0\0\0\0\0\0\0\x07learner", "xgboost"),
        ("m.json", b'{"learner":{}}', "xgboost"),
        ("model.py", b"", "python"),
    ],
)
@pytest.mark.parametrize("folder", [True, False])
def test_a_file_or_the_folder_of_it_is_recognised(
    tmp_path: Path, name: str, content: bytes, adapter: str, folder: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    (tmp_path / "requirements.txt").write_text("numpy\n")
    (tmp_path / "settings.json").write_text("{}")
    assert detect(tmp_path if folder else tmp_path / name) == adapter


def test_a_model_py_wins_over_what_it_loads(tmp_path: Path) -> None:
    (tmp_path / "model.py").touch()
    (tmp_path / "model.joblib").touch()
    assert detect(tmp_path) == "python"


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([], "holds nothing, and no model file"),
        (
            ["notes.txt", "a.md"],
            r"holds a\.md, notes\.txt, and no model file that is known here: accepted are \.joblib",
        ),
        (["a.joblib", "b.onnx"], r"several frameworks: a\.joblib \(sklearn\), b\.onnx \(onnx\)"),
    ],
)
def test_a_folder_that_is_no_model_says_what_is_accepted(tmp_path: Path, files: list[str], text: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(InvalidInput, match=text):
        detect(tmp_path)
    with pytest.raises(InvalidInput, match="does not exist; accepted are"):
        detect(tmp_path / "nothing")
