"""The real replica as a process, on Unix sockets, with models made on the fly."""

from __future__ import annotations

import shutil
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from .replica import KSERVE, Replica, Start


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Starts replicas: `start(*argv)` on an artefact, `start(code=...)` on a model.py, `start(script=...)` on a script,
    `start(module=...)` with another module than the server's. `files` lie beside them.

    The folder is made under the temporary folder with a short name, because a Unix socket's path has 107 bytes.
    """
    replicas: list[Replica] = []

    def begin(
        *argv: str,
        code: str | None = None,
        script: str | None = None,
        module: str = "colonnade.server",
        files: Mapping[str, str] | None = None,
        tcp: bool = False,
        python: Path = Path(sys.executable),
    ) -> Replica:
        folder = Path(tempfile.mkdtemp(prefix="replica-"))
        program: tuple[str, ...] = ("-m", module)
        given = list(argv)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        if code is not None:
            (folder / "model.py").write_text(textwrap.dedent(code))
            given += ["--model-dir", str(folder)]
        if script is not None:
            (folder / "script.py").write_text(textwrap.dedent(script))
            program = (str(folder / "script.py"),)
        replica = Replica(folder, given, program=program, tcp=tcp, python=python)
        replicas.append(replica)
        return replica

    yield begin
    for replica in replicas:
        replica.close()
        shutil.rmtree(replica.folder)


@pytest.fixture(scope="session")
def kserve() -> Path:
    """The data of the KServe project."""
    if not KSERVE.is_dir():
        pytest.skip(f"{KSERVE} is not there")
    return KSERVE
