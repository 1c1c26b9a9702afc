"""Models of services that sleep, kept in memory without a process: `parked`, between warm and gone.

When the last replica of a service ends, its model's files are in the kernel's page cache, and leave it as other files
come. So they are read again and again, as long as all that is parked stays within a budget; the ones that were parked
last come first. That holds no memory that a program needs: the kernel gives it away, and the next look asks for it
again. A request that wakes a service has its files read at once, while the process starts.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from colonnade.net.background import Background
from colonnade.platforms import pagecache

PERIOD = 30.0  # seconds between looks at what is parked
_SHARE = 4  # of the machine's memory


def allowance() -> int:
    """The budget where nobody gives another: a quarter of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _SHARE


class Parked(NamedTuple):
    """The model of a service that sleeps: its files and folders, and their bytes."""

    paths: tuple[Path, ...]
    size: int


def weights(argv: Sequence[str]) -> list[Path]:
    """What a command line of the built-in server says to load."""
    return [Path(value) for flag, value in pairwise(argv) if flag == "--model-dir"][-1:]


def within(parked: Mapping[str, Parked], budget: int) -> list[str]:
    """The names of what fits the budget, the newest first. Pure.

    What does not fit is left out, and older ones that do are not, as each is of use by itself. `parked` is in the order
    in which it was parked.
    """
    kept: list[str] = []
    for name in reversed(list(parked)):
        if parked[name].size <= budget:
            kept.append(name)
            budget -= parked[name].size
    return kept


class Parking:
    """What is parked. Belongs to one event loop.

    Args:
        budget: bytes of all that is parked; 0 parks nothing.
        changed: called with a name that is parked from now on, or no more.
    """

    def __init__(self, budget: int, changed: Callable[[str], None] = lambda name: None) -> None:
        self._budget = budget
        self._changed = changed
        self._parked: dict[str, Parked] = {}
        self._kept: set[str] = set()
        self._reading = Background()

    async def park(self, name: str, paths: Sequence[Path]) -> int:
        """The last replica of a service has ended. Returns the bytes that are parked for it, 0 if none are."""
        if not self._budget or not paths:
            return 0
        size = await asyncio.to_thread(pagecache.size, paths)
        self._parked.pop(name, None)
        self._parked[name] = Parked(tuple(paths), size)
        self._choose()
        return size if name in self._kept else 0

    def wake(self, name: str, paths: Sequence[Path]) -> None:
        """A replica starts: it is read beside that what it will load."""
        self.forget(name)
        self._read(paths)

    def forget(self, name: str) -> None:
        """It is parked no more."""
        if self._parked.pop(name, None) is not None:
            self._choose()

    def all(self) -> dict[str, int]:
        """The bytes that are parked, by service."""
        return {name: self._parked[name].size for name in sorted(self._kept)}

    def parked(self, name: str) -> int:
        """The bytes that are parked for a service."""
        return self._parked[name].size if name in self._kept else 0

    async def run(self) -> None:
        """Keep what is parked in memory, until cancelled."""
        try:
            while True:
                for name in sorted(self._kept):
                    found = self._parked.get(name)
                    if found is not None:
                        await asyncio.to_thread(pagecache.read_ahead, found.paths)
                await asyncio.sleep(PERIOD)
        finally:
            for task in self._reading:
                task.cancel()

    def _choose(self) -> None:
        before, self._kept = self._kept, set(within(self._parked, self._budget))
        for name in sorted(before ^ self._kept):
            self._changed(name)

    def _read(self, paths: Iterable[Path]) -> None:
        self._reading.start(asyncio.to_thread(pagecache.read_ahead, tuple(paths)))
