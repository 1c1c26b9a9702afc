"""Requests that wait in the gateway for a replica: none is there yet, or all have as many requests as they may.

First come, first served: whoever came first goes first, whatever its size. The queue is bounded by number and by bytes,
and each request in it by time, so a service that never wakes costs its callers an answer and the gateway nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple, Protocol

from colonnade.gateway.routes import Hold
from colonnade.gateway.timeouts import Timeouts


class Waiter(Hashable, Protocol):
    """A request that can wait. It has left the queue when one of these is called."""

    def released(self) -> None:
        """Its turn has come."""

    def expired(self) -> None:
        """It has waited as long as it may."""


class _Place(NamedTuple):
    size: int
    slot: int


class Waiting:
    """The queue of one revision."""

    __slots__ = ("_bytes", "_places", "_timeouts")

    def __init__(self, timeouts: Timeouts[Waiter]) -> None:
        """`timeouts`: of all queues of the gateway."""
        self._timeouts = timeouts
        self._places: OrderedDict[Waiter, _Place] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._places)

    def add(self, waiter: Waiter, size: int, hold: Hold, since: float) -> bool:
        """Put a request of so many bytes at the end; False if there is no room. `since`: when it began to wait, maybe
        in another queue, by the event loop's clock.
        """
        if len(self._places) >= hold.requests or self._bytes + size > hold.bytes:
            return False
        slot = self._timeouts.add(waiter, since + hold.seconds)
        self._places[waiter] = _Place(size, slot)
        self._bytes += size
        return True

    def remove(self, waiter: Waiter) -> None:
        """Take a request out, if it is in."""
        place = self._places.pop(waiter, None)
        if place is not None:
            self._leave(waiter, place)

    def pop(self) -> Waiter:
        """Take out the first one."""
        waiter, place = self._places.popitem(last=False)
        self._leave(waiter, place)
        return waiter

    def _leave(self, waiter: Waiter, place: _Place) -> None:
        self._bytes -= place.size
        self._timeouts.remove(waiter, place.slot)
