"""When requests have taken too long: one timer for all of them.

A timer of the event loop per request costs more than the routing of one. Here a request is put into the slot of its
deadline, some hundredths of a second wide, and taken out when it ends: two operations on a set. Only the next slot has
a timer, so a request without a deadline, and a gateway without requests, cost nothing. A slot goes with the last of its
requests. A timer that was for it stays, since the next request mostly needs one just then, and if not, it looks once.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

SLOT = 0.02  # seconds; a timeout comes at most so late

_STALE = 64  # numbers of slots that are gone, beside as many as there are slots, before they are cleared away

T = TypeVar("T", bound=Hashable)


class Timeouts(Generic[T]):
    """Calls `expired` with what was added and not removed by its deadline."""

    def __init__(self, expired: Callable[[T], None]) -> None:
        self._expired = expired
        self._slots: dict[int, set[T]] = {}
        self._order: list[int] = []  # a heap of the slots, with some that are gone
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0  # the slot that the timer is for

    def add(self, item: T, deadline: float) -> int:
        """Watch an item until `deadline` (seconds of the event loop's clock). Returns its slot, for `remove`."""
        slot = int(deadline / SLOT) + 1
        items = self._slots.get(slot)
        if items is None:
            items = self._slots[slot] = set()
            heapq.heappush(self._order, slot)
            if len(self._order) > 2 * len(self._slots) + _STALE:
                self._order = sorted(self._slots)  # which is a heap
            if self._timer is None or slot < self._next:
                self._arm(slot)
        items.add(item)
        return slot

    def remove(self, item: T, slot: int) -> None:
        """Watch it no more."""
        items = self._slots.get(slot)
        if items is not None:
            items.discard(item)
            if not items:
                del self._slots[slot]

    def _arm(self, slot: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = slot
        self._timer = asyncio.get_running_loop().call_at(slot * SLOT, self._look)

    def _look(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._order and (self._order[0] * SLOT <= now or self._order[0] not in self._slots):
            slot = heapq.heappop(self._order)
            items = self._slots.get(slot)
            while items:  # it stays in its place meanwhile: one that expires may end another
                self._expire(items.pop())
            if items is not None and self._slots.get(slot) is items:
                del self._slots[slot]
        if self._order and (self._timer is None or self._order[0] < self._next):
            self._arm(self._order[0])

    def _expire(self, item: T) -> None:
        try:
            self._expired(item)
        except Exception as error:
            context = {"message": "the end of a request that took too long failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
