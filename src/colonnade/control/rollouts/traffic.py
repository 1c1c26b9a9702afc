"""What the gateways have answered so far, by revision: the sum over their processes.

Each process streams its own counts, which start at zero with it. A process that ended has its last counts added to what
is kept, so a sum never falls. What is under way ends with its process, and counts only as long as that is heard.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Container, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from colonnade.control.rollouts.analysis import Counts, added

SILENCE = 5.0  # seconds after which a line tells nothing any more of what is under way: one is due each second


class Line(msgspec.Struct, frozen=True):
    """The part of a gateway's line that is counted here: see `gateway.stats`."""

    namespace: str
    revision: str
    epoch: float = 0.0
    answers: int = 0
    errors: int = 0
    latencies: tuple[int, ...] = ()
    late: tuple[int, ...] = ()
    shadow: dict[str, int] = {}


class _Told(NamedTuple):
    """What a revision has done, of one process or of all that ended."""

    epoch: float = 0.0
    counts: Counts = Counts()
    shadow: Mapping[str, int] = MappingProxyType({})
    at: float = 0.0


class Traffic:
    """Sums the counts of all gateway processes. A revision is known by its namespace and name."""

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._last: dict[tuple[str, str], dict[int, _Told]] = {}
        self._ended: dict[tuple[str, str], _Told] = {}

    def observe(self, worker: int, line: dict[str, Any]) -> None:
        """Take one line of a worker; one without a revision is a sign of life only."""
        if "revision" not in line:
            return
        found = msgspec.convert(line, Line)
        key = (found.namespace, found.revision)
        workers = self._last.setdefault(key, {})
        before = workers.get(worker)
        if before is not None and before.epoch != found.epoch:  # another process has its number now
            self._ended[key] = _add(self._ended.get(key, _Told()), _over(before))
        counts = Counts(found.answers, found.errors, found.latencies, found.late)
        workers[worker] = _Told(found.epoch, counts, found.shadow, self._now())

    def counts(self, namespace: str, revision: str) -> Counts:
        """What a revision has answered so far, and what has been under way there for long."""
        return self._total(namespace, revision).counts

    def shadow(self, namespace: str, revision: str) -> dict[str, int]:
        """Requests that were to be copied to a revision so far, by what came of them."""
        return dict(self._total(namespace, revision).shadow)

    def keep(self, revisions: Container[tuple[str, str]]) -> None:
        """Forget all revisions but these."""
        for key in [key for key in self._last if key not in revisions]:
            del self._last[key]
            self._ended.pop(key, None)

    def _total(self, namespace: str, revision: str) -> _Told:
        key = (namespace, revision)
        total = self._ended.get(key, _Told())
        for told in self._last.get(key, {}).values():
            total = _add(total, told if self._now() - told.at < SILENCE else _over(told))
        return total


def _over(told: _Told) -> _Told:
    """The same without what was under way."""
    return told._replace(counts=told.counts._replace(late=()))


def _add(one: _Told, other: _Told) -> _Told:
    return _Told(0.0, _sum(one.counts, other.counts), Counter(one.shadow) + Counter(other.shadow))


def _sum(one: Counts, other: Counts) -> Counts:
    return Counts(
        one.answers + other.answers,
        one.errors + other.errors,
        added(one.latencies, other.latencies),
        added(one.late, other.late),
    )
