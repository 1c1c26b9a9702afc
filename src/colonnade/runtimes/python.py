"""A Python class: `model.py` beside the artefact.

The file is code by design and runs with the rights of the replica. Who placed it on this machine wants it run; a file
that came over the network runs only with consent, as a pickle does, in which code hides. Where it came from is known to
whoever fetched it, so the decision comes in as `LoadOptions.trust_code`.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from pathlib import Path
from types import ModuleType

from colonnade.defaults import TRUST_CODE
from colonnade.errors import LoadFailed
from colonnade.model.contract import Model
from colonnade.runtimes.base import LoadOptions


class PythonRuntime:
    """Loads the one `Model` subclass of a `model.py`, or the one that `MODEL_CLASS` names."""

    name = "python"
    formats = ("python",)
    suffixes = (".py",)

    def load(self, name: str, path: Path, options: LoadOptions) -> Model:
        """Import `model.py` and make the model; its `load` hook is left to the server.

        The module gets a name of its own, so that two models' files never meet, and its folder comes first on
        `sys.path`, so that it can import what lies beside it. From then on this process writes no bytecode: the
        folder may be the content-addressed cache, or not ours to change, and the model may import more of it later.

        Raises:
            LoadFailed: the file is missing or fails (names file and line), or holds no class, or several, or may not
                run (names the way to consent).
        """
        file = path if path.is_file() else path / "model.py"
        if not file.is_file():
            raise LoadFailed(f"{path} holds no model.py; write one with a subclass of colonnade.Model")
        if not options.trust_code:
            raise LoadFailed(
                f"{file} is Python code, which is not run without consent if it was downloaded or consent was refused. "
                f'If you trust who made it, consent with the annotation {TRUST_CODE}: "true" or with --trust-code: '
                "it then runs with this server's rights."
            )
        sys.dont_write_bytecode = True
        module = _import(file.absolute())
        kind = _model_class(module, file, options.env.get("MODEL_CLASS"))
        try:
            model = kind(name=name) if _wants_name(kind) else kind()
        except Exception as error:  # user code may raise anything
            raise LoadFailed(f"{file}: {kind.__name__} cannot be made: {_where(error, file)}") from error
        model.name = name
        model.directory = file.absolute().parent
        return model


def _import(file: Path) -> ModuleType:
    unique = f"colonnade_user_model_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(unique, file)
    if spec is None or spec.loader is None:
        raise LoadFailed(f"{file} is no Python file; name it model.py")
    module = importlib.util.module_from_spec(spec)
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    sys.modules[unique] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # user code may raise anything; an exit() in it must not end the replica
        del sys.modules[unique]
        raise LoadFailed(f"{file} fails to import: {_where(error, file)}") from error
    return module


def _where(error: BaseException, file: Path) -> str:
    """The error with the last line of the user's folder that it passed through."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{said} at {error.filename}:{error.lineno}"
    lines = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(file.absolute().parent)
    ]
    return f"{said} at {lines[-1].filename}:{lines[-1].lineno}" if lines else said


def _model_class(module: ModuleType, file: Path, wanted: str | None) -> type[Model]:
    kinds = {
        name: value
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, Model) and value.__module__ == module.__name__
    }
    listed = ", ".join(sorted(kinds)) or "none"
    if wanted:
        if wanted not in kinds:
            raise LoadFailed(f"{file} has no subclass of colonnade.Model named {wanted} (MODEL_CLASS); it has {listed}")
        return kinds[wanted]
    if len(kinds) != 1:
        raise LoadFailed(
            f"{file} must define one subclass of colonnade.Model, and defines {listed}; "
            "leave one, or name it in the variable MODEL_CLASS"
        )
    return next(iter(kinds.values()))


def _wants_name(kind: type[Model]) -> bool:
    """Whether the class is made with a name, as KServe's models are and the contract's own constructor allows."""
    return "name" in inspect.signature(kind).parameters
