"""Environments of their own for frameworks that are too heavy for the tests' one; uv makes each once and keeps it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "colonnade-tests"
MINUTES = 10


def python_with(name: str, *requirements: str) -> Path:
    """The interpreter of an environment that has colonnade, from this tree, and these packages.

    Skips the test if uv is absent or the packages cannot be had.
    """
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed, which makes the environment of this framework")
    digest = hashlib.sha256(repr((requirements, ROOT, sys.version)).encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run(uv, "venv", "--quiet", "--python", sys.executable, str(folder))
            target = ("--python", str(folder / "bin" / "python"))
            _run(uv, "pip", "install", "--quiet", *target, "--editable", str(ROOT), *requirements)
            (folder / "made").touch()
    return folder / "bin" / "python"


def made_by(python: Path, script: str, folder: Path) -> Path:
    """A folder with what a script writes into the folder that is its argument."""
    file = folder / "make.py"
    file.write_text(script)
    command = [str(python), str(file), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * MINUTES, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def _run(*command: str) -> None:
    links = [
        f"--find-links={folder}" for folder in os.environ.get("PIP_FIND_LINKS", "").split() if "install" in command
    ]
    done = subprocess.run([*command, *links], capture_output=True, text=True, timeout=60 * MINUTES, check=False)
    if done.returncode:
        pytest.skip(f"the environment cannot be made: {done.stderr.strip()[-300:]}")
