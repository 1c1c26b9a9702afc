"""The first calls of a model, made before anybody waits for one.

They tell what else the first clients would have to teach: whether calls are quick enough for the event loop, how many
rows one call should have, and whether rows are independent of each other, which a model has promised but may not keep.
The rows are the model's own (`Model.example`). They run on the model's thread after `load`, for a small time: a start
must not be late for them, nor fail.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter, thread_time
from typing import Any

import numpy as np

from colonnade.model.binding import Operation
from colonnade.server.batch import Call
from colonnade.server.batcher import Batcher
from colonnade.server.inline import ENOUGH, LIMIT, RunTimes
from colonnade.wire.tensors import InferRequest, InferResponse, Tensor

_log = logging.getLogger(__name__)

BUDGET = 0.05  # seconds for all calls; a single one that takes longer is the only one
_TRIED = 4  # rows whose independence is tested
_NEAR = 1e-3  # relative; a batch may be summed in another order than a row
_ENVELOPE, _NUMBER = 128, 10  # bytes of a request in JSON: around its numbers, and for each of them


@dataclass
class Budget:
    """What is left of the time."""

    seconds: float
    clock: Callable[[], float] = perf_counter

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds

    def allows(self, seconds: float) -> bool:
        """Whether there is time for something that takes so long."""
        return self.clock() + seconds < self._end


class _Trial(Call):
    """A call that nobody made."""

    def settle(self, result: Any, error: Exception | None) -> None:
        """Nobody waits for it."""

    @property
    def request_headers(self) -> Mapping[str, str]:
        return {}

    @property
    def response_headers(self) -> dict[str, str]:
        return {}


def warm_up(
    infer: Operation, example: InferRequest | None, batcher: Batcher | None, times: RunTimes | None, budget: Budget
) -> bool:
    """Makes the first calls of a model; to be called on its thread.

    Args:
        infer: the operation of V2.
        example: the model's rows; None if it has none to show.
        batcher: gets to know the gain of calls like these; None if requests share none.
        times: gets to know how long calls take; None if none may run on the event loop.
        budget: for all calls.

    Returns:
        Whether requests may share calls, as far as that is known.
    """
    if example is None or not example.inputs or infer.is_async:
        return True
    if batcher is None or infer.steps is None:
        call = partial(infer, example, {}, {})
        seconds, _ = _timed(call)
        if times is not None:
            _repeat(call, times, _size(example), seconds, budget)
        return True
    singles = _rows(example)
    infer(singles[0], {}, {})  # the first of all is slow
    seconds, _ = _timed(partial(infer, singles[0], {}, {}))
    if seconds >= LIMIT:
        singles = singles[:2]
    if not budget.allows(seconds * (len(singles) + 1)):
        return True
    if not _independent(infer, batcher, singles):
        return False
    _measure(infer, batcher, singles, times, budget)
    return True


def _repeat(call: Callable[[], Any], times: RunTimes, size: int, seconds: float, budget: Budget) -> None:
    for _ in range(ENOUGH):
        if not budget.allows(seconds):
            return
        _, on_thread = _timed(call)
        times.add(on_thread, size)


def _independent(infer: Operation, batcher: Batcher, singles: Sequence[InferRequest]) -> bool:
    """Whether rows that are computed together have the answers that each has alone."""
    alone = [infer(single, {}, {}) for single in singles]
    outcomes = batcher.compute(_trials(infer, batcher, singles))
    return all(
        error is None and _alike(expected, answer) for expected, (answer, error) in zip(alone, outcomes, strict=True)
    )


def _measure(
    infer: Operation, batcher: Batcher, singles: Sequence[InferRequest], times: RunTimes | None, budget: Budget
) -> None:
    """Runs batches of growing size, as long as they pay and there is time."""
    each = _size(singles[0])
    single = _trials(infer, batcher, singles[:1])
    gain = single[0].gain
    seconds, _ = _timed(partial(batcher.compute, single))
    if times is not None and seconds < LIMIT:
        _repeat(partial(batcher.compute, single), times, each, seconds, budget)
    per_row = seconds
    while not gain.settled and budget.allows(per_row * gain.limit):
        size = gain.limit
        batch = _trials(infer, batcher, [singles[row % len(singles)] for row in range(size)])
        seconds, on_thread = _timed(partial(batcher.compute, batch))
        gain.add(size, seconds)
        per_row = seconds / size
        if times is not None and on_thread < LIMIT:
            times.add(on_thread, size * each)


def _trials(infer: Operation, batcher: Batcher, requests: Sequence[InferRequest]) -> list[Call]:
    calls: list[Call] = []
    for request in requests:
        call = _Trial()
        batcher.prepare(call, infer, request)
        calls.append(call)
    return calls


def _timed(call: Callable[[], Any]) -> tuple[float, float]:
    """Seconds of a call, and of this thread in it."""
    begun, start = perf_counter(), thread_time()
    call()
    return perf_counter() - begun, thread_time() - start


def _rows(example: InferRequest) -> list[InferRequest]:
    """One request for each row of the example."""
    count = min(_TRIED, *(tensor.shape[0] for tensor in example.inputs))
    return [
        InferRequest(
            example.model_name,
            [
                Tensor(tensor.name, tensor.datatype, (1, *tensor.shape[1:]), tensor.data[row : row + 1])
                for tensor in example.inputs
            ],
        )
        for row in range(count)
    ]


def _size(request: InferRequest) -> int:
    """Bytes that it would have as JSON, about."""
    return _ENVELOPE + _NUMBER * sum(tensor.data.size for tensor in request.inputs)


def _alike(expected: InferResponse, answer: InferResponse) -> bool:
    return len(expected.outputs) == len(answer.outputs) and all(
        mine.name == theirs.name
        and mine.shape == theirs.shape
        and (
            np.allclose(mine.data, theirs.data, rtol=_NEAR, atol=_NEAR / 1000, equal_nan=True)
            if mine.data.dtype.kind in "fc"
            else np.array_equal(mine.data, theirs.data)
        )
        for mine, theirs in zip(expected.outputs, answer.outputs, strict=True)
    )
