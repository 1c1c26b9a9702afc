"""Which requests a model's queue takes, so that what it takes is answered in time.

A queue without a bound turns overload into failure: every request waits longer than its client does, and the model
works for nobody. A bound on the count alone says nothing about time. So the queue is bounded by count, by bytes and by
the wait that a new request would have. Pure: the caller brings the clock and reports what happened.

The controller is CoDel's (Nichols and Jacobson, "Controlling Queue Delay", RFC 8289), applied where a request arrives
instead of where it leaves, since a refusal at once costs its client nothing. A queue that is long for a moment is a
burst and does its work; a queue that stays long only adds delay. So a wait above `target` is allowed for `interval`,
and after that new work that would wait longer than `target` is refused until the queue has drained to it. An overload
that comes back within `MEMORY` intervals is the same one, which is allowed no further burst (section 5.4). A wait of
`BURST` targets is refused at any time, once `SAMPLES` measurements, or a `FEW` long ones, say so by their median: a
machine that was busy with something else for a moment says nothing about the model. CoDel never empties a link for one
packet larger than its target; likewise a model whose runs are slow may always hold `RUNS` of them in its queue.

The wait is an estimate: requests in the queue, times the seconds between two requests as they left it while it was
never empty. That measures batches, parallel runs and everything else that takes the model's time with one number.

A refusal is 429 with `Retry-After`: this caller, or all callers together, send more than the model takes, and nothing
of the request was executed. 503 means that nobody can answer now. A deadline that has passed is 504.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from colonnade.errors import DeadlineExceeded, Error, Overloaded

BURST = 2.0  # targets: the longest estimated wait, even for a moment
MEMORY = 16  # intervals after a refusal in which a wait above the target is no burst
RUNS = 4.0  # runs of a slow model that may always wait
SAMPLES = 8  # the newest measurements, whose median refuses a burst
FEW = 3  # of a slow model, that refuse it, too, if they add up to more than
EVIDENCE = 0.1  # seconds
_GAIN = 0.25  # weight of the newest sample in an estimate
_STEP = 5.0  # a sample counts as no more than so many times the estimate


class Admission:
    """The entrance of one model's queue. Times are seconds of one monotonic clock.

    Each request is asked about by `refuse`, then counted by `enqueued`, and then leaves by `left` (nobody waits for it
    any more) or with a run by `started`; each run ends by `finished`.

    Attributes:
        queued: requests in the queue.
        queued_bytes: bytes of their bodies.
    """

    __slots__ = (
        "_above_since",
        "_backlogged",
        "_each",
        "_interval",
        "_last_requests",
        "_last_start",
        "_max_bytes",
        "_max_requests",
        "_now",
        "_refused",
        "_run",
        "_runs",
        "_samples",
        "_target",
        "_tried",
        "queued",
        "queued_bytes",
    )

    def __init__(self, max_requests: int, max_bytes: int, target: float, interval: float) -> None:
        """Bounds of the queue.

        Args:
            max_requests: requests that may wait.
            max_bytes: bytes of the bodies that may wait; an empty queue takes a body of any size.
            target: seconds that a request may wait for long.
            interval: seconds for which waits may be above the target.
        """
        self._max_requests = max_requests
        self._max_bytes = max_bytes
        self._target = target
        self._interval = interval
        self.queued = 0
        self.queued_bytes = 0
        self._runs = 0  # under way
        self._each = 0.0  # seconds between two requests that leave the queue
        self._samples: deque[float] = deque(maxlen=SAMPLES)  # what it was learned from last
        self._run = 0.0  # seconds of a run
        self._last_start = 0.0
        self._last_requests = 0
        self._backlogged = False  # the queue has not been empty since the last start
        self._above_since: float | None = None
        self._refused = float("-inf")  # when a request was refused last for the wait that it would have had
        self._now = 0.0
        self._tried = float("-inf")  # when the estimate was last put to the test

    @property
    def estimated_wait(self) -> float:
        """Seconds that a request would have waited that had come with the last event."""
        ahead = self._each * self.queued
        if not self._runs:
            return ahead
        return ahead + max(0.0, self._last_start + self._each * self._last_requests - self._now)

    def refuse(
        self, now: float, size: int, deadline: float | None, *, known: bool = True, share: int = 1
    ) -> Error | None:
        """Why a request may not enter, or None if it may.

        Args:
            now: the time.
            size: bytes of its body.
            deadline: when its caller stops waiting, if that is known.
            known: the waits of now tell those of later. False while it is still being found out how many requests
                share a run: the first ones are slow, and only count and bytes bound the queue.
            share: requests that one run serves if so many wait.
        """
        if not self.queued and deadline is None:
            self._above_since = None
            return None
        self._now = now
        if deadline is not None and deadline <= now:
            return DeadlineExceeded("The request's deadline had passed when it arrived; nothing was executed.")
        if self.queued - (not self._runs) >= self._max_requests:  # the first one is about to run
            return self._overloaded(f"{self._max_requests} requests wait for this model already (--max-queue)")
        if self.queued and self.queued_bytes + size > self._max_bytes:
            return self._overloaded(
                f"{self.queued_bytes} bytes of requests wait for this model already; {size} more would pass "
                f"{self._max_bytes} (--max-queue-bytes)"
            )
        if not known:
            return None
        wait = self.estimated_wait
        if share > 1:  # what was learned from single requests is too much for those that will share a run
            wait = min(wait, self._run * (2 + self.queued // share))
        if deadline is not None and now + wait + self._run > deadline and not self._tries(now):
            return self._overloaded(
                f"The request would be answered in {wait + self._run:.3g} s and its deadline is in "
                f"{deadline - now:.3g} s"
            )
        target = max(self._target, RUNS * self._run)
        if wait <= target:
            self._above_since = None
            return None
        if self._above_since is None:
            again = now - self._refused < MEMORY * self._interval
            self._above_since = float("-inf") if again else now
        if now - self._above_since >= self._interval or (wait > BURST * target and self._typical_wait > BURST * target):
            self._refused = now
            return self._overloaded(f"The request would wait {wait:.3g} s; the target is {target:.3g} s")
        return None

    @property
    def _typical_wait(self) -> float:
        """As `estimated_wait` of the queue alone, from the median of the newest measurements; 0 for little evidence."""
        known = len(self._samples)
        if known < FEW or (known < SAMPLES and sum(self._samples) < EVIDENCE):
            return 0.0
        return _median(self._samples) * self.queued

    def _tries(self, now: float) -> bool:
        """Whether an idle model takes work that the estimate says is too much: now and then, or an estimate that is too
        high would never be corrected."""
        if self._runs or self.queued or now - self._tried < self._interval:
            return False
        self._tried = now
        return True

    def enqueued(self, size: int) -> None:
        """Count a request that waits."""
        self.queued += 1
        self.queued_bytes += size

    def left(self, size: int) -> None:
        """Count a request that waits no more and does not run: it was cancelled, or its deadline has passed."""
        self.queued -= 1
        self.queued_bytes -= size
        if not self.queued:
            self._backlogged = False

    def started(self, now: float, waited: float, requests: int, size: int) -> None:
        """Count requests that leave the queue for one run.

        Args:
            now: the time.
            waited: seconds that the first of them has waited.
            requests: how many.
            size: bytes of their bodies.
        """
        self.queued -= requests
        self.queued_bytes -= size
        if self._backlogged:
            self._learn((now - self._last_start) / self._last_requests)
            if self._above_since is None and waited > max(self._target, RUNS * self._run):
                self._above_since = now
        self._runs += 1
        self._last_start = self._now = now
        self._last_requests = requests
        self._backlogged = self.queued > 0

    def finished(self, now: float, requests: int, seconds: float, runs: int = 1) -> None:
        """Count the end of a run.

        Args:
            now: the time.
            requests: how many ran.
            seconds: how long.
            runs: into how many calls of the model, one after the other, it fell.
        """
        self._runs -= 1
        self._now = now
        run = seconds / runs
        self._run = run if not self._run else self._run + _GAIN * (run - self._run)
        if not self._backlogged:
            self._learn(seconds / requests)

    def _learn(self, each: float) -> None:
        """Moves the estimate; one sample at most doubles it, as the machine may have done something else for once."""
        known = self._each
        self._samples.append(each)
        self._each = known + _GAIN * (min(each, _STEP * known) - known) if known else each

    def _overloaded(self, why: str) -> Overloaded:
        """The refusal, with the time after which the queue will have drained to its target."""
        after = max(self._interval, self.estimated_wait - self._target)
        return Overloaded(f"{why}; nothing was executed, try again in {after:.1f} s.", retry_after=after)


def _median(values: Iterable[float]) -> float:
    """That of `statistics`, which takes each start 2 ms, for fractions that nobody here has."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2
