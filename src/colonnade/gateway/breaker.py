"""A circuit breaker per service: when nothing of it answers any more, its callers are told so at once.

Without one, every request waits for its time-out at replicas that hang, holds a place that other services need, and
keeps the replicas from recovering. The states are the customary ones (Nygard, "Release It!"): closed, open, and
half-open, in which one request at a time tries whether the service is back. Pure: the caller brings the clock.
"""

from __future__ import annotations

from enum import IntEnum

from colonnade import defaults


class State(IntEnum):
    """What the breaker does with requests; the number is that of the metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """The breaker of one service.

    A failure is a request that no replica answered: unreachable, broken off, over its time, or answered 502 or
    503 by a replica. An error of the model is an answer.

    Attributes:
        state: now.
        failures: in a row.
        trips: how often it opened.
    """

    __slots__ = ("_after", "_open_until", "_rest", "_trial_at", "failures", "state", "trips")

    def __init__(self, after: int = defaults.BREAKER_FAILURES) -> None:
        """`after`: failures of the service in a row, with no answer in between, that open it; 0 never does."""
        self._after = after
        self.failures = 0
        self._open_until = 0.0
        self._rest = defaults.BREAKER_FIRST
        self._trial_at: float | None = None
        self.state = State.CLOSED
        self.trips = 0

    def refuse(self, now: float) -> float | None:
        """Seconds after which the caller may come again, or None if the request may pass. Ask if not `CLOSED`."""
        if self.state is State.OPEN:
            if now < self._open_until:
                return self._open_until - now
            self.state = State.HALF_OPEN
            self._trial_at = None
        if self.state is State.CLOSED:
            return None
        if self._trial_at is not None and now - self._trial_at < self._rest:
            return self._trial_at + self._rest - now
        self._trial_at = now  # a trial whose end nobody tells, since its client left, keeps the next one for a while
        return None

    def rests(self, now: float) -> bool:
        """Whether `refuse` would refuse; unlike that, it changes nothing."""
        if self.state is State.CLOSED:
            return False
        if self.state is State.OPEN:
            return now < self._open_until
        return self._trial_at is not None and now - self._trial_at < self._rest

    def answered(self) -> None:
        """A replica answered."""
        self.failures = 0
        if self.state is not State.CLOSED:
            self.reset()

    def failed(self, now: float) -> None:
        """A request got no answer from any replica."""
        self.failures += 1
        if self.state is State.HALF_OPEN:
            self._rest = min(2 * self._rest, defaults.BREAKER_MAX)
        elif self.state is State.OPEN or not 0 < self._after <= self.failures:
            return
        self.state = State.OPEN
        self._open_until = now + self._rest
        self.trips += 1

    def reset(self) -> None:
        """Close it: the service is back, or has other replicas, of which nothing bad is known."""
        self.state = State.CLOSED
        self.failures = 0
        self._rest = defaults.BREAKER_FIRST
        self._trial_at = None
