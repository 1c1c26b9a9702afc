"""What stands between the requests of one revision and its replicas when these fail or are flooded.

One object per revision holds the decisions of `breaker`, `outliers`, `retries`, `shares` and `throttle`, so that
whoever forwards a request tells what happened in one place. The revisions of a service share its places in the gateway
and nothing else: a canary that fails opens its own breaker. Pure: the caller brings the clock. A revision that is well
pays a few additions and comparisons for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from colonnade import defaults
from colonnade.gateway.balance import Load
from colonnade.gateway.breaker import Breaker, State
from colonnade.gateway.outliers import UNWELL, Outliers
from colonnade.gateway.retries import RetryBudget
from colonnade.gateway.shares import Share
from colonnade.gateway.throttle import Throttle
from colonnade.observe import latency


class Policy(msgspec.Struct, frozen=True):
    """The settings of one service.

    Attributes:
        slow_start: seconds until a replica that joins others gets its full share.
        eject_after: failures in a row that eject a replica; 0: none is ejected.
        max_ejected_percent: of the replicas that may be away at once.
        retry_percent: retries per 100 requests; 0: nothing is sent twice.
        breaker_after: failures of the service in a row that open its breaker; 0: it never opens.
    """

    slow_start: float = defaults.SLOW_START
    eject_after: int = defaults.EJECT_AFTER_FAILURES
    max_ejected_percent: int = defaults.MAX_EJECTED_PERCENT
    retry_percent: int = defaults.RETRY_PERCENT
    breaker_after: int = defaults.BREAKER_FAILURES


class Refused(NamedTuple):
    """Why a request may not pass: HTTP status, a label for the count, words for the caller, and when to come again."""

    status: int
    reason: str
    message: str
    retry_after: float


class Guard:
    """The guard of one revision.

    Attributes:
        in_flight: requests of this revision under way, those that wait for a replica included.
        ejections: how often a replica was ejected.
    """

    __slots__ = (
        "_alert",
        "_begun",
        "_breaker",
        "_ended",
        "_loads",
        "_outliers",
        "_policy",
        "_retries",
        "_share",
        "_shares",
        "_started",
        "_throttle",
        "ejections",
        "in_flight",
    )

    def __init__(self, share: Share, now: float) -> None:
        """`share`: the places of the service, which its revisions have in common."""
        self._share = share
        self._shares = share.shares
        self._policy = Policy()
        self._loads: tuple[Load, ...] = ()
        self._breaker = Breaker()
        self._outliers = Outliers()
        self._retries = RetryBudget(now)
        self._throttle = Throttle()
        self._alert = False  # something was wrong: the breaker and the throttle want to know and to be asked
        self.in_flight = 0
        self.ejections = 0
        # The time that requests have spent here is the sum of their ends less that of their starts.
        self._started = 0.0  # sum of the times at which those in flight began
        self._ended = 0.0  # seconds that those before them took
        self._begun: dict[int, int] = {}  # how many of those in flight began in which second

    @property
    def arrivals(self) -> int:
        """Requests that passed so far."""
        return self._retries.requests

    @property
    def state(self) -> State:
        """Of the breaker."""
        return self._breaker.state

    @property
    def trips(self) -> int:
        """How often the breaker opened."""
        return self._breaker.trips

    @property
    def retries_refused(self) -> int:
        """Retries that were not made for lack of budget."""
        return self._retries.refused

    def ejected(self, now: float) -> int:
        """Replicas that are away now."""
        return sum(load.ejected_until > now for load in self._loads)

    def update(self, policy: Policy, loads: Sequence[Load], now: float) -> None:
        """Serve with these settings and replicas from now on; a replica that joins others starts slowly."""
        if policy != self._policy:
            self._policy = policy
            share = policy.max_ejected_percent / 100
            self._outliers = Outliers(policy.eject_after, share, policy.slow_start)
            self._retries = RetryBudget(now, policy.retry_percent / 100, self._retries.requests)
            self._breaker = Breaker(policy.breaker_after)
        before = set(self._loads)
        fresh = [load for load in loads if load not in before]
        if fresh:
            self._breaker.reset()
            if len(fresh) < len(loads):
                for load in fresh:
                    load.start_slowly(now, policy.slow_start)
        self._loads = tuple(loads)

    def admit(self, now: float, *, executes: bool = True) -> Refused | None:
        """Why a request may not pass, or None if it may. `executes`: it makes a model work; health and metadata do not,
        and pass however flooded the model is.
        """
        if not self._share.admits():
            text = (
                f"{self._share.held} of its requests are under way, its share of what the gateway forwards at one time"
            )
            return Refused(503, "share", text, 1.0)
        return self._refuse(now, executes) if self._alert else None

    def begin(self, started: float) -> None:
        """Count a request that passes; `end` must follow exactly once. `started`: seconds of the clock of `spent`."""
        self.in_flight += 1
        self._started += started
        second = int(started)
        self._begun[second] = self._begun.get(second, 0) + 1
        self._share.held += 1
        self._shares.taken += 1
        self._retries.requests += 1

    def end(self, started: float, seconds: float) -> None:
        """Count its end, whatever that was, so many seconds after it `started`."""
        self.in_flight -= 1
        self._started -= started
        self._ended += seconds
        second = int(started)
        left = self._begun[second] - 1
        if left:
            self._begun[second] = left
        else:
            del self._begun[second]
        self._share.held -= 1
        self._shares.taken -= 1

    def spent(self, now: float) -> float:
        """The seconds that all requests together have been here, up to now. What this grows by in a second is the mean
        number of requests under way in it."""
        return self._ended + self.in_flight * now - self._started

    def late(self, now: float) -> list[int]:
        """Requests that have been under way for a second or more, by their age as in `observe.latency`; [] if none.

        An age is told up to a second too low, and never too high.
        """
        found: list[int] = []
        for second, count in self._begun.items():
            age = now - second - 1.0
            if age >= 1.0:
                found = found or [0] * len(latency.BOUNDS)
                found[latency.bucket(age)] += count
        return found

    def rests(self, now: float) -> bool:
        """Whether the breaker lets nothing pass now."""
        return self._breaker.rests(now)

    def answered(self, load: Load) -> None:
        """A replica answered with an HTTP status below 500."""
        load.answered()
        if self._alert:
            self._breaker.answered()
            self._throttle.took()
            self._alert = self._throttle.active

    def overloaded(self, load: Load, now: float) -> None:
        """A replica of ours refused a request for overload (429)."""
        load.answered()
        self._breaker.answered()
        self._throttle.refused(now)
        self._alert = True

    def erred(self, load: Load, status: int, now: float) -> None:
        """A replica answered with this HTTP status, 500 or above."""
        if load.failures:
            load.reached()
        if status in UNWELL:
            self.gave_up(now)
        elif self._alert:
            self._breaker.answered()
        if self._outliers.erred(load, status, self._loads, now):
            self.ejections += 1

    def failed(self, load: Load, now: float) -> None:
        """A replica was not reached, broke off, or took too long."""
        if self._outliers.failed(load, self._loads, now):
            self.ejections += 1

    def gave_up(self, now: float) -> None:
        """A request got no answer of any replica."""
        self._breaker.failed(now)
        self._alert = True

    def may_retry(self, now: float) -> bool:
        """Whether the budget has room for sending a request again; it is used by that."""
        return self._retries.take(now)

    def _refuse(self, now: float, executes: bool) -> Refused | None:
        """What the throttle and the breaker say, while something was wrong. The breaker is last: whom it lets pass
        as its trial must not be refused by anybody else."""
        if executes and self._throttle.active and not self._throttle.admits(now):
            return Refused(429, "throttle", "its replicas refuse more than they take", 1.0)
        if self._breaker.state:
            rest = self._breaker.refuse(now)
            if rest is not None:
                text = "no replica of it has answered for a while; one request at a time tries whether one does again"
                return Refused(503, "breaker", text, rest)
        return None
