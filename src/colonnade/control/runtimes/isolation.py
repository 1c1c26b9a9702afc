"""Which Python packages a replica wants for itself: from annotations, and from the model's folder.

A runtime or a service names them with `colonnade.dev/requirements`; a model brings its own as `requirements.txt`. Both
together make one environment. A file that came over the network is somebody's word about what to install and run, so
it counts only with the consent that other code in a model needs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from colonnade import defaults
from colonnade.control.runtimes import builtserver
from colonnade.control.runtimes.selection import Runtime
from colonnade.control.workload.sources import Source
from colonnade.errors import LoadFailed
from colonnade.runtimes.environments import Recipe

FILE = "requirements.txt"
NONE = "none"  # the annotation's value of a service that shall run without
_MAX_FILE = 64 << 10
_CONTINUED = re.compile(r"\s*\\\n\s*")
_COMMENT = re.compile(r"(^|\s)#.*$")
_PLAIN = re.compile(r"[A-Za-z0-9][\w.-]*(\[[\w.,-]+\])?((===?|~=|[<>!]=|[<>])[^\s;@]+)?")


class Isolation(NamedTuple):
    """What decides on a replica's environment.

    Attributes:
        lines: requirements by annotation.
        refused: no environment at all, whatever the model's folder holds.
        consent: what the model's folder asks for may be installed.
        adapter: the adapter whose server runs in it, "" for a program that brings all it needs.
    """

    lines: tuple[str, ...] = ()
    refused: bool = False
    consent: bool = False
    adapter: str = ""

    @classmethod
    def of(
        cls, isvc: Mapping[str, Any], component: str, runtime: Runtime | None, fetched: Sequence[Source]
    ) -> Isolation:
        """For a component of a service and its runtime."""
        annotations = isvc["metadata"].get("annotations") or {}
        extension = isvc["spec"][component].get("annotations") or {}
        told = [dict(source).get(defaults.REQUIREMENTS, "") for source in (annotations, extension)]
        if runtime is not None:
            told += [runtime.annotations.get(defaults.REQUIREMENTS, "")]
            told += [(runtime.spec.get("annotations") or {}).get(defaults.REQUIREMENTS, "")]
        if NONE in told:
            return cls(refused=True)
        consent = annotations.get(defaults.TRUST_CODE)
        trusted = consent == "true" or (consent != "false" and builtserver.local(fetched))
        return cls(tuple(dict.fromkeys(line for text in told for line in _lines(text))), consent=trusted)

    def recipe(self, model: Path | None) -> Recipe | None:
        """What its environment is made of; None if it shares the control plane's.

        `model` is where the first source lies, if there is one.

        Raises:
            LoadFailed: the model's folder asks for packages and nobody consented; or its file is no such file.
        """
        if self.refused:
            return None
        lines = [*self.lines, *(self._of_folder(model) if model is not None and model.is_dir() else ())]
        return Recipe(tuple(lines), self.adapter) if lines else None

    def _of_folder(self, folder: Path) -> tuple[str, ...]:
        file = folder / FILE
        if not file.is_file():
            return ()
        if not self.consent:
            raise LoadFailed(
                f"the model brings a {FILE}, and what it names would be installed and run; consent with the "
                f'annotation {defaults.TRUST_CODE}: "true", or set {defaults.REQUIREMENTS}: {NONE} to run without'
            )
        if file.stat().st_size > _MAX_FILE:
            raise LoadFailed(f"{FILE} of the model has more than {_MAX_FILE} bytes; name fewer packages")
        return _lines(file.read_text("utf-8", "replace"))


SHARED = Isolation(refused=True)
"""The control plane's own environment."""


def _lines(text: str) -> tuple[str, ...]:
    """Requirements without comments, empty lines and line breaks; several on a line where none has spaces in it."""
    kept = (_COMMENT.sub("", line).strip() for line in _CONTINUED.sub(" ", text).splitlines())
    return tuple(each for line in kept if line for each in _split(line))


def _split(line: str) -> list[str]:
    words = line.split()
    return words if all(map(_PLAIN.fullmatch, words)) else [line]
