"""What runs a container here: an adapter of the built-in server, a program, or nothing. Pure.

There is no container engine, so a container is its command, or the role that its image plays (`runtimes.images`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from colonnade.runtimes import images


class Adapter(NamedTuple):
    """The built-in server, with the adapter of this name (or `auto`).

    `flags` says whether the image's arguments mean something to it; if not they are of the server it stands in for.
    """

    name: str
    flags: bool = True


class Program(NamedTuple):
    """A command that is run as it is written."""

    words: tuple[str, ...]


class Nothing(NamedTuple):
    """Why it cannot run on this machine, and what would help."""

    reason: str


Engine = Adapter | Program | Nothing


def of(container: Mapping[str, Any], model_format: str | None, programs: Collection[str], *, brought: bool) -> Engine:
    """What runs a container.

    Args:
        container: with the runtime's and the manifest's fields.
        model_format: what it serves, or None where the artefact decides.
        programs: the model servers that this machine has.
        brought: the container has an environment of its own, which brings its program.
    """
    image = images.of(str(container.get("image") or ""))
    command = tuple(map(str, container.get("command") or ()))
    args = tuple(map(str, container.get("args") or ()))
    if command and (image is None or not image.program or brought or image.program in programs):
        return Program((*command, *args))
    if image is None:
        shown = container.get("image") or ""
        return Nothing(
            f"image {shown!r} cannot be run: no container engine is used on this machine and it is none of the images "
            "that something here stands in for. Give a `command` that runs as a local process (it gets PORT)."
        )
    adapter = _adapter(image, model_format)
    if adapter:
        return Adapter(adapter, image.flags)
    words = command or image.start or (image.program,)
    if image.program and (brought or image.program in programs):
        starts = bool(args) and posixpath.basename(args[0]) == image.program
        return Program(args if starts and not command else (*words, *args))
    if not image.program:
        served = ", ".join(image.adapters) or "none"
        return Nothing(f"image {container['image']!r} serves {served} here, not {model_format}.")
    hint = f", {image.hint}" if image.hint else ""
    return Nothing(f"its server {image.program} is not on the PATH of the control plane; install it there{hint}.")


def _adapter(image: images.Image, model_format: str | None) -> str:
    """The adapter that plays an image's role for a format, or ""."""
    if model_format is not None:
        return image.adapters.get(model_format, "")
    distinct = set(image.adapters.values())
    return images.AUTO if len(distinct) > 1 else next(iter(distinct), "")
