"""What every adapter is: a name, what it accepts, and `load`.

The contract is this small so that a new framework is one new module and one line in `catalogue`. What several adapters
need alike (one model file in a folder, a missing framework, the thread count) lies here too, so that their messages
are the same.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from colonnade.errors import InvalidInput, LoadFailed

if TYPE_CHECKING:
    from colonnade.model.contract import Model


GOLDEN = "golden.json"  # lies beside a model, and is none: see `runtimes.golden`


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """How to load.

    Attributes:
        trust_code: code that the artefact holds may run: the user consents (`colonnade.dev/trust-code: "true"`), or it
            is a `model.py` that the operator placed on this machine. Decided where the artefact's origin is known.
        env: the replica's environment; adapters read their settings from it, never from `os.environ`.
        settings: flags that are for one adapter, by their names without the hyphens in front; a switch that is on has
            the value `true`.
    """

    trust_code: bool = False
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    settings: Mapping[str, str] = field(default_factory=dict)


class Runtime(Protocol):
    """One framework adapter.

    Attributes:
        name: the name that `--runtime` takes.
        formats: KServe's `modelFormat` names.
        suffixes: file suffixes, lower case, with the dot.
    """

    name: str
    formats: tuple[str, ...]
    suffixes: tuple[str, ...]

    def load(self, name: str, path: Path, options: LoadOptions) -> Model:
        """The artefact at `path` (a file or a folder) as the model `name`.

        What comes back still gets the contract's `Model.load` called by the server. The adapters of frameworks have
        read the artefact by then; a user's class does its work there, on the thread that its hook asks for.

        Raises:
            LoadFailed: names the file, the cause and the fix.
        """
        ...


def model_file(path: Path, suffixes: Iterable[str]) -> Path:
    """The one model file at `path`: the file itself, or the only file of these suffixes in the folder.

    KServe's servers ask for exactly one too and fail on none or several (`python/sklearnserver`, `ModelMissingError`).

    Raises:
        LoadFailed: there is none, or more than one; names them.
    """
    accepted = tuple(suffixes)
    if not path.exists():
        raise LoadFailed(f"{path} does not exist; give the model's file or the folder that holds it")
    if path.is_file():
        if path.suffix.lower() not in accepted:
            raise LoadFailed(f"{path} does not end in one of {', '.join(accepted)}; rename it or pick another runtime")
        return path
    files = [entry for entry in path.iterdir() if entry.is_file() and entry.name != GOLDEN]
    found = sorted(entry for entry in files if entry.suffix.lower() in accepted)
    if not found:
        held = ", ".join(sorted(entry.name for entry in path.iterdir())[:10]) or "nothing"
        raise LoadFailed(
            f"{path} holds no model file; one file ending in {', '.join(accepted)} is needed, and it holds {held}"
        )
    if len(found) > 1:
        names = ", ".join(entry.name for entry in found)
        raise LoadFailed(f"{path} holds more than one model file ({names}); leave one, or name the file itself")
    return found[0]


def framework(module: str, extra: str | None, package: str) -> Any:
    """Import a framework when its first model is loaded.

    Raises:
        LoadFailed: it is not installed; names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        fix = f"pip install colonnade[{extra}]" if extra else f"pip install {package}"
        raise LoadFailed(f"{package} is needed to load this model and cannot be imported: {error}; {fix}") from error


def threads(env: Mapping[str, str]) -> int:
    """Threads that one prediction may use: `OMP_NUM_THREADS`, else 1.

    One is the default because a replica shares the machine with others and a prediction for one row gains nothing
    from more; KServe's manifests pass `--nthread=1` for the same reason.

    Raises:
        LoadFailed: the variable is not a positive whole number.
    """
    text = env.get("OMP_NUM_THREADS", "1").strip() or "1"
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise LoadFailed(f"OMP_NUM_THREADS is {text!r}; set it to a whole number of 1 or more, or leave it out")
    return int(text)


def flag(env: Mapping[str, str], name: str) -> bool:
    """A switch in the environment: `true` in any case is on, as KServe reads them; absent, empty or `false` is off.

    Raises:
        LoadFailed: the variable is something else.
    """
    text = env.get(name, "").strip().lower()
    if text not in ("", "true", "false"):
        raise LoadFailed(f"{name} is {env[name]!r}; set it to true or false")
    return text == "true"


def require_width(got: int, expected: int, what: str = "features") -> None:
    """Refuse rows of the wrong width.

    Raises:
        InvalidInput: says how many were expected and how many came.
    """
    if got != expected:
        raise InvalidInput(f"the model expects {expected} {what} per row and the request has {got}")
