"""Python environments of replicas: two models that need different versions of a package never meet in one process.

An environment is made once for its content (requirements, Python, this version of the product), by `uv`, in a folder
named by the hash of that, and used by all replicas that ask for the same. A folder counts once the file `ready` lies in
it, which is written last; so a build that is killed leaves nothing that is mistaken for one. A lock file per
environment keeps two processes from making the same at once; `uv` inherits it, so that one that outlives its parent is
waited for.

The built-in server runs in an environment as the very package that is running now: a link to it and a `.pth` file. It
needs no index and no build, a checkout works like a wheel, and both sides of the gateway are the same version by
construction. Only the package itself is linked, not the folder it lies in, or the neighbours there would leak in.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from colonnade import defaults
from colonnade.errors import LoadFailed
from colonnade.version import __version__

READY = "ready"  # the file that says that an environment is complete; its time is that of its last use
_LINK = "server"  # the folder that has the link to the running package, and nothing else
_TAIL_LINES = 12
_TAIL_CHARACTERS = 1600
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_FORBIDDEN = re.compile(r"-r\b|-c\b|-e\b|--requirement|--constraint|--editable|\.|/|[^#]*\bfile:")

SERVER = (
    "hpack>=4.2",
    "httptools>=0.6.4",
    "msgspec>=0.20",
    "numpy>=2.0",
    "orjson>=3.10",
    "protobuf>=6.33.5",
    "pysimdjson>=7.0",
    "uvloop>=0.22",
)
"""What the built-in server itself imports."""

_TABLES = ("scikit-learn>=1.5", "joblib>=1.4", "skops>=0.13", "xgboost-cpu>=2.1", "lightgbm>=4.5")
ADAPTERS: Mapping[str, tuple[str, ...]] = {
    "sklearn": ("scikit-learn>=1.5", "joblib>=1.4", "skops>=0.13"),
    "xgboost": ("xgboost-cpu>=2.1",),
    "lightgbm": ("lightgbm>=4.5",),
    "onnx": ("onnxruntime>=1.20",),
    "art": ("adversarial-robustness-toolbox>=1.20", "packaging>=24"),  # which it imports and does not name
    "auto": (*_TABLES, "onnxruntime>=1.20"),
}
"""What an adapter, or the explainer `art`, needs beside; those that are not named bring what the requirements say."""

_SAME = (
    frozenset({"xgboost", "xgboost-cpu"}),
    frozenset({"onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"}),
)
"""Packages that are the same module: of each only one may be installed."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an environment is made of.

    Attributes:
        lines: requirements, as pip reads them.
        adapter: the adapter whose server shall run in it, "" if that is nobody's but the lines' business.
    """

    lines: tuple[str, ...]
    adapter: str = ""

    def requirements(self) -> tuple[str, ...]:
        """All that is installed: the lines, and what the server needs and the lines do not name themselves."""
        if not self.adapter:
            return self.lines
        named = {_canonical(line) for line in self.lines}
        named |= {other for group in _SAME for other in group if group & named}
        base = (*SERVER, *ADAPTERS.get(self.adapter, ()))
        return (*self.lines, *(each for each in base if _canonical(each) not in named))

    @property
    def key(self) -> str:
        """The name of its folder: 32 hex digits."""
        package = str(_package()) if self.adapter else ""
        content = [self.requirements(), sys.version, platform.machine(), __version__, package]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Environments:
    """The environments under one folder."""

    root: Path

    def make(self, recipe: Recipe) -> Path:
        """The folder of an environment, made if it is not there. Blocks, for minutes when packages are large.

        Raises:
            LoadFailed: `uv` is missing, or cannot install what is asked for; ends with what it said.
        """
        for line in recipe.lines:
            if _FORBIDDEN.match(line):
                raise LoadFailed(f"requirement {line!r} names a file; an environment is made of packages only")
        folder = self.root / recipe.key
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._locked(recipe.key) as lock:
            ready = folder / READY
            if ready.exists():
                os.utime(ready)
                return folder
            shutil.rmtree(folder, ignore_errors=True)
            _build(folder, recipe, lock)
            _write(ready, f"{__version__}\n")
        return folder

    def prune(self, used: Collection[Path], *, now: float | None = None, ttl: float = defaults.ENVIRONMENT_TTL) -> None:
        """Remove the environments that nobody uses and nobody asked for in `ttl` seconds, and broken ones."""
        moment = time.time() if now is None else now
        for folder in sorted(self.root.glob("*/")) if self.root.is_dir() else ():
            if folder in used or moment - _used(folder) < ttl:
                continue
            try:
                with self._locked(folder.name, wait=False):
                    if moment - _used(folder) >= ttl:
                        (folder / READY).unlink(missing_ok=True)
                        shutil.rmtree(folder, ignore_errors=True)
            except BlockingIOError:
                continue  # it is being made

    @contextmanager
    def _locked(self, key: str, *, wait: bool = True) -> Iterator[int]:
        descriptor = os.open(self.root / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield descriptor
        finally:
            os.close(descriptor)


def interpreter(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / "bin" / "python"


def _build(folder: Path, recipe: Recipe, lock: int) -> None:
    uv = _uv()
    _run([uv, "venv", "--no-project", "--python", sys.executable, str(folder)], folder.parent, lock)
    wanted = folder / "requirements.txt"
    _write(wanted, "".join(f"{line}\n" for line in recipe.requirements()))
    python = str(interpreter(folder))
    _run([uv, "pip", "install", "--python", python, "--requirement", str(wanted)], folder, lock)
    if recipe.adapter:
        link = folder / _LINK
        link.mkdir()
        (link / "colonnade").symlink_to(_package(), target_is_directory=True)
        site = next(folder.glob("lib/python*/site-packages"))
        _write(site / "colonnade.pth", f"{link}\n")


def _run(command: Sequence[str], cwd: Path, lock: int) -> None:
    """Run `uv` in a session of its own, so that all it started ends with it when its time is over."""
    spared = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    env = {name: value for name, value in os.environ.items() if name not in spared} | {"NO_COLOR": "1"}
    process = subprocess.Popen(
        [*command, "--no-progress"],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=(lock,),
    )
    try:
        output, _ = process.communicate(timeout=defaults.ENVIRONMENT_TIMEOUT)
    except BaseException as error:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if isinstance(error, subprocess.TimeoutExpired):
            limit = f"{defaults.ENVIRONMENT_TIMEOUT:g} s"
            raise LoadFailed(f"the environment of its requirements was not made in {limit}") from None
        raise
    if process.returncode:
        raise LoadFailed(f"the environment of its requirements cannot be made; uv says: {_tail(output)}")


def _tail(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return _CREDENTIALS.sub("", " ".join(lines[-_TAIL_LINES:]))[-_TAIL_CHARACTERS:]


def _uv() -> str:
    """The program, from its package or from PATH."""
    if importlib.util.find_spec("uv") is not None:
        uv = importlib.import_module("uv")
        return str(uv.find_uv_bin())
    found = shutil.which("uv")
    if found is None:
        raise LoadFailed(
            "uv is needed to make the environment of its requirements; pip install colonnade[environments]"
        )
    return found


def _package() -> Path:
    """The folder of the running package."""
    return Path(defaults.__file__).resolve().parent


def _canonical(requirement: str) -> str:
    """The package's name as indexes compare it."""
    found = _NAME.match(requirement.strip())
    return re.sub(r"[-_.]+", "-", found.group(0)).lower() if found else ""


def _used(folder: Path) -> float:
    """When an environment was asked for last; 0 for what is no complete one."""
    try:
        return (folder / READY).stat().st_mtime
    except OSError:
        return 0.0


def _write(path: Path, text: str) -> None:
    """A file whose content is on the disk before anybody builds on it."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
