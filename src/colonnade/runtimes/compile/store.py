"""Finished conversions on disk, by content: the next start of the same model finds its graphs and loads only those.

A graph from here answers requests without another check, so the folder must be this user's own and writable by nobody
else. Failed conversions are kept as well, or each start would spend the same seconds on them again.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from colonnade.errors import LoadFailed
from colonnade.runtimes import golden
from colonnade.runtimes.base import LoadOptions, threads
from colonnade.runtimes.compile.report import VERSION, Report
from colonnade.security import files

_REPORT = "report.json"
_CHUNK = 1 << 20


class Compiled(NamedTuple):
    """A finished conversion: its report, and its graphs' files by name."""

    report: Report
    graphs: dict[str, str]


def key(runtime: str, file: Path, options: LoadOptions, packages: Mapping[str, str]) -> str:
    """What the result of a conversion depends on, as a digest: the model, its settings, and all that takes part.

    Consent is one of the settings: what may not be loaded without it is not found without it either.
    """
    digest = hashlib.sha256()
    env = options.env
    settings = [VERSION, runtime, file.suffix.lower(), env.get("PREDICT_PROBA", ""), threads(env), dict(packages)]
    settings.append(options.trust_code)
    digest.update(msgspec.json.encode(settings, order="deterministic"))
    for path in (file, golden.beside(file)):
        digest.update(b"\0")
        if path == file or path.exists():
            with path.open("rb") as source:
                while chunk := source.read(_CHUNK):
                    digest.update(chunk)
    return digest.hexdigest()


class Store:
    """The folder `root` of conversions. Several processes may use it at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        """Makes the folder, for this user only.

        Raises:
            LoadFailed: it cannot be made, or others may write to it.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LoadFailed(f"the folder of compiled models {self.root} cannot be made: {error.strerror}") from error
        _require_own(self.root)

    def find(self, key: str) -> Compiled | None:
        """A finished conversion, or None.

        Raises:
            LoadFailed: others may write to the folder, so that nothing in it can be trusted.
        """
        folder = self.root / key
        try:
            _require_own(self.root)
            _require_own(folder)
            report = msgspec.json.decode((folder / _REPORT).read_bytes(), type=Report)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        names = {coverage.graph for coverage in report.datatypes.values()} if report.compiled else set()
        graphs = {name: str(folder / f"{name}.onnx") for name in sorted(names)}
        return Compiled(report, graphs)

    def put(self, key: str, report: Report, graphs: Mapping[str, bytes]) -> None:
        """Keeps a conversion, whole or not at all; one that is there already stays.

        Raises:
            OSError: the folder cannot be written.
        """
        beside = Path(tempfile.mkdtemp(prefix=".part-", dir=self.root))
        try:
            for name, content in graphs.items():
                files.write(beside / f"{name}.onnx", content)
            files.write(beside / _REPORT, msgspec.json.encode(report))
            os.rename(beside, self.root / key)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            if not (self.root / key / _REPORT).exists():
                raise

    @contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """Blocks until no other process converts the same model: replicas of a service start together."""
        with (self.root / f".{key}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _require_own(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise LoadFailed(
            f"{folder} is no folder that only this user can write to; remove it, or name another with --compile-cache"
        )
