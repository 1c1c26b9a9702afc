"""What the processes of replicas use of cpu and memory, from /proc. See proc(5).

A replica is a process group: its server and whatever that started. One pass over /proc serves all replicas, so its cost
does not grow with their number.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_GROUP, _TIMES, _RESIDENT = 2, slice(11, 15), 21  # of the fields from `state` on
SHORTEST = 1.0  # seconds between two looks; a share of a shorter time says little


class Used(NamedTuple):
    """Cores in the mean since the look before, and bytes now."""

    cpu: float
    memory: float


class _Total(NamedTuple):
    seconds: float  # of cpu since the start, with children that ended
    memory: float


class Uses:
    """What process groups use. Asked again within a second, it tells what it saw."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, look: Callable[[], Mapping[int, _Total]] | None = None
    ) -> None:
        self._clock = clock
        self._look = look or totals
        self._at = clock()
        self._totals = self._look()
        self._used: dict[int, Used] = {}

    def of(self, group: int) -> Used | None:
        """What a process group uses; None if it was not there at both of the last looks."""
        now = self._clock()
        if now - self._at >= SHORTEST:
            before, self._totals = self._totals, self._look()
            passed, self._at = now - self._at, now
            self._used = {
                each: Used(max(0.0, total.seconds - before[each].seconds) / passed, total.memory)
                for each, total in self._totals.items()
                if each in before
            }
        return self._used.get(group)


def totals() -> dict[int, _Total]:
    """What all process groups have used, by group."""
    found: dict[int, _Total] = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            fields = Path("/proc", entry, "stat").read_bytes().rpartition(b")")[2].split()
        except OSError:  # it ended
            continue
        group = int(fields[_GROUP])
        seconds, memory = found.get(group, _Total(0.0, 0.0))
        ticks = sum(map(int, fields[_TIMES]))
        found[group] = _Total(seconds + ticks / _TICKS, memory + int(fields[_RESIDENT]) * _PAGE)
    return found
