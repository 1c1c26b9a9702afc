"""One file under examination, and what a format says of it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from colonnade.storage.scan.report import Damaged, Risk


class Remark(NamedTuple):
    """What is noteworthy in a file."""

    risk: Risk
    message: str


@dataclass(frozen=True, slots=True)
class Subject:
    """A regular file of an artefact.

    Attributes:
        path: where it lies.
        name: its path in the artefact, `/` between parts.
        size: in bytes.
        folder: the artefact's folder; that of the file where the artefact is one file.
    """

    path: Path
    name: str
    size: int
    folder: Path

    def open(self) -> BufferedReader:
        """The file, to be read; without waiting, should a pipe have taken its place."""
        return open(os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb")

    def head(self, size: int = 64) -> bytes:
        """Its first bytes."""
        with self.open() as file:
            return file.read(size)

    @contextmanager
    def mapped(self) -> Iterator[mmap.mmap]:
        """Its bytes, in memory as far as they are looked at.

        Raises:
            Damaged: it is empty.
        """
        with self.open() as file:
            if not self.size:
                raise Damaged("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                yield content


Look = Callable[[Subject], Iterator[Remark]]
"""Reads a file as one format. Raises `Damaged`, `Bomb` or an error of the system."""
