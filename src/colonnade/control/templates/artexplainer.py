"""KServe's explainer `art` as a container: a program of ours that asks the predictor, as one of a user's would. Pure.

Source: KServe's `explainer_art.go`, for the words. What it does not know it leaves to the program, which ignores it; so
here a setting that means nothing is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from colonnade.control.workload import variables
from colonnade.control.workload.variables import reference
from colonnade.resources import served
from colonnade.runtimes import images

_PATH = "spec.explainer.art"
ADAPTER = "art"  # what its server needs, see `runtimes.environments`
COMMAND = (reference(variables.PYTHON), "-m", "colonnade.server.artexplainer")


def container(art: Mapping[str, Any], programs: Collection[str], *, brought: bool) -> dict[str, Any]:
    """The container that `spec.explainer.art` stands for.

    Args:
        art: as the manifest has it.
        programs: what this machine has of programs and libraries.
        brought: the component has an environment of its own, which brings the library.

    Raises:
        ValueError: it cannot run here; names the field, or what is to be installed.
    """
    kind, config = art.get("type") or served.ART_TYPE, art.get("config") or {}
    if str(kind).lower() != served.ART_TYPE.lower():
        raise ValueError(f"{_PATH}.type is {kind!r}; {served.ART_TYPE} is the one there is")
    unknown = next((name for name in sorted(config) if name not in served.ART_SETTINGS), None)
    if unknown is not None:
        raise ValueError(f"{_PATH}.config.{unknown} is no setting; there are {', '.join(served.ART_SETTINGS)}")
    command = [str(word) for word in art.get("command") or ()]
    if not command and not served.is_art_image(art.get("image") or served.ART_IMAGE):
        raise ValueError(f"{_PATH}.image {art['image']!r} cannot be run: no container engine is used; leave it out")
    if not command and images.ART not in programs and not brought:
        raise ValueError(
            f"{_PATH} needs {images.ART}, which is not installed beside the control plane; pip install colonnade[art], "
            f"or set colonnade.dev/requirements: {images.ART} under spec.explainer.annotations"
        )
    words = ["--adversary_type", str(kind)]
    words += [word for name in sorted(config) for word in (f"--{name}", str(config[name]))]
    words += map(str, art.get("args") or ())
    words += [] if command else ["--termination-file", reference(variables.TERMINATION)]
    return {**art, "command": command or list(COMMAND), "args": words}
