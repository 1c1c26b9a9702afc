"""Which adapter serves what: by name, and by the files of a model. What plays the role of an image says `images`.

Importing this module imports no framework and no adapter, because the control plane and the command line ask it and
must start quickly.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from colonnade.errors import InvalidInput
from colonnade.runtimes.base import Runtime

_MODULES = {
    "sklearn": ("colonnade.runtimes.sklearn", "SklearnRuntime"),
    "xgboost": ("colonnade.runtimes.xgboost", "XGBoostRuntime"),
    "lightgbm": ("colonnade.runtimes.lightgbm", "LightGBMRuntime"),
    "onnx": ("colonnade.runtimes.onnx", "OnnxRuntime"),
    "pmml": ("colonnade.runtimes.pmml.adapter", "PmmlRuntime"),
    "mlflow": ("colonnade.runtimes.mlflow", "MLflowRuntime"),
    "torch": ("colonnade.runtimes.torch", "TorchRuntime"),
    "tensorflow": ("colonnade.runtimes.tensorflow", "TensorFlowRuntime"),
    "huggingface": ("colonnade.runtimes.huggingface.adapter", "HuggingFaceRuntime"),
    "python": ("colonnade.runtimes.python", "PythonRuntime"),
}

RUNTIMES: tuple[str, ...] = tuple(_MODULES)


def runtime(name: str) -> Runtime:
    """The adapter of that name, imported now; its framework is imported when it loads a model.

    Raises:
        InvalidInput: no adapter has this name; lists those there are.
    """
    if name not in _MODULES:
        raise InvalidInput(f"runtime {name!r} is unknown; use one of {', '.join(RUNTIMES)}, or auto")
    module, attribute = _MODULES[name]
    adapter: Callable[[], Runtime] = getattr(importlib.import_module(module), attribute)
    return adapter()


def _is_lightgbm(head: bytes) -> bool:
    return head.startswith((b"tree\n", b"tree\r\n"))


def _is_xgboost(head: bytes) -> bool:
    return head.startswith(b"binf") or (head.lstrip().startswith(b"{") and b"learner" in head)


def _runtime_of_file(path: Path) -> str | None:
    """The adapter for one file, or None. Suffixes that frameworks share are told apart by the first bytes."""
    suffix = path.suffix.lower()
    if suffix in (".joblib", ".pkl", ".pickle", ".skops"):
        return "sklearn"
    if suffix == ".onnx":
        return "onnx"
    if suffix == ".ubj":
        return "xgboost"
    if suffix == ".pmml":
        return "pmml"
    if suffix in (".pt", ".pth", ".pt2"):
        return "torch"
    if suffix in (".bst", ".json", ".txt"):
        with path.open("rb") as file:
            head = file.read(256)
        if _is_lightgbm(head) and suffix != ".json":
            return "lightgbm"
        if _is_xgboost(head) and suffix != ".txt":
            return "xgboost"
    return None


def _runtime_of_folder(folder: Path) -> str | None:
    """The adapter for a folder of a known form, or None."""
    if (folder / "MLmodel").is_file():
        return "mlflow"
    if _is_saved_model(folder):
        return "tensorflow"
    if (folder / "config.json").is_file() and (
        any(folder.glob("*.safetensors")) or any(folder.glob("pytorch_model*.bin"))
    ):
        return "huggingface"
    return None


def _is_saved_model(folder: Path) -> bool:
    """A SavedModel, or one folder for each of its versions, of which the highest counts."""
    if (folder / "saved_model.pb").is_file():
        return True
    below = [entry for entry in folder.iterdir() if entry.is_dir()]
    if not below or not all(entry.name.isdecimal() for entry in below):
        return False
    return (max(below, key=lambda entry: int(entry.name)) / "saved_model.pb").is_file()


_ACCEPTED = (
    "accepted are .joblib, .pkl, .pickle, .skops (scikit-learn), .onnx (ONNX), .bst, .json, .ubj (XGBoost), "
    ".bst, .txt (LightGBM), .pmml (PMML), .pt, .pth, .pt2 (PyTorch), or a folder with one of these, with a model.py, "
    "an MLmodel (MLflow), a saved_model.pb (TensorFlow), or a config.json and weights (Hugging Face)"
)


def detect(path: Path) -> str:
    """The adapter for a file or folder.

    A `model.py` wins over the artefacts beside it, because they are what it loads.

    Raises:
        InvalidInput: nothing there is a model, or models of several frameworks are; lists what is accepted.
    """
    if path.is_file():
        if path.name == "model.py":
            return "python"
        found = _runtime_of_file(path)
        if found is None:
            raise InvalidInput(f"{path} is no model file that is known here: {_ACCEPTED}")
        return found
    if not path.is_dir():
        raise InvalidInput(f"{path} does not exist; {_ACCEPTED}")
    if (path / "model.py").is_file():
        return "python"
    known = _runtime_of_folder(path)
    if known is not None:
        return known
    files = {entry.name: _runtime_of_file(entry) for entry in sorted(path.iterdir()) if entry.is_file()}
    models = {name: adapter for name, adapter in files.items() if adapter is not None}
    if not models:
        held = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        raise InvalidInput(f"{path} holds {held}, and no model file that is known here: {_ACCEPTED}")
    adapters = set(models.values())
    if len(adapters) > 1:
        listed = ", ".join(f"{name} ({adapter})" for name, adapter in models.items())
        raise InvalidInput(f"{path} holds models of several frameworks: {listed}; name the file, or pick a runtime")
    return adapters.pop()
