"""What the gateways have answered so far, by revision: the sum over their processes.

Each process streams its own counts, which start at zero with it. A process that ended has its last counts added to what
is kept, so a sum never falls.
"""

from __future__ import annotations

from typing import Any

import msgspec

from colonnade.control.analysis import Counts


class Line(msgspec.Struct, frozen=True):
    """The part of a gateway's line that is counted here: see `gateway.stats`."""

    namespace: str
    revision: str
    epoch: float = 0.0
    answers: int = 0
    errors: int = 0
    latencies: tuple[int, ...] = ()


class Traffic:
    """Sums the counts of all gateway processes."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], dict[int, tuple[float, Counts]]] = {}
        self._ended: dict[tuple[str, str], Counts] = {}

    def observe(self, worker: int, line: dict[str, Any]) -> None:
        """Take one line of a worker; one without a revision is a sign of life only."""
        if "revision" not in line:
            return
        found = msgspec.convert(line, Line)
        key = (found.namespace, found.revision)
        workers = self._last.setdefault(key, {})
        before = workers.get(worker)
        if before is not None and before[0] != found.epoch:  # another process has its number now
            self._ended[key] = _sum(self._ended.get(key, Counts()), before[1])
        workers[worker] = (found.epoch, Counts(found.answers, found.errors, found.latencies))

    def counts(self, namespace: str, revision: str) -> Counts:
        """What a revision has answered so far."""
        key = (namespace, revision)
        total = self._ended.get(key, Counts())
        for _, counts in self._last.get(key, {}).values():
            total = _sum(total, counts)
        return total

    def keep(self, namespace: str, revisions: set[str]) -> None:
        """Forget the revisions of a namespace that are no more."""
        for found in (self._last, self._ended):
            for key in [key for key in found if key[0] == namespace and key[1] not in revisions]:
                del found[key]


def _sum(one: Counts, other: Counts) -> Counts:
    longest = max(len(one.latencies), len(other.latencies))
    padded = [(*each.latencies, *(0,) * (longest - len(each.latencies))) for each in (one, other)]
    return Counts(
        one.answers + other.answers,
        one.errors + other.errors,
        tuple(first + second for first, second in zip(*padded, strict=True)),
    )
