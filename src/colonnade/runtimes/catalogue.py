"""Which adapter serves what: by name, by file, by KServe's model format, by KServe's image.

Importing this module imports no framework and no adapter, because the control plane and the command line ask it and
must start quickly. The table of entries follows the runtimes that KServe installs: the same
names and the same order of preference, so that a manifest picks here what it picks on a cluster.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from colonnade.errors import InvalidInput
from colonnade.runtimes.base import Runtime

_MODULES = {
    "sklearn": ("colonnade.runtimes.sklearn", "SklearnRuntime"),
    "xgboost": ("colonnade.runtimes.xgboost", "XGBoostRuntime"),
    "lightgbm": ("colonnade.runtimes.lightgbm", "LightGBMRuntime"),
    "onnx": ("colonnade.runtimes.onnx", "OnnxRuntime"),
    "python": ("colonnade.runtimes.python", "PythonRuntime"),
}

RUNTIMES: tuple[str, ...] = tuple(_MODULES)


@dataclass(frozen=True, slots=True)
class RuntimeEntry:
    """One (runtime of KServe, adapter of ours) pair.

    Attributes:
        name: the ServingRuntime's name, as status shows it.
        runtime: the adapter, or `auto` where one image serves several formats and the artefact decides.
        formats: the `modelFormat` names it takes.
        protocols: `protocolVersion` values it may be asked for. The replica speaks all protocols whatever is asked.
        auto_select: whether a manifest that names no runtime may get it.
    """

    name: str
    runtime: str
    formats: tuple[str, ...]
    protocols: tuple[str, ...]
    auto_select: bool = True


# In order of preference. `mlserver` stands before KServe's own servers for v2 because its priority is higher there.
ENTRIES: tuple[RuntimeEntry, ...] = (
    RuntimeEntry("kserve-mlserver", "sklearn", ("sklearn",), ("v2",)),
    RuntimeEntry("kserve-mlserver", "xgboost", ("xgboost",), ("v2",)),
    RuntimeEntry("kserve-mlserver", "lightgbm", ("lightgbm",), ("v2",)),
    RuntimeEntry("kserve-sklearnserver", "sklearn", ("sklearn",), ("v1", "v2")),
    RuntimeEntry("kserve-xgbserver", "xgboost", ("xgboost",), ("v1", "v2")),
    RuntimeEntry("kserve-lgbserver", "lightgbm", ("lightgbm",), ("v1", "v2")),
    RuntimeEntry("kserve-tritonserver", "onnx", ("onnx",), ("v2", "grpc-v2")),
    RuntimeEntry("kserve-predictiveserver", "sklearn", ("sklearn",), ("v1", "v2"), auto_select=False),
    RuntimeEntry("kserve-predictiveserver", "xgboost", ("xgboost",), ("v1", "v2"), auto_select=False),
    RuntimeEntry("kserve-predictiveserver", "lightgbm", ("lightgbm",), ("v1", "v2"), auto_select=False),
    # What KServe's table lacks and this product serves: gRPC of the table models, V1 of ONNX, a Python class.
    RuntimeEntry("colonnade-sklearn", "sklearn", ("sklearn",), ("v1", "v2", "grpc-v2")),
    RuntimeEntry("colonnade-xgboost", "xgboost", ("xgboost",), ("v1", "v2", "grpc-v2")),
    RuntimeEntry("colonnade-lightgbm", "lightgbm", ("lightgbm",), ("v1", "v2", "grpc-v2")),
    RuntimeEntry("colonnade-onnx", "onnx", ("onnx",), ("v1", "v2", "grpc-v2")),
    RuntimeEntry("colonnade-python", "python", ("python",), ("v1", "v2", "grpc-v2")),
)

# The last part of an image's repository -> (entry name, adapter). `mlserver` and `predictiveserver` serve several
# formats, so there the artefact decides.
_IMAGES = {
    "sklearnserver": ("kserve-sklearnserver", "sklearn"),
    "xgbserver": ("kserve-xgbserver", "xgboost"),
    "lgbserver": ("kserve-lgbserver", "lightgbm"),
    "predictiveserver": ("kserve-predictiveserver", "auto"),
    "mlserver": ("kserve-mlserver", "auto"),
}


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
    if suffix in (".bst", ".json", ".txt"):
        with path.open("rb") as file:
            head = file.read(256)
        if _is_lightgbm(head) and suffix != ".json":
            return "lightgbm"
        if _is_xgboost(head) and suffix != ".txt":
            return "xgboost"
    return None


_ACCEPTED = (
    "accepted are .joblib, .pkl, .pickle, .skops (scikit-learn), .onnx (ONNX), .bst, .json, .ubj (XGBoost), "
    ".bst, .txt (LightGBM), or a folder with one of these or with a model.py"
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


def for_format(model_format: str, protocol: str | None = None) -> RuntimeEntry | None:
    """The entry that KServe's automatic selection would take, or None.

    Args:
        model_format: `modelFormat.name`.
        protocol: `protocolVersion`, or None when the manifest leaves it out: v1, or what the format offers first.
    """
    offers = [entry for entry in ENTRIES if entry.auto_select and model_format in entry.formats]
    wanted = [entry for entry in offers if (protocol or "v1") in entry.protocols]
    return next(iter(wanted), None) if protocol else next(iter(wanted or offers), None)


def for_name(name: str, model_format: str | None = None) -> RuntimeEntry | None:
    """The entry of a named runtime (`predictor.model.runtime`) for this format, or None."""
    return next(
        (entry for entry in ENTRIES if entry.name == name and model_format in (None, *entry.formats)),
        None,
    )


def _image_basename(image: str) -> str:
    """`registry:5000/kserve/sklearnserver:v1@sha256:..` -> `sklearnserver`."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[0]


def for_image(image: str) -> RuntimeEntry | None:
    """The entry that stands in for a known KServe image, whatever its registry and tag, or None.

    `sklearnserver` and `kserve-sklearnserver` are the same image under its released and its local name.
    """
    base = _image_basename(image).removeprefix("kserve-")
    known = _IMAGES.get(base)
    if known is None:
        return None
    name, adapter = known
    entries = [entry for entry in ENTRIES if entry.name == name]
    formats = tuple(each for entry in entries for each in entry.formats)
    return RuntimeEntry(name, adapter, formats, entries[0].protocols, entries[0].auto_select)
