"""Where the calls of one loaded model run: on the event loop, on a worker thread of its own, or as a task.

A coroutine runs on the loop as a task that this object owns. Blocking code runs on the model's lane. Only a model that
promises to compute and never to wait (`Model.inline`), and whose last calls were surely short, runs where the request
arrived, and only while its lane is idle: then the two never run it at once. Requests of a model that takes rows
(`Model.max_batch_size`) share calls (`batcher`). A model may be loaded several times: each instance has its own lane.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from threading import get_ident
from time import monotonic, perf_counter, thread_time
from typing import Any, Protocol

from colonnade import defaults
from colonnade.errors import DeadlineExceeded, Overloaded
from colonnade.model.binding import BoundModel, Operation, bind, require_predict
from colonnade.model.contract import Model
from colonnade.model.offloading import NotInline
from colonnade.model.payloads import FROM_ARRAYS
from colonnade.model.signatures import Form, read
from colonnade.server.batch import Call, Instance
from colonnade.server.batcher import Batcher
from colonnade.server.batching import Batching
from colonnade.server.hooks import HOOKS, Observe, Sample, observed, overridden
from colonnade.server.inline import LIMIT, RunTimes, fits_loop
from colonnade.server.lane import Done, Lane
from colonnade.server.overload import Admission
from colonnade.server.response_cache import CachedStart
from colonnade.server.warmup import Budget, warm_up

_log = logging.getLogger(__name__)

RETRY_AFTER = 1.0  # seconds; what clients of a model with too many coroutines are told


class Mode(StrEnum):
    """Where blocking calls of a model run."""

    AUTO = "auto"  # on the loop while they are surely short and the model promises not to wait, else on a thread
    INLINE = "inline"  # on the loop, always: the operator's promise
    THREAD = "thread"
    PROCESS = "process"  # in a process of its own, for which a thread waits


@dataclass(frozen=True)
class Policy:
    """How a model runs.

    Attributes:
        max_queue: requests that may wait for it.
        max_queue_bytes: bytes of their bodies.
        queue_target: seconds that a request may wait for long.
        mode: where its calls run.
        instances: copies of it, each with a thread.
        max_batch_size: most rows of a shared call; None: what the model says; 1: requests share none.
        max_batch_latency: seconds that rows may wait for others under load.
        preferred_batch_sizes: instead of the model's own.
        response_cache: bytes of answers that are kept for requests that come again; 0: none are.
        response_cache_ttl: seconds that they are kept; None: as long as there is room.
    """

    max_queue: int = defaults.MAX_QUEUE
    max_queue_bytes: int = defaults.MAX_QUEUE_BYTES
    queue_target: float = defaults.QUEUE_TARGET
    mode: Mode = Mode.AUTO
    instances: int = 1
    max_batch_size: int | None = None
    max_batch_latency: float = 0.0
    preferred_batch_sizes: tuple[int, ...] = ()
    response_cache: int = 0
    response_cache_ttl: float | None = None

    def admission(self) -> Admission:
        """The bounds of one queue."""
        return Admission(self.max_queue, self.max_queue_bytes, self.queue_target, defaults.QUEUE_INTERVAL)

    def batching(self, model: Model) -> Batching | None:
        """The settings of a model's shared calls; None if its requests share none."""
        size = model.max_batch_size if self.max_batch_size is None else self.max_batch_size
        preferred = self.preferred_batch_sizes or tuple(sorted(model.preferred_batch_sizes))
        return Batching(size, self.max_batch_latency, preferred, model.pad_batches) if size > 1 else None


class Ticket(Protocol):
    """A call in progress."""

    def cancel(self) -> object:
        """Nobody waits for it any more."""


class Execution:
    """One loaded model with what runs it. It belongs to the event loop's thread.

    Attributes:
        model: the model; of several instances the first.
        version: its version.
        batcher: the calls that requests share, or None.
        infer: the operation of V2 and gRPC.
        predict: the operation of V1's `:predict`.
        explain: the operation of V1's `:explain`.
        takes_bytes: a V1 body that is not JSON may go to the model as bytes, as KServe's do.
        takes_arrays: no hook sees a V1 payload as it came, so its lists of numbers may be decoded to arrays.
        takes_headers: some hook looks at the request's headers.
        cached: stands before `start` where answers are kept; else None.
    """

    def __init__(
        self,
        copies: Sequence[tuple[Model, Lane]],
        policy: Policy,
        observers: Callable[[str], Observe],
    ) -> None:
        """Binds the model.

        Args:
            copies: each instance of the loaded model, with the thread that loaded it.
            policy: how it runs.
            observers: for the name of a hook, what takes the seconds of its calls, on the loop; for `batch`, what takes
                the rows of each shared call.

        Raises:
            LoadFailed: there is no `predict`, or a hook has a signature that cannot be served.
        """
        model = copies[0][0]
        require_predict(model)
        self.model = model
        self.version = model.version
        self._models = [copy for copy, _ in copies]
        self._lanes = [lane for _, lane in copies]
        self._limit = policy.max_queue
        self._samples: deque[Sample] = deque()
        views = [observed(copy, self._samples, observers) for copy, _ in copies]
        bound = [
            bind(view, lambda function, *args, lane=lane: lane.run(partial(function, *args)))
            for view, (_, lane) in zip(views, copies, strict=True)
        ]
        self.infer, self.predict, self.explain = _operations(bound[0])
        self._copies = {
            id(first): (first, *others)
            for first, *others in zip(*map(_operations, bound), strict=True)  # of each instance
        }
        signatures = {hook: read(getattr(views[0], hook), hook) for hook in HOOKS if overridden(model, hook)}
        self.takes_bytes = "preprocess" in signatures or signatures["predict"].form is Form.PAYLOAD
        forms = {signatures[hook].form for hook in ("predict", "explain") if hook in signatures}
        self.takes_arrays = "preprocess" not in signatures and forms <= FROM_ARRAYS
        self.takes_headers = any(signature.headers for signature in signatures.values())
        inline = policy.mode is Mode.INLINE or (policy.mode is Mode.AUTO and model.inline)
        self._times = RunTimes(always=policy.mode is Mode.INLINE) if inline else None
        self._loop_thread = get_ident()
        self._tasks: set[asyncio.Task[None]] = set()
        self.cached: CachedStart | None = None
        self.batcher: Batcher | None = None
        batching = policy.batching(model)
        joined = [one.joined for one in bound if one.joined is not None]
        if batching is not None and joined:
            instances = [Instance(*pair) for pair in zip(joined, self._lanes, strict=True)]
            self.batcher = Batcher(
                model.name, instances, batching, policy.admission(), self._times, self._settle, observers("batch")
            )

    async def warm_up(self, seconds: float) -> None:
        """Makes the first calls, before the model is ready, see `warmup`. They count in no metric; none can fail it.

        `seconds`: for all of them.
        """
        may_share = True
        try:
            example = await self._lanes[0].run(self.model.example, limited=False)
            budget = Budget(seconds)
            first = partial(warm_up, self.infer, example, self.batcher, self._times, budget)
            may_share = await self._lanes[0].run(first, limited=False)
        except Exception:  # user code may raise anything, and rows that somebody made up may not fit it
            _log.info("the model could not be tried out before its first request", exc_info=True)
        finally:
            self._samples.clear()
        if not may_share:
            self.batcher = None
            _log.warning(
                "rows that are computed together have other answers than each alone: requests do not share calls",
                extra={"model": self.model.name},
            )

    def start(self, call: Call, operation: Operation, payload: Any, size: int) -> Ticket | None:
        """Runs an operation where it belongs; `call` is settled on the loop, maybe before this returns.

        Args:
            call: gets the outcome, and has the headers.
            operation: one of this object's.
            payload: the decoded request.
            size: bytes of the request's body.

        Returns:
            What cancels the call; None if it is done.

        Raises:
            Overloaded: too many requests wait for this model.
            Exception: the request does not fit the model.
        """
        if call.deadline is not None and call.deadline <= monotonic():
            raise DeadlineExceeded("The request's deadline had passed when it arrived; nothing was executed.")
        if operation.steps is not None and self.batcher is not None:
            if self.batcher.submit(call, operation, payload, size):
                return call
        elif operation.is_async:
            if len(self._tasks) >= self._limit:
                message = f"{self._limit} requests to this model run already; retry later, or raise --max-queue"
                raise Overloaded(message, retry_after=RETRY_AFTER)
            coroutine = operation(payload, call.request_headers, call.response_headers)
            return self.own(self._await(coroutine, call.settle, call.deadline))
        lane = self._lanes[0]
        if len(self._lanes) > 1:
            lane = min(self._lanes, key=_load)
            operation = self._copies[id(operation)][self._lanes.index(lane)]
        run = partial(operation.call, payload, call.request_headers, call.response_headers)
        times = self._times
        if times is None:
            return lane.submit(run, self._settled(call.settle), None, size, call.deadline)
        if size > times.loop_size or not lane.idle:
            measured = partial(self._measured, times, run, size)
            settled = self._settled(call.settle)

            def settle(result: Any, error: Exception | None) -> None:
                if isinstance(error, NotInline):
                    lane.append(measured, settled)
                else:
                    settled(result, error)

            return lane.submit(measured, settle, partial(fits_loop, times, size), size, call.deadline)
        try:
            result = self._on_loop(times, run, size)
        except NotInline:
            measured = partial(self._measured, times, run, size)
            return lane.submit(measured, self._settled(call.settle), None, size, call.deadline)
        except Exception as error:
            self._settle()
            call.settle(None, error)
        else:
            self._settle()
            call.settle(result, None)
        return None

    def own(self, coroutine: Coroutine[Any, Any, None]) -> Ticket:
        """Runs a coroutine as a task of this model, which must end before the model is unloaded."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def load(self) -> int:
        """Blocking calls that run or wait."""
        waiting = self.batcher.load if self.batcher is not None else 0
        return waiting + sum(lane.load for lane in self._lanes)

    async def retire(self) -> None:
        """Waits for what has begun, then unloads the model and ends its threads."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        if self.batcher is not None:
            await self.batcher.emptied()
        try:
            for model, lane in zip(self._models, self._lanes, strict=True):
                freed = await lane.run(model.unload, limited=False)
                if isinstance(freed, Coroutine):
                    await freed
        finally:
            for lane in self._lanes:
                lane.close()
            self._models.clear()  # nothing keeps them that may keep this object
            self._copies.clear()

    def _on_loop(self, times: RunTimes, run: Callable[[], Any], size: int) -> Any:
        clock = thread_time if times.doubts else perf_counter
        start = clock()
        result = run()
        seconds = clock() - start
        if times.doubts or seconds >= LIMIT:
            times.add_on_loop(seconds, size)
        return result

    def _measured(self, times: RunTimes, run: Callable[[], Any], size: int) -> Any:
        """Runs a call that has waited for the lane: on its thread, or on the loop if it was quick enough for that."""
        if get_ident() == self._loop_thread:
            return self._on_loop(times, run, size)
        start = thread_time()
        result = run()
        times.add(thread_time() - start, size)
        return result

    async def _await(self, outcome: Any, done: Done, deadline: float | None) -> None:
        try:
            if deadline is None:
                result = await outcome
            else:
                result = await _in_time(outcome, deadline)
        except Exception as error:
            self._settle()
            done(None, error)
        else:
            self._settle()
            done(result, None)

    def _settled(self, done: Done) -> Done:
        def settled(result: Any, error: Exception | None) -> None:
            self._settle()
            done(result, error)

        return settled

    def _settle(self) -> None:
        """Reports the hooks' times, which may have been taken on another thread."""
        samples = self._samples
        while samples:
            observe, seconds = samples.popleft()
            observe(seconds)


def _operations(bound: BoundModel) -> tuple[Operation, Operation, Operation]:
    return bound.infer, bound.predict_v1, bound.explain_v1


async def _in_time(outcome: Any, deadline: float) -> Any:
    try:
        async with asyncio.timeout(deadline - monotonic()) as limit:
            return await outcome
    except TimeoutError:
        if limit.expired():
            raise DeadlineExceeded("The request's deadline passed before its answer was complete.") from None
        raise


def _load(lane: Lane) -> int:
    return lane.load
