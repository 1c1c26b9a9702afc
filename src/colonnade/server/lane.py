"""One worker thread with the queue before it: where a model's blocking code runs.

The queue lives on the event loop. What has gathered when the thread is free goes over as one hand-over if it is quick,
and results come back coalesced into one wake-up of the loop, so that the cost of crossing threads is shared by all
requests of a turn. No future and no lock is made per request. `batcher` stands in this queue with one work for all the
requests that wait for a shared call, and decides what it holds when its turn has come.

What has become quick (see `inline`) returns to the loop there too, and only there is it safe: the thread is free, so
the model is never entered twice. A decision on arrival alone would never come back from the thread under steady load.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from time import monotonic
from typing import Any, TypeVar

from colonnade.errors import DeadlineExceeded
from colonnade.server.overload import Admission

Done = Callable[[Any, Exception | None], None]
Quick = Callable[[], bool]
T = TypeVar("T")

_WORTH_A_HOP = 0.001  # seconds of a call; longer ones go to the thread one by one, so that what waits is seen to wait
_ENOUGH = 3  # runs before waits are estimated: the first ones are slow

EXPIRED = "The request's deadline passed while it waited for its model; nothing was executed."


class Work:
    """One call for the thread.

    Attributes:
        call: runs on the thread.
        done: runs on the loop afterwards with `(result, None)` or `(None, error)`; not after `cancel`.
        quick: asked once, on the loop, when its turn has come: says whether the call may run there instead; it may
            decide then what the call will do. None: it never may.
        dropped: nobody waits for the result any more; only the loop sets it.
        handed: it has left the queue.
        size: bytes of the request; None for a call of the server's own, which the queue's bounds do not count.
        deadline: when it is too late to begin (monotonic seconds), or None.
        arrived: when it was queued.
    """

    __slots__ = ("_lane", "arrived", "call", "deadline", "done", "dropped", "handed", "quick", "size")

    def __init__(self, lane: Lane, call: Callable[[], Any], done: Done, quick: Quick | None) -> None:
        self._lane = lane
        self.call: Callable[[], Any] | None = call
        self.done = done
        self.quick = quick
        self.dropped = False
        self.handed = False
        self.size: int | None = None
        self.deadline: float | None = None
        self.arrived = 0.0

    def cancel(self) -> None:
        """Drops it: it does not run if it has not begun, and its `done` is not called."""
        self._lane.drop(self)


Outcome = tuple[Work, Any, Exception | None]


class Lane:
    """A daemon thread that runs `Work` in order of arrival.

    All methods belong to the event loop's thread.

    Attributes:
        load: works that were submitted and are neither finished nor dropped.
    """

    def __init__(self, name: str, admission: Admission) -> None:
        """`admission`: bounds the requests that wait."""
        self.load = 0
        self._admission = admission
        self._counted = 0  # requests that the thread runs
        self._handed_at = 0.0
        self._ran = 0
        self._each = _WORTH_A_HOP  # seconds that a request took the thread at last
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Work] = deque()
        self._busy = False
        self._scheduled = False
        self._woken = False
        self._inbox: SimpleQueue[list[Work] | None] = SimpleQueue()
        self._outbox: deque[Outcome | None] = deque()  # None: the thread is free again
        self.thread = threading.Thread(target=self._run, name=f"model-{name}", daemon=True)
        self.thread.start()

    @property
    def idle(self) -> bool:
        """Whether nothing waits and the thread runs nothing, dropped work included."""
        return not self._busy and not self._queue

    def submit(
        self,
        call: Callable[[], Any],
        done: Done,
        quick: Quick | None = None,
        size: int = 0,
        deadline: float | None = None,
    ) -> Work:
        """Queues the call of a request; see `Work` for the arguments.

        Raises:
            Overloaded: too much waits already.
            DeadlineExceeded: it comes too late.
        """
        now = monotonic()
        refusal = self._admission.refuse(now, size, deadline, known=self._ran >= _ENOUGH)
        if refusal is not None:
            raise refusal
        self._admission.enqueued(size)
        work = self.append(call, done, quick)
        work.size, work.deadline, work.arrived = size, deadline, now
        return work

    def append(self, call: Callable[[], Any], done: Done, quick: Quick | None = None) -> Work:
        """Queues a call of the server's own (load, unload), which no limit refuses."""
        work = Work(self, call, done, quick)
        self.load += 1
        self._queue.append(work)
        self._schedule()
        return work

    async def run(self, call: Callable[[], T], *, limited: bool = True) -> T:
        """Awaits a call on the thread; a cancelled one is dropped.

        Raises:
            Overloaded: as `submit`, unless not `limited`.
        """
        future: asyncio.Future[T] = self._loop.create_future()
        enqueue = self.submit if limited else self.append
        work = enqueue(call, into(future))
        try:
            return await future
        except asyncio.CancelledError:
            self.drop(work)
            raise

    def drop(self, work: Work) -> None:
        """Forgets a work, see `Work.cancel`; dropping it again has no effect."""
        if not work.dropped:
            work.dropped = True
            work.call = None  # frees the request's bytes now, not when its turn comes
            self.load -= 1
            if work.size is not None and not work.handed:
                self._admission.left(work.size)

    def close(self) -> None:
        """Ends the thread after the works that it was handed; call when `idle`."""
        self._inbox.put(None)

    def _flush(self) -> None:
        """Gives everything that waits to the free thread; what is quick at the head of the queue runs here and now."""
        self._scheduled = False
        queue = self._queue
        try:
            while queue and not self._busy:
                work = queue[0]
                if work.dropped:
                    queue.popleft()
                elif work.quick is not None and work.quick():
                    queue.popleft()
                    self._begin([work])
                    outcome = _performed(work)
                    self._ended()
                    self._finish(outcome)
                else:
                    handed = [queue.popleft()]
                    while queue and self._each < _WORTH_A_HOP:
                        work = queue.popleft()
                        if not work.dropped:
                            if work.quick is not None:
                                work.quick()
                            handed.append(work)
                    self._begin(handed)
                    self._busy = True
                    self._inbox.put(handed)
        finally:
            if queue:  # a `done` failed: the loop reports it, and the others still get their turn
                self._schedule()

    def _begin(self, works: list[Work]) -> None:
        """Counts works that leave the queue to run."""
        requests = size = 0
        now = first = monotonic()
        for work in works:
            work.handed = True
            if work.size is not None:
                requests += 1
                size += work.size
                first = min(first, work.arrived)
        self._counted, self._handed_at = requests, now
        if requests:
            self._admission.started(now, now - first, requests, size)

    def _ended(self) -> None:
        if self._counted:
            now = monotonic()
            self._admission.finished(now, self._counted, now - self._handed_at, self._counted)
            self._each = (now - self._handed_at) / self._counted
            self._ran += 1
            self._counted = 0

    def _schedule(self) -> None:
        if not self._busy and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _deliver(self) -> None:
        self._woken = False
        outbox = self._outbox
        try:
            while outbox:
                outcome = outbox.popleft()
                if outcome is None:
                    self._busy = False
                    self._ended()
                    if self._queue and not self._scheduled:
                        self._flush()
                    continue
                self._finish(outcome)
        finally:
            if outbox:  # a `done` failed: the loop reports it, and the others still get theirs
                self._loop.call_soon(self._deliver)

    def _finish(self, outcome: Outcome) -> None:
        work, result, error = outcome
        if not work.dropped:
            work.dropped = True  # a late drop must not count it again
            self.load -= 1
            work.done(result, error)

    def _run(self) -> None:
        while (works := self._inbox.get()) is not None:
            for work in works:
                if work.call is not None:
                    self._post(_performed(work))
            del work, works  # keep no request alive while the thread waits
            self._post(None)

    def _post(self, outcome: Outcome | None) -> None:
        self._outbox.append(outcome)
        if not self._woken:
            self._woken = True
            try:
                self._loop.call_soon_threadsafe(self._deliver)
            except RuntimeError:  # the loop has closed: the process is ending and nobody waits
                return


def into(future: asyncio.Future[Any]) -> Done:
    """A `done` that settles a future."""

    def done(result: Any, error: Exception | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)

    return done


def _performed(work: Work) -> Outcome:
    """Runs a work's call, on whatever thread."""
    call, work.call = work.call, None
    if work.deadline is not None and work.deadline <= monotonic():
        return work, None, DeadlineExceeded(EXPIRED)
    try:
        return work, None if call is None else call(), None
    except BaseException as error:
        return work, None, contained(error)


def contained(error: BaseException) -> Exception:
    """The error as one that neither ends the loop (`SystemExit`) nor breaks a future (`StopIteration`)."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    contained = RuntimeError(f"the model's code raised {type(error).__name__}")
    contained.__cause__ = error
    return contained
