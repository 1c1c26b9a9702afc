"""Which replica takes the next request: the one with the least requests outstanding.

Least outstanding adapts to replicas of unequal speed with no measurement and no tuning, which round robin does not; the
round robin among equals spreads a trickle of requests that would else all go to the first replica. Of many replicas
two are drawn and the better one is taken: that is nearly as even (Mitzenmacher, "The Power of Two Choices in Randomized
Load Balancing", 1996), and its cost does not grow with their number. A replica that joins others, or comes back to
them, starts slowly: its caches are cold, and with nothing outstanding it would get every request at once. Pure: the
caller brings the clock and reports what happened.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from typing import Generic, Protocol, TypeVar

BACKOFF_FIRST = 0.1  # seconds without new requests after a first failed connect, doubled for each further one
BACKOFF_MAX = 5.0
MANY = 8  # of more replicas than these, two are drawn
COLD = 0.1  # the share of a full load with which a slow start begins


class Load:
    """What the gateway knows of one replica's load and health. Times are monotonic seconds.

    Attributes:
        outstanding: requests under way.
        failures: failed connects in a row.
        retry_at: it is left alone until then, after a failed connect.
        ejected_until: likewise, since `outliers` found it bad.
        warm_at: the end of its slow start.
        calm_at: the latest of these three: from then on it is like any other.
    """

    __slots__ = (
        "calm_at",
        "ejected_until",
        "ejections",
        "failures",
        "outstanding",
        "retry_at",
        "row",
        "warm_at",
        "warm_up",
        "window_answers",
        "window_errors",
    )

    def __init__(self) -> None:
        self.outstanding = 0
        self.failures = 0
        self.retry_at = 0.0
        self.ejected_until = 0.0
        self.warm_at = 0.0
        self.warm_up = 0.0  # seconds that the slow start takes
        self.calm_at = 0.0
        # For `outliers`: ejections not forgotten yet, failures in a row, answers and errors of this window.
        self.ejections = 0
        self.row = 0
        self.window_answers = 0
        self.window_errors = 0

    def answered(self) -> None:
        """The replica answered, and not with an error."""
        self.window_answers += 1
        if self.row:
            self.row = 0
        if self.failures:
            self.reached()

    def reached(self) -> None:
        """A request reached the replica: forget failed connects."""
        self.failures = 0
        self.retry_at = 0.0
        self.calm_at = max(self.ejected_until, self.warm_at)

    def unreachable(self, now: float) -> None:
        """A connect failed at `now`: leave the replica alone for a while."""
        self.retry_at = now + min(BACKOFF_FIRST * 2.0 ** min(self.failures, 16), BACKOFF_MAX)
        self.failures += 1
        self.calm_at = max(self.calm_at, self.retry_at)

    def eject(self, until: float, warm_up: float) -> None:
        """Leave the replica alone until then, and let it start slowly afterwards."""
        self.ejected_until = until
        self.start_slowly(until, warm_up)

    def start_slowly(self, now: float, seconds: float) -> None:
        """Give the replica its full share only `seconds` after `now`."""
        self.warm_at = now + seconds
        self.warm_up = seconds
        self.calm_at = max(self.calm_at, self.warm_at, self.ejected_until)

    def available_at(self) -> float:
        """When it may get requests."""
        return max(self.retry_at, self.ejected_until)

    def score(self, now: float) -> float:
        """How loaded it would be with one more request, in shares of what it can take now."""
        if self.calm_at <= now or self.warm_at <= now:
            return self.outstanding + 1.0
        warmth = 1.0 - (self.warm_at - now) / self.warm_up
        return (self.outstanding + 1.0) / max(COLD, warmth)


class Loaded(Protocol):
    """What can be balanced: anything that has a load."""

    @property
    def load(self) -> Load: ...


T = TypeVar("T", bound=Loaded)


class Balancer(Generic[T]):
    """Picks among the replicas of one service. `draw(n)` gives a random number below n."""

    __slots__ = ("_draw", "_next", "members")

    def __init__(self, members: Sequence[T], draw: Callable[[int], int] | None = None) -> None:
        self.members = tuple(members)
        self._next = 0
        self._draw = draw or _draw

    def pick(self, now: float, tried: Collection[T] = ()) -> T | None:
        """The replica for the next request, or None if all were tried.

        Replicas in `tried` are left out. Those that are left alone for a while are left out too, unless nothing else
        remains: a request that may fail is better than one that is sure to.
        """
        members = self.members
        count = len(members)
        if count == 1 and not tried:
            return members[0]
        if count > MANY and not tried:
            drawn = self._of_two(now)
            if drawn is not None:
                return drawn
        best: T | None = None
        least = 0.0
        waiting: T | None = None
        for step in range(count):
            member = members[(self._next + step) % count]
            if member in tried:
                continue
            load = member.load
            if load.calm_at <= now:
                score = load.outstanding + 1.0
            elif load.available_at() > now:
                if waiting is None or load.available_at() < waiting.load.available_at():
                    waiting = member
                continue
            else:
                score = load.score(now)
            if best is None or score < least:
                best, least = member, score
        chosen = best or waiting
        if chosen is not None:
            self._next = (members.index(chosen) + 1) % count
        return chosen

    def has_untried(self, tried: Collection[T]) -> bool:
        """Whether `pick` would find one."""
        return any(member not in tried for member in self.members)

    def _of_two(self, now: float) -> T | None:
        """The better one of two that are drawn; None if neither may get requests now."""
        members = self.members
        first = self._draw(len(members))
        second = self._draw(len(members) - 1)
        one, other = members[first], members[second + (second >= first)]
        if one.load.calm_at <= now and other.load.calm_at <= now:
            return one if one.load.outstanding <= other.load.outstanding else other
        found = [member for member in (one, other) if member.load.available_at() <= now]
        return min(found, key=lambda member: member.load.score(now), default=None)


def _draw(below: int) -> int:
    return int(random.random() * below)  # noqa: S311
