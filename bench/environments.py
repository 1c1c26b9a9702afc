"""Each peer in a Python environment of its own, made by uv on the first run; wrk and h2load from Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.machine import WORK, Unfit

TOOLS = {"wrk": "wrk", "h2load": "nghttp2-client"}
FRAMEWORKS = ("scikit-learn", "onnxruntime")  # what the models need

PACKAGES: dict[str, tuple[str, ...]] = {
    "kserve": ("kserve==0.21.0",),
    "mlserver": ("mlserver==1.7.1", "uvloop<0.22"),  # with a newer uvloop it fails at start
    "litserve": ("litserve==0.2.19",),
    "bentoml": ("bentoml==1.4.39",),  # 1.4.40 asks for versions that exclude each other
    "triton": ("nvidia-pytriton==0.7.0",),
    "ray": ("ray[serve]==2.60.0",),
}


def python(name: str) -> Path:
    """The interpreter of that environment."""
    return WORK / f"venv-{name}" / "bin" / "python"


def install(name: str) -> None:
    """Makes the environment, once.

    Raises:
        Unfit: its packages do not install here; says why.
    """
    done = WORK / f"venv-{name}" / ".done"
    wanted = " ".join(PACKAGES[name])
    if done.exists() and done.read_text() == wanted:
        return
    _uv("venv", "--allow-existing", "--python", sys.executable, str(WORK / f"venv-{name}"))
    _uv("pip", "install", "--python", str(python(name)), *PACKAGES[name], *FRAMEWORKS)
    done.write_text(wanted)


def _uv(*arguments: str) -> None:
    beside = Path(sys.executable).with_name("uv")
    tool = str(beside) if beside.exists() else "uv"
    ran = subprocess.run([tool, *arguments, "--quiet"], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Unfit(f"does not install: {ran.stderr.strip()[-300:]}")


def version(name: str) -> str:
    """What is installed of the peer, `package version`."""
    package = PACKAGES[name][0].partition("==")[0].partition("[")[0]
    if not python(name).exists():
        return f"{package} not installed"
    code = f"from importlib import metadata; print(metadata.version({package!r}))"
    ran = subprocess.run([python(name), "-c", code], capture_output=True, text=True, check=False)
    return f"{package} {ran.stdout.strip() or 'not installed'}"


def require_tools(names: Sequence[str]) -> None:
    """The load generators, installed where this may be done."""
    missing = [TOOLS[name] for name in names if shutil.which(name) is None]
    if not missing:
        return
    if os.geteuid() != 0:
        raise SystemExit(f"install Debian's {' and '.join(missing)}, then run again")
    subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["apt-get", "install", "-y", "-q", *missing], check=True, stdout=subprocess.DEVNULL)
