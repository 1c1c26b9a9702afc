"""Which replica takes the next request: the one with the least requests outstanding.

Least outstanding adapts to replicas of unequal speed with no measurement and no tuning, which round robin does not; the
round robin among equals spreads a trickle of requests that would else all go to the first replica. Pure: the caller
brings the clock and reports what happened.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Generic, Protocol, TypeVar

BACKOFF_FIRST = 0.1  # seconds without new requests after a first failed connect, doubled for each further one
BACKOFF_MAX = 5.0


class Load:
    """What the gateway knows of one replica's load and reachability."""

    __slots__ = ("failures", "outstanding", "retry_at")

    def __init__(self) -> None:
        self.outstanding = 0
        self.failures = 0
        self.retry_at = 0.0

    def reached(self) -> None:
        """A request reached the replica: forget failed connects."""
        self.failures = 0
        self.retry_at = 0.0

    def unreachable(self, now: float) -> None:
        """A connect failed at `now` (monotonic seconds): leave the replica alone for a while."""
        self.retry_at = now + min(BACKOFF_FIRST * 2.0 ** min(self.failures, 16), BACKOFF_MAX)
        self.failures += 1


class Loaded(Protocol):
    """What can be balanced: anything that has a load."""

    @property
    def load(self) -> Load: ...


T = TypeVar("T", bound=Loaded)


class Balancer(Generic[T]):
    """Picks among the replicas of one service."""

    __slots__ = ("_next", "members")

    def __init__(self, members: Sequence[T]) -> None:
        self.members = tuple(members)
        self._next = 0

    def pick(self, now: float, tried: Collection[T] = ()) -> T | None:
        """The replica for the next request, or None if all were tried.

        Replicas in `tried` are left out. Those in back-off are left out too, unless nothing else remains: a request
        that may fail is better than one that is sure to.
        """
        members = self.members
        count = len(members)
        if count == 1 and not tried:
            return members[0]
        best: T | None = None
        waiting: T | None = None
        for step in range(count):
            member = members[(self._next + step) % count]
            if member in tried:
                continue
            if member.load.retry_at > now:
                if waiting is None or member.load.retry_at < waiting.load.retry_at:
                    waiting = member
            elif best is None or member.load.outstanding < best.load.outstanding:
                best = member
        chosen = best or waiting
        if chosen is not None:
            self._next = (members.index(chosen) + 1) % count
        return chosen

    def has_untried(self, tried: Collection[T]) -> bool:
        """Whether `pick` would find one."""
        return any(member not in tried for member in self.members)
