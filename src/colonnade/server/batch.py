"""Requests that share one call of a model: what each brings, the copy of the model that runs them, and who gets what.

The parts of a call are apart: its arguments are made when it arrives (what is wrong with it is refused then, alone),
the model runs for all, and each gets its answer of its own rows. If a shared call fails, each half of it is run by
itself, and so on down to the requests that fail alone: a client gets the error of its own rows only.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from time import thread_time
from typing import TYPE_CHECKING, Any

from colonnade.errors import ProcessLost
from colonnade.model.binding import Joined, Steps
from colonnade.model.offloading import NotInline
from colonnade.model.rows import Arguments, part
from colonnade.server.batching import Batching, Gain, padding
from colonnade.server.lane import Lane, Work, contained

if TYPE_CHECKING:
    from colonnade.server.batcher import Batcher

_log = logging.getLogger(__name__)

Outcome = tuple[Any, Exception | None]


class Call(ABC):
    """A request on its way through a model. What brought it here is a subclass, which gets the outcome."""

    __slots__ = (
        "arguments",
        "arrived",
        "batcher",
        "deadline",
        "dropped",
        "gain",
        "payload",
        "rows",
        "size",
        "steps",
        "taken",
    )

    steps: Steps  # of what is asked for
    payload: Any
    arguments: Arguments
    gain: Gain  # of all calls of its kind
    rows: int
    size: int  # bytes of its body
    arrived: float
    dropped: bool
    taken: bool  # it has left the queue

    def __init__(self, deadline: float | None = None) -> None:
        """`deadline`: when nobody waits for the answer any more (monotonic seconds), or None."""
        self.batcher: Batcher | None = None  # while it waits for a shared call or is in one
        self.deadline = deadline

    @abstractmethod
    def settle(self, result: Any, error: Exception | None) -> None:
        """Takes the outcome, on the loop, once; not after `cancel`."""

    @property
    @abstractmethod
    def request_headers(self) -> Mapping[str, str]:
        """The request's headers for a model that looks at them, names in lower case."""

    @property
    @abstractmethod
    def response_headers(self) -> dict[str, str]:
        """What the model may fill."""

    def cancel(self) -> None:
        """Nobody waits for it any more: its place is free at once, also in a batch that has not begun."""
        if self.batcher is not None:
            self.batcher.drop(self)


class Instance:
    """A copy of the model with its thread."""

    __slots__ = ("_compute", "batch", "clock", "joined", "lane", "spent", "work")

    def __init__(self, joined: Joined, lane: Lane) -> None:
        self._compute = joined.compute
        self.joined = joined._replace(compute=self._timed)
        self.lane = lane
        self.work: Work | None = None  # stands in the thread's queue for all that waits here
        self.batch: list[Call] = []  # what it runs
        self.clock: Callable[[], float] = thread_time
        self.spent = 0.0  # seconds by that clock in the model itself, and not in what surrounds it

    def _timed(self, *arguments: Any) -> Any:
        start = self.clock()
        try:
            return self._compute(*arguments)
        finally:
            self.spent += self.clock() - start


def computed(joined: Joined, batch: list[Call], batching: Batching, model: str) -> list[Outcome]:
    """Runs a batch, on whatever thread, and says what became of each call.

    Args:
        joined: the model's copy that runs it.
        batch: calls of one kind, at least one.
        batching: what rows are padded to.
        model: its name, for the log.

    Raises:
        NotInline: this is the loop's thread, and the model needs another.
    """
    if len(batch) == 1:
        return [_alone(joined, batch[0])]
    counts = [call.rows for call in batch]
    more = padding(sum(counts), batching)
    try:
        arguments = joined.joining.join([call.arguments for call in batch], more)
        result = joined.compute(*arguments)
        steps = batch[0].steps
        if steps.finish is not None:
            result = steps.finish(result)
        parts = part(result, [*counts, more] if more else counts)
    except NotInline:
        raise
    except ProcessLost as error:
        return [(None, error)] * len(batch)  # one of them may have ended it, and would again
    except BaseException as error:
        _log.debug("a shared call failed; its requests are tried in halves", exc_info=error)
        half = len(batch) // 2
        return [
            *computed(joined, batch[:half], batching, model),
            *computed(joined, batch[half:], batching, model),
        ]
    if parts is None:
        _log.warning(
            "the answer has not one row for each row of the input: requests are not joined any more",
            extra={"model": model},
        )
        batch[0].gain.never()
        return [_alone(joined, call) for call in batch]
    answer = steps.answer
    try:
        return [(answer(rows, call.payload), None) for call, rows in zip(batch, parts, strict=False)]
    except Exception:
        return [_answered(answer, rows, call) for call, rows in zip(batch, parts, strict=False)]


def _alone(joined: Joined, call: Call) -> Outcome:
    steps = call.steps
    if call.dropped:
        return None, None
    try:
        result = joined.compute(*call.arguments)
        if steps.finish is not None:
            result = steps.finish(result)
        return steps.answer(result, call.payload), None
    except NotInline:
        raise
    except BaseException as error:
        return None, contained(error)


def _answered(answer: Callable[[Any, Any], Any], rows: Any, call: Call) -> Outcome:
    try:
        return answer(rows, call.payload), None
    except Exception as error:
        return None, error
