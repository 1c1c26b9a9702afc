"""Requests of a model on their way through shared calls: the queue, the moment of each call, and who gets which rows.

The queue lives on the event loop. It is emptied once a turn while the model may run there, so that what arrived in one
turn is one call; and else whenever a thread of the model is free. To wait for the end of a turn costs another look at
the sockets, a third of a lone request's time, so a request that comes some time after the last call runs at once.

What is wrong with a request is refused when it arrives, alone. How a batch is run is in `batch`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from time import monotonic, thread_time
from typing import Any

from colonnade.errors import DeadlineExceeded
from colonnade.model.binding import Operation
from colonnade.model.offloading import NotInline
from colonnade.server.batch import Call, Instance, Outcome, computed
from colonnade.server.batching import Batching, Gain, holds, take
from colonnade.server.inline import LIMIT, RunTimes, fits_loop
from colonnade.server.lane import EXPIRED
from colonnade.server.overload import Admission

_log = logging.getLogger(__name__)

APART = 30e-6  # seconds between two requests that are not of one turn of the event loop
_MAX_KINDS = 256  # kinds of calls whose gain is remembered


class Batcher:
    """The shared calls of one model. It belongs to the event loop's thread.

    Attributes:
        load: requests that were submitted and are neither finished nor dropped.
    """

    def __init__(
        self,
        name: str,
        instances: Sequence[Instance],
        batching: Batching,
        admission: Admission,
        times: RunTimes | None,
        settle: Callable[[], None],
        observe: Callable[[float], None],
    ) -> None:
        """
        Args:
            name: the model's.
            instances: at least one; only the first may run on the event loop.
            admission: bounds the requests that wait.
            times: decides whether calls run on the event loop; None if they never may.
            settle: called after each call of the model.
            observe: takes the number of rows of each call.
        """
        self.load = 0
        self._name = name
        self._instances = instances
        self._batching = batching
        self._admission = admission
        self._timed = 0  # requests with a deadline that wait
        self._threaded = False  # the queue waits for a thread
        self._times = times
        self._settle = settle
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._joining = instances[0].joined.joining
        self._queue: deque[Call] = deque()
        self._gains: dict[Hashable, Gain] = {}
        self._scheduled = False
        self._shared = False  # the last call was made for several requests
        self._apart = 0.0  # a request that comes later (monotonic seconds) is not of the turn of the last call
        self._holding: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None  # resolved after each call

    def submit(self, call: Call, operation: Operation, payload: Any, size: int) -> bool:
        """Queues a request.

        Args:
            call: gets the outcome.
            operation: one that has steps.
            payload: the decoded request.
            size: bytes of its body.

        Returns:
            False if it cannot share a call, and must be run by itself.

        Raises:
            Overloaded: too much waits already.
            DeadlineExceeded: it comes too late.
            Exception: the request does not fit the model.
        """
        steps = operation.steps
        assert steps is not None
        joining = self._joining
        if steps.check is not None and not joining.named:
            steps.check(payload)
        arguments = steps.make(payload)
        kind = joining.kind(arguments)
        if kind is None:
            return False
        key, call.rows = kind
        gain = self._gains.get((operation, key))
        if gain is None:
            if steps.check is not None:
                steps.check(payload)  # for all of its kind
            gain = self._new_gain((operation, key))
        now, deadline = monotonic(), call.deadline
        admission = self._admission
        if self._threaded or deadline is not None:  # what runs on the loop is gone at the end of each turn
            refusal = admission.refuse(now, size, deadline, known=gain.settled, share=gain.limit)
            if refusal is not None:
                raise refusal
            if deadline is not None:
                self._timed += 1
        admission.enqueued(size)
        call.steps = steps
        call.payload = payload
        call.arguments = arguments
        call.gain = gain
        call.size = size
        call.dropped = call.taken = False
        call.batcher = self
        self.load += 1
        self._queue.append(call)
        call.arrived = now
        if not self._scheduled:
            if self._shared or now < self._apart:
                self._scheduled = True
                self._loop.call_soon(self._flush)
            else:
                self._flush()
        return True

    def prepare(self, call: Call, operation: Operation, payload: Any) -> None:
        """Makes a call ready for `compute`, for trials that stand in no queue.

        Raises:
            ValueError: it cannot share a call.
            Exception: the request does not fit the model.
        """
        steps = operation.steps
        assert steps is not None
        if steps.check is not None:
            steps.check(payload)
        call.arguments = steps.make(payload)
        kind = self._joining.kind(call.arguments)
        if kind is None:
            raise ValueError("it has no rows")
        key, call.rows = kind
        call.steps, call.payload, call.dropped = steps, payload, False
        call.gain = self._gains.get((operation, key)) or self._new_gain((operation, key))

    def compute(self, calls: list[Call]) -> list[Outcome]:
        """The outcomes of prepared calls, computed together by the first instance; on its thread."""
        return computed(self._instances[0].joined, calls, self._batching, self._name)

    def drop(self, call: Call) -> None:
        """See `Call.cancel`; dropping it again has no effect."""
        if call.dropped:
            return
        call.dropped = True
        self.load -= 1
        try:
            self._queue.remove(call)  # with its bytes, which nothing keeps until its turn comes
        except ValueError:
            return  # it is in a batch that has begun
        self._leave(call)
        self._tell_if_empty()

    async def emptied(self) -> None:
        """Waits until nothing is waiting or running."""
        while self.load or any(instance.work is not None for instance in self._instances):
            self._emptied = self._loop.create_future()
            await self._emptied

    # When.

    def _flush(self) -> None:
        """Runs here what may run here; what remains waits for a free thread."""
        self._scheduled = False
        try:
            if not self._holds():
                while self._queue and self._run_here():
                    pass
                self._ask_threads()
        finally:
            if self._queue and not self._holding and not any(instance.work for instance in self._instances):
                self._schedule()  # a `settle` failed: the loop reports it, and the others still get their turn

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _run_here(self) -> bool:
        """Runs one call on the loop if it is surely quick enough for that."""
        times, first = self._times, self._instances[0]
        if times is None or times.loop_size < 0 or first.work is not None or not first.lane.idle:
            return False
        batch = self._form()
        if not batch:
            return True
        size = batch[0].size if len(batch) == 1 else sum([call.size for call in batch])
        if not fits_loop(times, size):
            self._queue.extendleft(reversed(batch))
            return False
        self._take(batch, size)
        first.clock, first.spent = (thread_time if times.doubts else monotonic), 0.0
        start = monotonic()
        try:
            outcomes = computed(first.joined, batch, self._batching, self._name)
        except NotInline:
            self._move(first, batch)
            return False
        if times.doubts or first.spent >= LIMIT:
            times.add_on_loop(first.spent, size)
        self._deliver(batch, outcomes, monotonic() - start)
        return True

    def _move(self, instance: Instance, batch: list[Call]) -> None:
        """Gives a batch that has begun on the loop to the thread, for which the model has asked."""
        instance.batch = batch
        run, ran = partial(self._run_there, instance), partial(self._ran_there, instance)
        instance.work = instance.lane.append(run, ran)

    def _ask_threads(self) -> None:
        """Stands in the queue of each thread, as far as there is work for it."""
        self._threaded = bool(self._queue)
        if not self._threaded:
            return
        for instance in self._instances:
            if instance.work is None:
                run, ran = partial(self._run_there, instance), partial(self._ran_there, instance)
                instance.work = instance.lane.append(run, ran, partial(self._fill, instance))

    def _fill(self, instance: Instance) -> bool:
        """A thread is free: decides what it runs. True: nothing, or what the loop itself can."""
        batch = instance.batch = self._form()
        if not batch:
            return True
        size = sum([call.size for call in batch])
        self._take(batch, size)
        return self._times is not None and fits_loop(self._times, size)

    def _run_there(self, instance: Instance) -> tuple[list[Outcome], float]:
        """Runs on the thread."""
        batch = instance.batch
        if not batch:
            return [], 0.0
        begun = monotonic()
        instance.clock, instance.spent = thread_time, 0.0
        outcomes = computed(instance.joined, batch, self._batching, self._name)
        if self._times is not None:
            self._times.add(instance.spent, sum([call.size for call in batch]))
        return outcomes, monotonic() - begun

    def _ran_there(
        self, instance: Instance, result: tuple[list[Outcome], float] | None, error: Exception | None
    ) -> None:
        instance.work = None
        batch, instance.batch = instance.batch, []
        try:
            if isinstance(error, NotInline):
                self._move(instance, batch)
            elif batch:
                outcomes, seconds = result or ([(None, error)] * len(batch), 0.0)
                self._deliver(batch, outcomes, seconds)
        finally:
            if self._queue:
                self._schedule()
            self._tell_if_empty()

    def _holds(self) -> bool:
        """Whether what waits is held for more rows."""
        if not self._batching.max_latency or not self._queue:
            return False
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None
        first = self._queue[0]
        waiting = sum([call.rows for call in self._queue])
        seconds = holds(waiting, monotonic() - first.arrived, first.gain.limit, self._shared, self._batching)
        if seconds <= 0:
            return False
        self._holding = self._loop.call_later(seconds, self._held_enough)
        return True

    def _held_enough(self) -> None:
        self._holding = None
        self._shared = False  # or it would be held again
        self._flush()

    # What.

    def _take(self, batch: list[Call], size: int) -> None:
        """Counts calls that leave the queue to run."""
        now = monotonic()
        for call in batch:
            call.taken = True
            if call.deadline is not None:
                self._timed -= 1
        self._admission.started(now, now - batch[0].arrived, len(batch), size)

    def _leave(self, call: Call) -> None:
        """Counts a call that leaves the queue and does not run."""
        call.taken = True
        self._admission.left(call.size)
        if call.deadline is not None:
            self._timed -= 1

    def _expire(self) -> None:
        """Refuses what has waited beyond its deadline."""
        now = monotonic()
        late = [call for call in self._queue if call.deadline is not None and call.deadline <= now]
        for call in late:
            self._queue.remove(call)
            call.dropped = True
            self.load -= 1
            self._leave(call)
            call.settle(None, DeadlineExceeded(EXPIRED))

    def _form(self) -> list[Call]:
        """Takes the next batch from the queue: calls of one kind, in order of arrival."""
        queue = self._queue
        if self._timed:
            self._expire()
        if not queue:
            return []
        first = queue[0]
        gain = first.gain
        if len(queue) == 1 or gain.limit <= first.rows:
            return [queue.popleft()]
        alike = [call for call in queue if call.gain is gain]
        count = take([call.rows for call in alike], gain.limit, self._batching)
        if count == len(queue):
            queue.clear()
            return alike
        batch = alike[:count]
        last = batch[-1]
        before: list[Call] = []  # of another kind, between those that are taken
        while (call := queue.popleft()) is not last:
            if call.gain is not gain:
                before.append(call)
        queue.extendleft(reversed(before))
        return batch

    def _deliver(self, batch: list[Call], outcomes: list[Outcome], seconds: float) -> None:
        rows = batch[0].rows if len(batch) == 1 else sum([call.rows for call in batch])
        batch[0].gain.add(rows, seconds)
        now = monotonic()
        self._admission.finished(now, len(batch), seconds)
        self._shared = len(batch) > 1
        self._apart = now + APART + seconds  # what came while it ran is read behind it
        self._observe(rows)
        self._settle()
        failure: Exception | None = None
        for call, (result, error) in zip(batch, outcomes, strict=True):
            if call.dropped:
                continue
            call.dropped = True  # a late drop must not count it again
            self.load -= 1
            try:
                call.settle(result, error)
            except Exception as raised:
                failure = raised
        self._tell_if_empty()
        if failure is not None:
            raise failure

    def _tell_if_empty(self) -> None:
        if self._emptied is not None and not self.load and not self._emptied.done():
            self._emptied.set_result(None)

    def _new_gain(self, key: Hashable) -> Gain:
        if len(self._gains) >= _MAX_KINDS:
            self._gains.clear()
        gain = self._gains[key] = Gain(self._batching.max_size)
        return gain
