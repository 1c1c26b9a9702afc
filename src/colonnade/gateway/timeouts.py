"""When requests have taken too long: one timer for all of them.

A timer of the event loop per request costs more than the routing of one. Here a request is put into the slot of its
deadline, some hundredths of a second wide, and taken out when it ends: two operations on a set. Only the next slot has
a timer, so a request without a deadline, and a gateway without requests, cost nothing.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

SLOT = 0.02  # seconds; a timeout comes at most so late

T = TypeVar("T", bound=Hashable)


class Timeouts(Generic[T]):
    """Calls `expired` with what was added and not removed by its deadline."""

    def __init__(self, expired: Callable[[T], None]) -> None:
        self._expired = expired
        self._slots: dict[int, set[T]] = {}
        self._order: list[int] = []  # a heap of the slots
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0  # the slot that the timer is for

    def add(self, item: T, deadline: float) -> int:
        """Watch an item until `deadline` (seconds of the event loop's clock). Returns its slot, for `remove`."""
        slot = int(deadline / SLOT) + 1
        items = self._slots.get(slot)
        if items is None:
            items = self._slots[slot] = set()
            heapq.heappush(self._order, slot)
            if self._timer is None or slot < self._next:
                self._arm(slot)
        items.add(item)
        return slot

    def remove(self, item: T, slot: int) -> None:
        """Watch it no more."""
        items = self._slots.get(slot)
        if items is not None:
            items.discard(item)

    def _arm(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = slot
        self._timer = asyncio.get_running_loop().call_at(slot * SLOT, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        try:
            while self._order and self._order[0] * SLOT <= now:
                items = self._slots.pop(heapq.heappop(self._order))
                while items:
                    self._expired(items.pop())
        finally:
            if self._order and self._timer is None:
                self._arm(self._order[0])
