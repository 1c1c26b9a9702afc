"""How many of the waiting rows go into the next call of a model: pure decisions over sizes and observed times.

Nothing waits for a batch to fill. The first request runs at once, and what arrives while the model computes (or, on the
event loop, in the same turn) forms the next batch, so batches grow with the load by themselves. How large they may
grow is measured: sizes are tried in steps of two, from the smallest call upwards, and a step is kept while it makes a
row cheaper. A dense model on a CPU gains next to nothing from some size on, and a large tensor loses by being copied
together; for both a larger batch would only make the first one wait for the last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WORTH = 0.95  # a step is kept if it brings the time of a row below this share
SEEN = 4  # calls of a size before it is judged, by the quickest of them: noise only ever adds
AGAIN = 512  # calls after which the limit and the step above it are measured anew: the first calls of all are slow


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

    A size is compared with the next one, up or down, by calls of both in turn: figures of the same minutes can be
    compared on a machine whose load changes, those of different ones cannot. Where a step is not worth it the search
    rests, and looks both ways again after a while.

    Attributes:
        limit: rows that the next call may have.
    """

    __slots__ = ("_best", "_calls", "_counts", "_down", "_max_size", "_probe", "_size", "limit")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._size = 1  # what is known to be worth it
        self._probe: int | None = min(2, max_size)  # what is compared with it; None while the search rests
        self._best: dict[int, float] = {}  # seconds per row of the quickest call of each of the two
        self._counts: dict[int, int] = {}
        self._calls = 0  # since the search rests
        self._down = True  # the direction in which it goes on
        self.limit = self._probe

    @property
    def settled(self) -> bool:
        """Whether the search rests."""
        return self._probe is None

    def add(self, rows: int, seconds: float) -> None:
        """Records a call."""
        step = self._max_size if rows >= self._max_size else 1 << (rows.bit_length() - 1)
        probe = self._probe
        if probe is None:
            self._calls += 1
            if self._calls >= AGAIN:
                self._search(self._size // 2 if self._down and self._size > 1 else 2 * self._size, fresh=True)
                self._down = not self._down
            return
        if step > self._size and step != probe:  # requests of so many rows each
            self._size = step
            self._search(2 * step, fresh=True)
            if self._probe is None:
                return
        elif step not in (self._size, probe):
            return
        each = seconds / rows
        self._best[step] = min(each, self._best.get(step, each))
        self._counts[step] = self._counts.get(step, 0) + 1
        self._judge()

    def never(self) -> None:
        """Calls of this kind cannot be joined after all."""
        self._max_size = self._size = self.limit = 1
        self._probe = None

    def _judge(self) -> None:
        size, probe = self._size, self._probe
        assert probe is not None
        seen, tried = self._counts.get(size, 0), self._counts.get(probe, 0)
        if seen < SEEN or tried < SEEN:
            self.limit = probe if tried < SEEN and (tried <= seen or seen >= SEEN) else size
            return
        smaller, larger = min(size, probe), max(size, probe)
        best = larger if self._best[larger] <= WORTH * self._best[smaller] else smaller
        if best == size:
            self._probe, self._calls = None, 0
            self.limit = size
        else:
            self._size = best
            self._search(2 * best if probe > size else best // 2, fresh=False)

    def _search(self, probe: int, *, fresh: bool) -> None:
        """Compares with another size; what was just measured of this one still holds unless it is `fresh`."""
        probe = min(max(probe, 1), self._max_size)
        kept = {} if fresh else {self._size: self._best[self._size]}
        self._best, self._counts = kept, dict.fromkeys(kept, SEEN)
        self._probe = None if probe == self._size else probe
        self._calls = 0
        self.limit = self._probe or self._size


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
