"""Where the calls of one loaded model run: on the event loop, on its worker thread, or as a task.

A coroutine runs on the loop as a task that this object owns. Blocking code runs on the model's lane. Only a model that
promises to compute and never to wait (`Model.inline`), and whose last calls were surely short, runs where the request
arrived, and only while its lane is idle: then the two never run it at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from threading import get_ident
from time import perf_counter, thread_time
from typing import Any, Protocol

from colonnade.errors import Overloaded
from colonnade.model.binding import Operation, bind, require_predict
from colonnade.model.contract import Model
from colonnade.model.signatures import Form, read
from colonnade.server.hooks import HOOKS, Observe, Sample, observed, overridden
from colonnade.server.inline import LIMIT, RunTimes, fits_loop
from colonnade.server.lane import RETRY_AFTER, Done, Lane


class Ticket(Protocol):
    """A call in progress."""

    def cancel(self) -> object:
        """Nobody waits for it any more."""


class Execution:
    """One loaded model with what runs it. It belongs to the event loop's thread.

    Attributes:
        model: the model.
        version: its version.
        lane: its worker thread.
        infer: the operation of V2 and gRPC.
        predict: the operation of V1's `:predict`.
        explain: the operation of V1's `:explain`.
        takes_bytes: a V1 body that is not JSON may go to the model as bytes, as KServe's do.
        takes_headers: some hook looks at the request's headers.
    """

    def __init__(self, model: Model, lane: Lane, limit: int, observers: Callable[[str], Observe]) -> None:
        """Binds the model.

        Args:
            model: a loaded model.
            lane: the thread that loaded it.
            limit: coroutines that may run at once; the lane has its own limit.
            observers: for the name of a hook, what takes the seconds of its calls, on the loop.

        Raises:
            LoadFailed: there is no `predict`, or a hook has a signature that cannot be served.
        """
        require_predict(model)
        self.model = model
        self.version = model.version
        self.lane = lane
        self._limit = limit
        self._samples: deque[Sample] = deque()
        view = observed(model, self._samples, observers)
        bound = bind(view, lambda function, *args: lane.run(partial(function, *args)))
        self.infer = bound.infer
        self.predict = bound.predict_v1
        self.explain = bound.explain_v1
        signatures = {hook: read(getattr(view, hook), hook) for hook in HOOKS if overridden(model, hook)}
        self.takes_bytes = "preprocess" in signatures or signatures["predict"].form is Form.PAYLOAD
        self.takes_headers = any(signature.headers for signature in signatures.values())
        self._inline = model.inline
        self._times = RunTimes()
        self._loop_thread = get_ident()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self,
        operation: Operation,
        payload: Any,
        headers: Mapping[str, str],
        response_headers: dict[str, str],
        size: int,
        done: Done,
    ) -> Ticket | None:
        """Runs an operation where it belongs; `done` is called on the loop, maybe before this returns.

        Args:
            operation: one of this object's.
            payload: the decoded request.
            headers: the request's headers, names in lower case.
            response_headers: the model may fill it.
            size: bytes of the request's body.
            done: gets the result or the error; not if the ticket is cancelled.

        Returns:
            What cancels the call; None if it is done.

        Raises:
            Overloaded: too many requests wait for this model.
        """
        if operation.is_async:
            if len(self._tasks) > self._limit:
                message = f"{self._limit} requests to this model run already; retry later, or raise --max-queue"
                raise Overloaded(message, retry_after=RETRY_AFTER)
            return self.own(self._await(operation(payload, headers, response_headers), done))
        if not self._inline:
            return self.lane.submit(partial(operation, payload, headers, response_headers), self._settled(done))
        if size > self._times.loop_size or not self.lane.idle:
            run = partial(self._measured, operation, payload, headers, response_headers, size)
            return self.lane.submit(run, self._settled(done), partial(fits_loop, self._times, size))
        try:
            result = self._on_loop(operation, payload, headers, response_headers, size)
        except Exception as error:
            self._settle()
            done(None, error)
        else:
            self._settle()
            done(result, None)
        return None

    def own(self, coroutine: Coroutine[Any, Any, None]) -> Ticket:
        """Runs a coroutine as a task of this model, which must end before the model is unloaded."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def retire(self) -> None:
        """Waits for what has begun, then unloads the model and ends its thread."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        try:
            freed = await self.lane.run(self.model.unload, limited=False)
            if isinstance(freed, Coroutine):
                await freed
        finally:
            self.lane.close()

    def _on_loop(
        self,
        operation: Operation,
        payload: Any,
        headers: Mapping[str, str],
        response_headers: dict[str, str],
        size: int,
    ) -> Any:
        times = self._times
        clock = thread_time if times.doubts else perf_counter
        start = clock()
        result = operation.call(payload, headers, response_headers)
        seconds = clock() - start
        if times.doubts or seconds >= LIMIT:
            times.add_on_loop(seconds, size)
        return result

    def _measured(
        self,
        operation: Operation,
        payload: Any,
        headers: Mapping[str, str],
        response_headers: dict[str, str],
        size: int,
    ) -> Any:
        """Runs a call that has waited for the lane: on its thread, or on the loop if it was quick enough for that."""
        if get_ident() == self._loop_thread:
            return self._on_loop(operation, payload, headers, response_headers, size)
        start = thread_time()
        result = operation.call(payload, headers, response_headers)
        self._times.add(thread_time() - start, size)
        return result

    async def _await(self, outcome: Any, done: Done) -> None:
        try:
            result = await outcome
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
