"""Which bytes of a file are on the disk: what a download that was cut or killed goes on from.

Appended to after the bytes are synced, one range to a line, so a kill at any point costs at most the last entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Range = tuple[int, int]
"""Bytes from the first number up to and without the second."""


@dataclass(frozen=True, slots=True)
class Journal:
    """The record of one file."""

    path: Path

    def ranges(self) -> list[Range]:
        """What is there, merged. Lines that a kill cut short are passed over."""
        try:
            lines = self.path.read_text("ascii", "replace").split("\n")[:-1]
        except FileNotFoundError:
            return []
        return merged([found for line in lines if (found := _parsed(line)) is not None])

    def add(self, start: int, stop: int) -> None:
        """Note that these bytes are on the disk."""
        with self.path.open("ab") as file:
            file.write(b"\n%d %d\n" % (start, stop))  # one write; the line break before it ends a torn line


def _parsed(line: str) -> Range | None:
    words = line.split(" ")
    if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
        return None
    start, stop = int(words[0]), int(words[1])
    return (start, stop) if start < stop else None


def merged(ranges: Sequence[Range]) -> list[Range]:
    """The same bytes as ranges that neither touch nor overlap, in order."""
    found: list[Range] = []
    for start, stop in sorted(ranges):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return found


def gaps(done: Sequence[Range], size: int, segment: int) -> Iterator[Range]:
    """What of a file of `size` bytes is missing, cut so that nothing is longer than `segment`. `done` is merged."""
    position = 0
    for start, stop in (*done, (size, size)):
        while position < min(start, size):
            end = min(position + segment, start, size)
            yield position, end
            position = end
        position = max(position, stop)
