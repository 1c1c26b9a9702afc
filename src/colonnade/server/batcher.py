"""Requests of a model on their way through shared calls: the queue, the moment of each call, and who gets which rows.

The queue lives on the event loop. It is emptied once a turn while the model may run there, so that what arrived in one
turn is one call; and else whenever a thread of the model is free. The three parts of a call are apart for that: its
arguments are made when it arrives (what is wrong with it is refused then, alone), the model runs for all, and each
gets its answer of its own rows. If a shared call fails, each of its requests is run alone, so that a client gets the
error of its own rows only.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from time import monotonic, perf_counter, thread_time
from typing import Any

from colonnade.errors import Overloaded
from colonnade.model.binding import Joined, Operation
from colonnade.model.rows import Arguments, part
from colonnade.server.batching import Batching, Gain, holds, padding, take
from colonnade.server.inline import LIMIT, RunTimes, fits_loop
from colonnade.server.lane import RETRY_AFTER, Done, Lane, Work, contained

_log = logging.getLogger(__name__)

_MAX_KINDS = 256  # kinds of calls whose gain is remembered

Outcome = tuple[Any, Exception | None]


class Call:
    """One request that waits for a shared call, or is in one."""

    __slots__ = ("_batcher", "arguments", "arrived", "done", "dropped", "gain", "operation", "payload", "rows", "size")

    def __init__(
        self,
        batcher: Batcher,
        operation: Operation,
        payload: Any,
        arguments: Arguments,
        gain: Gain,
        rows: int,
        size: int,
        done: Done,
    ) -> None:
        self._batcher = batcher
        self.operation = operation
        self.payload = payload
        self.arguments = arguments
        self.gain = gain  # of all calls of its kind
        self.rows = rows
        self.size = size
        self.done = done
        self.dropped = False
        self.arrived = 0.0

    def cancel(self) -> None:
        """Nobody waits for it any more: its place is free at once, also in a batch that has not begun."""
        self._batcher.drop(self)


class Instance:
    """A copy of the model with its thread."""

    __slots__ = ("batch", "joined", "lane", "work")

    def __init__(self, joined: Joined, lane: Lane) -> None:
        self.joined = joined
        self.lane = lane
        self.work: Work | None = None  # stands in the thread's queue for all that waits here
        self.batch: list[Call] = []  # what it runs


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
        limit: int,
        times: RunTimes | None,
        settle: Callable[[], None],
        observe: Callable[[float], None],
    ) -> None:
        """
        Args:
            name: the model's.
            instances: at least one; only the first may run on the event loop.
            limit: requests that may wait.
            times: decides whether calls run on the event loop; None if they never may.
            settle: called after each call of the model.
            observe: takes the number of rows of each call.
        """
        self.load = 0
        self._name = name
        self._instances = instances
        self._batching = batching
        self._limit = limit
        self._times = times
        self._settle = settle
        self._observe = observe
        self._loop = asyncio.get_running_loop()
        self._kind = instances[0].joined.joining.kind
        self._queue: deque[Call] = deque()
        self._gains: dict[Hashable, Gain] = {}
        self._scheduled = False
        self._shared = False  # the last call was made for several requests
        self._holding: asyncio.TimerHandle | None = None
        self._emptied: asyncio.Future[None] | None = None  # resolved after each call

    def submit(self, operation: Operation, payload: Any, size: int, done: Done) -> Call | None:
        """Queues a request; `done` gets its outcome on the loop.

        Args:
            operation: one that can be joined.
            payload: the decoded request.
            size: bytes of its body.

        Returns:
            None if it cannot share a call, and must be run by itself.

        Raises:
            Overloaded: `limit` requests wait.
            Exception: the request does not fit the model.
        """
        prepare = operation.prepare
        assert prepare is not None
        arguments = prepare(payload)
        kind = self._kind(arguments)
        if kind is None:
            return None
        if self.load > self._limit:
            message = f"{self._limit} requests wait for model {self._name} already; retry later, or raise --max-queue"
            raise Overloaded(message, retry_after=RETRY_AFTER)
        key, rows = kind
        call = Call(self, operation, payload, arguments, self._gains.get(key) or self._new_gain(key), rows, size, done)
        self.load += 1
        self._queue.append(call)
        if self._batching.max_latency:
            call.arrived = monotonic()
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        return call

    def drop(self, call: Call) -> None:
        """See `Call.cancel`; dropping it again has no effect."""
        if not call.dropped:
            call.dropped = True
            self.load -= 1

    async def emptied(self) -> None:
        """Waits until nothing is waiting or running."""
        while self.load or any(instance.work is not None for instance in self._instances):
            self._emptied = self._loop.create_future()
            await self._emptied

    def gain(self, key: Hashable) -> Gain:
        """What is known of calls of a kind."""
        return self._gains.get(key) or self._new_gain(key)

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
                self._schedule()  # a `done` failed: the loop reports it, and the others still get their turn

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
        clock = thread_time if times.doubts else perf_counter
        start = clock()
        outcomes = self._computed(first.joined, batch)
        seconds = clock() - start
        if times.doubts or seconds >= LIMIT:
            times.add_on_loop(seconds, size)
        self._deliver(batch, outcomes, seconds)
        return True

    def _ask_threads(self) -> None:
        """Stands in the queue of each thread, as far as there is work for it."""
        if not self._queue:
            return
        for instance in self._instances:
            if instance.work is None:
                run, ran = partial(self._run_there, instance), partial(self._ran_there, instance)
                instance.work = instance.lane.append(run, ran, partial(self._fill, instance))

    def _fill(self, instance: Instance) -> bool:
        """A thread is free: decides what it runs. True: nothing, or what the loop itself can."""
        batch = instance.batch = self._form()
        return not batch or (self._times is not None and fits_loop(self._times, sum([call.size for call in batch])))

    def _run_there(self, instance: Instance) -> tuple[list[Outcome], float]:
        """Runs on the thread."""
        batch = instance.batch
        if not batch:
            return [], 0.0
        begun, start = perf_counter(), thread_time()
        outcomes = self._computed(instance.joined, batch)
        if self._times is not None:
            self._times.add(thread_time() - start, sum([call.size for call in batch]))
        return outcomes, perf_counter() - begun

    def _ran_there(
        self, instance: Instance, result: tuple[list[Outcome], float] | None, error: Exception | None
    ) -> None:
        instance.work = None
        batch, instance.batch = instance.batch, []
        try:
            if batch:
                outcomes, seconds = result or ([(None, error)] * len(batch), 0.0)
                self._deliver(batch, outcomes, seconds)
        finally:
            if self._queue:
                self._schedule()
            elif self._emptied is not None and not self._emptied.done():
                self._emptied.set_result(None)

    def _holds(self) -> bool:
        """Whether what waits is held for more rows."""
        if not self._batching.max_latency or not self._queue:
            return False
        if self._holding is not None:
            self._holding.cancel()
            self._holding = None
        first = self._queue[0]
        waiting = sum([call.rows for call in self._queue if not call.dropped])
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

    def _form(self) -> list[Call]:
        """Takes the next batch from the queue: calls of one kind, in order of arrival."""
        queue = self._queue
        while queue and queue[0].dropped:
            queue.popleft()
        if not queue:
            return []
        first = queue[0]
        gain = first.gain
        if len(queue) == 1 or gain.limit <= first.rows:
            return [queue.popleft()]
        alike = [call for call in queue if call.gain is gain and not call.dropped]
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

    def _computed(self, joined: Joined, batch: list[Call]) -> list[Outcome]:
        """Runs a batch, on whatever thread; never raises."""
        if len(batch) == 1:
            return [_alone(joined, batch[0])]
        counts = [call.rows for call in batch]
        more = padding(sum(counts), self._batching)
        try:
            arguments = joined.joining.join([call.arguments for call in batch], more)
            result = joined.compute(*arguments)
            parts = part(result, [*counts, more] if more else counts)
        except BaseException as error:
            _log.debug("a shared call failed; each of its requests runs alone", exc_info=error)
            return [_alone(joined, call) for call in batch]
        if parts is None:
            _log.warning(
                "the answer has not one row for each row of the input: requests are not joined any more",
                extra={"model": self._name},
            )
            batch[0].gain.never()
            return [_alone(joined, call) for call in batch]
        return [_answered(call, rows) for call, rows in zip(batch, parts, strict=False)]

    def _deliver(self, batch: list[Call], outcomes: list[Outcome], seconds: float) -> None:
        rows = batch[0].rows if len(batch) == 1 else sum([call.rows for call in batch])
        batch[0].gain.add(rows, seconds)
        self._shared = len(batch) > 1
        self._observe(rows)
        self._settle()
        failure: Exception | None = None
        for call, (result, error) in zip(batch, outcomes, strict=True):
            if call.dropped:
                continue
            call.dropped = True  # a late drop must not count it again
            self.load -= 1
            try:
                call.done(result, error)
            except Exception as raised:
                failure = raised
        if self._emptied is not None and not self.load and not self._emptied.done():
            self._emptied.set_result(None)
        if failure is not None:
            raise failure

    def _new_gain(self, key: Hashable) -> Gain:
        if len(self._gains) >= _MAX_KINDS:
            self._gains.clear()
        gain = self._gains[key] = Gain(self._batching.max_size)
        return gain


def _alone(joined: Joined, call: Call) -> Outcome:
    if call.dropped:
        return None, None
    try:
        return _answered(call, joined.compute(*call.arguments))
    except BaseException as error:
        return None, contained(error)


def _answered(call: Call, result: Any) -> Outcome:
    answer = call.operation.answer
    assert answer is not None
    try:
        return answer(result, call.payload), None
    except Exception as error:
        return None, error
