"""One file of a source onto the disk: ranges in any order, continued after a cut or a kill, and verified."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from colonnade.storage.blobs import digest_of
from colonnade.storage.journal import Journal, gaps
from colonnade.storage.limits import Limits
from colonnade.storage.parts import Changed, Exhausted, Part, TryAgain, holds

_WORTH = 64 << 10  # a try that brought so many bytes, or all that were missing, was none in vain


class Halted(Exception):
    """Another part of the same fetch failed."""


class Wanted(NamedTuple):
    """A range that a job is to bring; `stop` is None where the source does not say how long the file is."""

    start: int
    stop: int | None


class Download:
    """A file on its way. `ranges` says what is missing, `bring` gets it, `finish` verifies the whole."""

    def __init__(self, part: Part, scratch: Path, limits: Limits, count: Callable[[int], None]) -> None:
        """`scratch` is a folder that outlives a broken fetch; `count` is told how many bytes came (or went)."""
        name = hashlib.sha256(f"{part.path}\0{part.tag}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
        self.part = part
        self.path = scratch / f"{name}.part"
        self.stale = False  # what came is of another version than the rest would be
        self._journal = Journal(scratch / f"{name}.ranges")
        self._limits = limits
        self._count = count
        self._open = threading.Lock()
        self._left = 0

    @property
    def resumes(self) -> bool:
        """Whether what is there already may be used: the source names these very bytes and says how many."""
        return self.part.tag is not None and self.part.size is not None

    def ranges(self) -> list[Wanted]:
        """What is to be brought, each range by one job."""
        size = self.part.size
        if not self.resumes or size is None:
            self.discard()
            found = [Wanted(0, None)]
        else:
            if not self.path.exists():
                self.discard()  # a record without its file says nothing
            done = self._journal.ranges()
            missing = list(gaps(done, size, self._limits.segment_bytes))
            self._count(size - sum(stop - start for start, stop in missing))
            found = [Wanted(*gap) for gap in missing] or [Wanted(size, size)]  # one job at least: who ends it verifies
        self.path.touch(mode=0o600)
        self._left = len(found)
        return found

    def bring(self, wanted: Wanted, halted: threading.Event) -> bool:
        """Get one range, trying again as long as tries bring something. Whether it was the last of the file.

        Raises:
            Exhausted, Changed, LoadFailed: it cannot be had. What came is noted, if it can be gone on from.
            Halted: another part failed.
        """
        start, failures = wanted.start, 0
        while wanted.stop is None or start < wanted.stop:
            begun = start
            try:
                for position in self._copy(start, wanted.stop):
                    start = position
                    if halted.is_set():
                        raise Halted
                if wanted.stop is None:
                    break
                if start < wanted.stop:
                    raise TryAgain("the connection ended too early")
            except Exhausted:
                raise
            except TryAgain as error:
                failures = 0 if self.resumes and start - begun >= _WORTH else failures + 1
                if failures >= self._limits.attempts:
                    raise Exhausted(str(error)) from error
                if not self.resumes:
                    self._count(begun - start)
                    start = wanted.start
                if halted.wait(self._limits.retry_delay * 2 ** max(failures - 1, 0)):
                    raise Halted from error
        with self._open:
            self._left -= 1
            return self._left == 0

    def _copy(self, start: int, stop: int | None) -> Iterator[int]:
        """Write what the source sends from `start` on, and yield the position reached after each block."""
        position = noted = start
        source = self.part.read(start, stop)
        with self.path.open("r+b", buffering=0) as file:
            if stop is None:
                file.truncate(start)
            file.seek(start)
            try:
                for block in source:
                    piece = block if stop is None else block[: stop - position]
                    _write(file.fileno(), piece)
                    position += len(piece)
                    self._count(len(piece))
                    yield position
                    if self.resumes and position - noted >= self._limits.checkpoint_bytes:
                        noted = self._note(file.fileno(), noted, position)
                    if position == stop:
                        break
            finally:
                with contextlib.suppress(AttributeError):
                    source.close()  # type: ignore[attr-defined]  # a generator gives its connection back
                if self.resumes and position > noted:
                    self._note(file.fileno(), noted, position)

    def _note(self, descriptor: int, start: int, stop: int) -> int:
        os.fdatasync(descriptor)
        with self._open:
            self._journal.add(start, stop)
        return stop

    def finish(self) -> str:
        """SHA-256 of the complete file, which is what the source says that it is.

        Raises:
            Changed: it is not; nothing of it is kept.
        """
        part, found = self.part, self.path.stat().st_size
        digest = digest_of(self.path)
        wanted = part.digest
        if part.size is not None and found != part.size:
            self.discard()
            raise Changed(f"{part.path} has {found} bytes and its source says {part.size}")
        if wanted is not None and wanted != f"sha256:{digest}" and not holds(self.path, wanted):
            self.discard()
            raise Changed(f"{part.path} came damaged: its source gives the digest {wanted}, and it has sha256:{digest}")
        return digest

    def discard(self) -> None:
        """Forget what is there."""
        self.path.unlink(missing_ok=True)
        self._journal.path.unlink(missing_ok=True)


def _write(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]
