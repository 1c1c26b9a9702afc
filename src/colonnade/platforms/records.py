"""What is kept on disk of each replica, so that the next control plane finds it.

`replicas/{namespace}.{name}/replica.json` is written twice at a start: first the intent with the run's mark and no
process, then the process. A crash between the two leaves a process with a mark and no identity, which `adopt` ends.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from colonnade.platforms.base import LogPaths, ReplicaSpec, Termination
from colonnade.platforms.process import Identity
from colonnade.security import files

RECORD = "replica.json"
OUTPUT = "output.log"
TERMINATION = "termination.json"
MAX_TERMINATION_BYTES = 64 << 10
ROTATION_PERIOD = 5.0  # seconds between looks at the size of an output
_COPY_BYTES = 1 << 20


class Record(msgspec.Struct, frozen=True):
    """One run of one replica.

    Attributes:
        run: the mark in the process's environment.
        identity: the process, or None between intent and start.
        started: Unix time.
        stopped: whether it was ended on purpose; its end is then no crash.
    """

    spec: ReplicaSpec
    run: str
    started: float
    identity: Identity | None = None
    stopped: bool = False


class Records:
    """The folder `replicas/` of a state directory. Thin: each method is one step on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    def folder(self, key: str) -> Path:
        """The folder of a replica; namespaces hold no dot, so two keys never share one."""
        return self._root / key.replace("/", ".", 1)

    def logs(self, key: str) -> LogPaths:
        folder = self.folder(key)
        return LogPaths(folder / OUTPUT, folder / f"{OUTPUT}.1")

    def save(self, record: Record) -> None:
        """Write a record in one step. Mode 0600: a spec's environment may hold secrets. It survives our end; after the
        machine's there is no process that it could tell of, so no start waits for the disk."""
        folder = self.folder(record.spec.key)
        folder.mkdir(mode=0o700, exist_ok=True)
        files.write(folder / RECORD, msgspec.json.encode(record), durable=False)

    def load(self) -> Iterator[Record]:
        """All records that can be read; what cannot is no record of a start that was acknowledged."""
        for path in sorted(self._root.glob(f"*/{RECORD}")):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=Record)
            except (OSError, msgspec.DecodeError):
                continue

    def begin(self, key: str) -> None:
        """Make room for a new run: its output starts empty, that of the run before becomes `output.log.1`."""
        self.folder(key).mkdir(mode=0o700, exist_ok=True)
        logs = self.logs(key)
        if logs.current.exists():
            logs.current.replace(logs.previous)
        (self.folder(key) / TERMINATION).unlink(missing_ok=True)

    def termination(self, spec: ReplicaSpec) -> Termination | None:
        """What the replica wrote about its end, if it wrote that and it can be read."""
        path = Path(spec.termination) if spec.termination else self.folder(spec.key) / TERMINATION
        try:
            with path.open("rb") as file:
                return msgspec.json.decode(file.read(MAX_TERMINATION_BYTES), type=Termination)
        except (OSError, msgspec.DecodeError):
            return None

    def remove(self, key: str) -> None:
        shutil.rmtree(self.folder(key), ignore_errors=True)

    def keep(self, keys: Iterable[str]) -> None:
        """Remove the folders of all replicas but these."""
        kept = {self.folder(key) for key in keys}
        for folder in self._root.iterdir():
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def oversized(logs: LogPaths, limit: int) -> bool:
    """Whether an output has outgrown its limit."""
    try:
        return logs.current.stat().st_size > limit
    except OSError:
        return False


def rotate(logs: LogPaths) -> None:
    """Move an output away while the process goes on writing (blocking, some 50 ms per 64 MiB).

    Copied, then truncated: the process holds the file open in append mode. What it writes between the two is lost,
    which is the price of an output that survives the control plane without a process in between. The other part of
    the price: while no control plane runs, nobody rotates.
    """
    with logs.current.open("r+b") as source, open(logs.previous, "wb", opener=_private) as target:
        while chunk := source.read(_COPY_BYTES):
            target.write(chunk)
        source.truncate(0)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
