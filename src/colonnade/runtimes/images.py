"""What stands in for the container images of model servers, where there is no container engine.

An image means a role: "serve this format as KServe's server for it does". On one machine that role is played by an
adapter of the built-in server, or by the server's own program if that is installed here. The table is of facts about
the images; which of the programs are there is asked once (`installed`) and handed to whoever decides.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata

MODELS = "/mnt/models"  # where a container finds its model

ART = "adversarial-robustness-toolbox"  # the library of the explainer `art`, which is had or not as a program is
AUTO = "auto"  # the adapter of the built-in server that goes by the artefact


@dataclass(frozen=True, slots=True)
class Image:
    """A model server's image.

    Attributes:
        adapters: which adapter of the built-in server plays its role, by format.
        program: the name of the server's own program, "" if it has none that could be installed.
        start: the command that the image starts by itself, before a container's `args`.
        flags: its arguments are those of KServe's Python servers, which the built-in server takes, too.
        hint: how its program is had.
    """

    adapters: Mapping[str, str] = field(default_factory=dict)
    program: str = ""
    start: tuple[str, ...] = ()
    flags: bool = True
    hint: str = ""


_SKLEARN = {"sklearn": "sklearn"}
_XGBOOST = {"xgboost": "xgboost"}
_LIGHTGBM = {"lightgbm": "lightgbm"}
_TABLES = {**_SKLEARN, **_XGBOOST, **_LIGHTGBM}
_BY_REQUIREMENTS = "or let `colonnade.dev/requirements: {}` bring it"

IMAGES: Mapping[str, Image] = {
    "sklearnserver": Image(_SKLEARN),
    "xgbserver": Image(_XGBOOST),
    "lgbserver": Image(_LIGHTGBM),
    "predictiveserver": Image(_TABLES),
    "pmmlserver": Image({"pmml": "pmml"}),
    "mlserver": Image(
        {**_TABLES, "mlflow": "mlflow"},
        "mlserver",
        ("mlserver", "start", MODELS),
        flags=False,
        hint=_BY_REQUIREMENTS.format("mlserver"),
    ),
    "tensorflow-serving": Image(
        {"tensorflow": "tensorflow"}, "tensorflow_model_server", ("tensorflow_model_server",), flags=False
    ),
    "tritonserver": Image(  # its arguments begin with the program, as torchserve's do
        {"onnx": "onnx", "tensorflow": "tensorflow", "pytorch": "torch"}, "tritonserver", flags=False
    ),
    "torchserve": Image({"pytorch": "torch"}, "torchserve", flags=False, hint=_BY_REQUIREMENTS.format("torchserve")),
    "huggingfaceserver": Image({"huggingface": "huggingface"}),
    "vllm-openai": Image(
        {},
        "vllm",
        ("python", "-m", "vllm.entrypoints.openai.api_server"),
        flags=False,
        hint=_BY_REQUIREMENTS.format("vllm"),
    ),
    "paddleserver": Image({}, "paddleserver", ("paddleserver",)),
    "autogluonserver": Image({}, "autogluonserver", ("autogluonserver",)),
    "model_server": Image({}, "ovms", ("ovms",), flags=False),
    "colonnade": Image(
        {name: name for name in (*_TABLES, "onnx", "pmml", "mlflow", "python", "tensorflow", "huggingface")}
        | {"pytorch": "torch"}
    ),
}
"""By the last part of the image's repository, without the prefix `kserve-` that its unreleased name has."""

_ALIASES = {
    "serving": "tensorflow-serving",  # tensorflow/serving
    "torchserve-kfs": "torchserve",
    "vllmserver": "vllm-openai",
    "vllm-openai-cpu": "vllm-openai",
    "huggingfaceserver-gpu": "huggingfaceserver",
}


def of(reference: str) -> Image | None:
    """What is known of an image, whatever its registry and tag: `registry:5000/kserve/sklearnserver:v1@sha256:..`."""
    base = reference.partition("@")[0].rpartition("/")[2].partition(":")[0].removeprefix("kserve-")
    return IMAGES.get(_ALIASES.get(base, base))


def installed(path: str | None = None) -> frozenset[str]:
    """The programs of the table that replicas find: on `path`, else beside our own interpreter and on our PATH.

    `ART` is one of them if our own interpreter has it.
    """
    searched = path or os.pathsep.join((os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)))
    programs = (image.program for image in IMAGES.values() if image.program)
    found = {program for program in programs if shutil.which(program, path=searched)}
    return frozenset(found | ({ART} if path is None and any(metadata.distributions(name=ART)) else set()))
