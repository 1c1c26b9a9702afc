"""How many of the waiting rows go into the next call of a model: pure decisions over sizes and observed times.

Nothing waits for a batch to fill. The first request runs at once, and what arrives while the model computes (or, on the
event loop, in the same turn) forms the next batch, so batches grow with the load by themselves. How large they may
grow is measured: sizes are tried in steps of two, from one row upwards, and a step is kept while it makes a row
cheaper. A dense model on a CPU gains next to nothing from some size on, and a large tensor loses by being copied
together; for both a larger batch would only make the first one wait for the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORTH = 0.95  # a step is kept if it brings the time of a row below this share
SEEN = 3  # calls of a size before it is judged, by the quickest of them: noise only ever adds
AGAIN = 4096  # calls after which a step that was not worth it is tried again, as the load may have changed


@dataclass(frozen=True)
class Batching:
    """The settings of one model.

    Attributes:
        max_size: most rows in one call; 1 or less: requests are never joined.
        max_latency: seconds that rows may wait for others. 0: never. Only under load, when the last call was shared,
            is it made use of: a lone request never waits.
        preferred: sizes at which the model is quick, ascending.
        pad: rows are added up to the next preferred size.
    """

    max_size: int
    max_latency: float = 0.0
    preferred: tuple[int, ...] = ()
    pad: bool = False


class Gain:
    """The largest batch whose measured gain is worth it, for calls of one kind.

    Attributes:
        limit: rows that the next call may have.
    """

    __slots__ = ("_best", "_calls", "_counts", "_max_size", "limit")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._best: dict[int, float] = {}  # power of two -> seconds per row of the quickest call
        self._counts: dict[int, int] = {}
        self._calls = 0
        self.limit = 1

    def add(self, rows: int, seconds: float) -> None:
        """Records a call."""
        if rows >= self._max_size:
            step = self._max_size
        else:
            step = 1 << (rows.bit_length() - 1)
        each = seconds / rows
        best = self._best.get(step)
        if best is None or each < best:
            self._best[step] = each
        seen = self._counts[step] = self._counts.get(step, 0) + 1
        self._calls += 1
        if seen == SEEN or self._calls >= AGAIN:
            self._decide()

    def never(self) -> None:
        """Calls of this kind cannot be joined after all."""
        self._max_size = self.limit = 1

    @property
    def settled(self) -> bool:
        """Whether the limit is known and not just the next step to try."""
        return self._counts.get(self.limit, 0) >= SEEN

    def _decide(self) -> None:
        if self._calls >= AGAIN:
            self._calls = 0
            for step in [step for step in self._counts if step > self.limit]:
                del self._counts[step], self._best[step]
        size = 1
        while size < self._max_size:
            if self._counts.get(size, 0) < SEEN:
                break
            step = min(2 * size, self._max_size)
            if self._counts.get(step, 0) >= SEEN and self._best[step] > WORTH * self._best[size]:
                break
            size = step
        self.limit = size


def take(rows: Sequence[int], limit: int, batching: Batching) -> int:
    """How many of the waiting calls form the next batch.

    Args:
        rows: rows of each waiting call of one kind, in order of arrival; not empty.
        limit: see `Gain.limit`. A single call may have more rows: it is never split.

    Returns:
        At least 1. If all of them do not fit, or lie above a preferred size, the largest number that reaches no
        further than the limit, or than the largest preferred size below the rows that wait.
    """
    waiting = sum(rows)
    for size in reversed(batching.preferred):
        if size <= min(waiting, limit):
            limit = size
            break
    if waiting <= limit:
        return len(rows)
    total = 0
    for count, each in enumerate(rows):
        total += each
        if total > limit:
            return max(count, 1)
    return len(rows)


def holds(waiting: int, waited: float, limit: int, shared: bool, batching: Batching) -> float:
    """Seconds that a batch is held for more rows; 0 or less: it goes now.

    Args:
        waiting: rows.
        waited: seconds since the first of them came.
        shared: the last call was made for several requests.
    """
    if not shared or waiting >= (batching.preferred[-1] if batching.preferred else limit):
        return 0.0
    return batching.max_latency - waited


def padding(rows: int, batching: Batching) -> int:
    """Rows to add to a batch."""
    if not batching.pad:
        return 0
    return next((size - rows for size in batching.preferred if size >= rows), 0)
