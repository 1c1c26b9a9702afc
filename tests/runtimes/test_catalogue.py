"""Which adapter serves what, decided without importing any framework."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from colonnade.errors import InvalidInput
from colonnade.runtimes import images
from colonnade.runtimes.catalogue import RUNTIMES, detect, runtime


def test_asking_the_catalogue_imports_no_framework() -> None:
    script = (
        "import sys; from colonnade.runtimes import catalogue as c;"
        "heavy = {'numpy','sklearn','joblib','onnxruntime','xgboost','lightgbm','pandas','scipy','skops','torch'};"
        "print(sorted(heavy & set(sys.modules)));"
        "[c.runtime(name) for name in c.RUNTIMES];"
        "print(sorted((heavy - {'numpy'}) & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split("\n")[:2] == ["[]", "[]"], ran.stdout


def test_every_image_names_adapters_that_take_its_formats() -> None:
    for image in images.IMAGES.values():
        for form, name in image.adapters.items():
            assert form in runtime(name).formats, (form, name)
    for name in RUNTIMES:
        assert runtime(name).name == name
    with pytest.raises(InvalidInput, match="runtime 'keras' is unknown; use one of sklearn"):
        runtime("keras")


@pytest.mark.parametrize(
    ("reference", "base"),
    [
        ("kserve/sklearnserver:v0.15.0", "sklearnserver"),
        ("sklearnserver", "sklearnserver"),
        ("kserve-sklearnserver:replace", "sklearnserver"),
        ("registry.example:5000/team/xgbserver", "xgbserver"),
        ("registry.example:5000/team/lgbserver:1@sha256:00ff", "lgbserver"),
        ("seldonio/mlserver:1.7.1", "mlserver"),
        ("tensorflow/serving:2.6.2", "tensorflow-serving"),
        ("pytorch/torchserve-kfs:0.9.0", "torchserve"),
        ("vllm/vllm-openai-cpu:v1", "vllm-openai"),
        ("nvcr.io/nvidia/tritonserver:23.05", "tritonserver"),
        ("me/my-sklearnserver:1", None),
        ("", None),
    ],
)
def test_an_image_is_known_by_its_name(reference: str, base: str | None) -> None:
    assert images.of(reference) is (None if base is None else images.IMAGES[base])


def test_programs_are_looked_for_on_the_path(tmp_path: Path) -> None:
    program = tmp_path / "tritonserver"
    program.touch(0o755)
    (tmp_path / "vllm").touch(0o644)
    assert images.installed(str(tmp_path)) == {"tritonserver"}


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
        ("m.pmml", b"", "pmml"),
        ("m.pt2", b"", "torch"),
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
    ("files", "adapter"),
    [
        (["MLmodel", "model.pkl"], "mlflow"),
        (["saved_model.pb", "fingerprint.pb"], "tensorflow"),
        (["1/saved_model.pb", "2/saved_model.pb"], "tensorflow"),
        (["config.json", "model.safetensors"], "huggingface"),
        (["config.json", "pytorch_model-00001-of-00002.bin"], "huggingface"),
        (["model.py", "MLmodel"], "python"),
    ],
)
def test_a_folder_of_a_known_form_is_recognised(tmp_path: Path, files: list[str], adapter: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert detect(tmp_path) == adapter


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
