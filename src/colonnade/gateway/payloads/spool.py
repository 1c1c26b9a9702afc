"""Rows on their way to a file: in the spool first, line by line, and in their folder or bucket when the file is whole.

So a half file never lies under its final name, a place that is away for an hour loses nothing, and what a killed
process leaves behind is found by the next one. A spooled file is locked by the process that it belongs to. Its name is
part of the final one: putting it twice makes one file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import msgspec

from colonnade.gateway.payloads.settings import Logging, Origin

_LINES = ".rows"
_OWNER = "log.json"
_numbers = count(1)


class Owner(msgspec.Struct, frozen=True):
    """Whose rows lie in a folder of the spool."""

    origin: Origin
    settings: Logging


class Spooled(NamedTuple):
    """A file of rows, which this process has locked. `day` is that of its rows."""

    path: Path
    descriptor: int
    day: str

    def lines(self) -> list[bytes]:
        """The rows; one that was cut off by a crash is left out."""
        data = self.path.read_bytes()
        return data[: data.rfind(b"\n") + 1].splitlines()

    def name(self, origin: Origin, suffix: str) -> str:
        """Its path in the folder or bucket: by service as KServe has it, and by day as query engines want it."""
        where = f"{origin.namespace}/{origin.service}/{origin.component}/date={self.day}"
        return f"{where}/{self.path.name.removesuffix(_LINES)}.{suffix}"

    def remove(self) -> None:
        """It is where it belongs."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class OpenFile:
    """A file of the spool that rows are being added to."""

    def __init__(self, folder: Path, day: str) -> None:
        self.day = day
        self.rows = 0
        self.size = 0
        self.since = time.monotonic()
        moment = time.strftime("%H%M%S", time.gmtime())
        self.path = folder / f"{day}_{moment}-{os.getpid():x}-{time.time_ns():x}-{next(_numbers):x}{_LINES}"
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def add(self, lines: list[bytes]) -> None:
        """Add rows: on disk for this machine when it returns.

        Raises:
            OSError: the disk is full, say; none of them is there then.
        """
        data = memoryview(b"".join(line + b"\n" for line in lines))
        done = 0
        try:
            while done < len(data):
                done += os.write(self._descriptor, data[done:])
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.rows += len(lines)
        self.size += done

    def finished(self) -> Spooled:
        """Nothing more is added."""
        os.fsync(self._descriptor)
        return Spooled(self.path, self._descriptor, self.day)


def folder_of(spool: Path, origin: Origin, settings: Logging) -> Path:
    """The folder of a log in the spool, made, with its owner's name in it."""
    digest = hashlib.sha256(msgspec.json.encode((origin, settings.folder))).hexdigest()[:16]
    folder = spool / digest
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / f"{_OWNER}.{os.getpid()}"
    fresh.write_bytes(msgspec.json.encode(Owner(origin, settings)))
    fresh.replace(folder / _OWNER)
    return folder


def left_behind(folder: Path) -> Iterator[Spooled]:
    """The files of a log's folder that no living process has, now this one's."""
    for path in sorted(folder.glob(f"*{_LINES}")):
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        if os.fstat(descriptor).st_nlink:
            yield Spooled(path, descriptor, path.name.partition("_")[0])
        else:
            os.close(descriptor)


def owners(spool: Path) -> Iterator[Owner]:
    """The logs that have left rows in the spool."""
    for path in sorted(spool.glob(f"*/{_OWNER}")):
        if any(path.parent.glob(f"*{_LINES}")):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=Owner)
            except (OSError, msgspec.MsgspecError):
                continue
