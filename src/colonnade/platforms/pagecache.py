"""Files in the memory that the kernel lends for them: asked to be read, and counted.

A process that maps or reads a file finds it there or waits for the disk. What is read ahead costs nobody else anything:
the kernel takes the memory back when a program needs it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


def files(path: Path) -> Iterator[Path]:
    """The file, or all below the folder."""
    if path.is_file():
        yield path
        return
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)


def size(paths: Iterable[Path]) -> int:
    """Bytes of all these files and folders; what cannot be looked at counts nothing."""
    total = 0
    for path in paths:
        for file in files(path):
            try:
                total += file.stat().st_size
            except OSError:
                continue
    return total


def read_ahead(paths: Iterable[Path]) -> int:
    """Have the kernel read all of these files and folders, and keep what it has of them. Returns their bytes.

    Blocks for as long as the disk has no room for further requests; what is in memory takes some microseconds.
    """
    total = 0
    for path in paths:
        for file in files(path):
            try:
                descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:  # gone, or not ours to read: the replica will say so
                continue
            try:
                total += os.fstat(descriptor).st_size
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            except OSError:  # a file of a kind that has no pages
                continue
            finally:
                os.close(descriptor)
    return total
