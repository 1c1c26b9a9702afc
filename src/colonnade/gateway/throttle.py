"""Refusing at the gateway what the replicas of a flooded service would refuse anyway.

A refusal by a replica costs the way there and back, and under a flood of refusals that takes from the replica, and from
the services that share the gateway, the time to answer anything. So while replicas refuse, the gateway sends on only
`MARGIN` times as many requests as they take. This is the adaptive throttling of Google's "Site Reliability Engineering"
(chapter "Handling Overload") with the share of refused requests spread evenly instead of drawn by chance. The margin
keeps the queues of the replicas full and finds out when they take more. Pure: the caller brings the clock.
"""

from __future__ import annotations

import math

MARGIN = 1.5
_KEPT = 0.5  # seconds; what was seen fades so fast, so that a flood that has ended is forgotten within a second or two
_FEW = 1.0  # refusals; when fewer are remembered, the flood is over


class Throttle:
    """The throttle of one service.

    Attributes:
        active: replicas refuse. Only then it wants to know and to be asked.
    """

    __slots__ = ("_asked", "_debt", "_now", "_refused", "_taken", "active")

    def __init__(self) -> None:
        self.active = False
        self._now = 0.0
        self._asked = 0.0
        self._taken = 0.0
        self._refused = 0.0
        self._debt = 0.0

    def refused(self, now: float) -> None:
        """A replica refused a request for overload."""
        self._fade(now)
        if not self.active:
            self.active = True
            self._asked = self._taken = self._debt = 0.0
        self._refused += 1.0

    def took(self) -> None:
        """A replica answered a request, while `active`."""
        self._taken += 1.0

    def admits(self, now: float) -> bool:
        """Whether a request may go on to a replica. Ask while `active`."""
        self._fade(now)
        if self._refused < _FEW:
            self.active = False
            return True
        self._asked += 1.0
        self._debt += max(0.0, self._asked - MARGIN * self._taken - 1.0) / (self._asked + 1.0)
        if self._debt < 1.0:
            return True
        self._debt -= 1.0
        return False

    def _fade(self, now: float) -> None:
        seconds = now - self._now
        if seconds <= 0.0:
            return
        self._now = now
        kept = math.exp(-seconds / _KEPT)
        self._asked *= kept
        self._taken *= kept
        self._refused *= kept
