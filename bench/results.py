"""What was measured, and the ratios made of it. Pure, apart from the file.

Ratios are paired: both figures come from the same round, one after the other, so that what disturbs the machine
disturbs both. What is reported is the median of the rounds' ratios, and their range.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

Figures = dict[str, float]  # by measure, such as `64.rps`


class Series(msgspec.Struct):
    """A workload's figures.

    Attributes:
        date: when it was measured.
        seconds: of load per figure.
        rounds: for each round, the figures of each server.
        failures: for a server that gave none in some round, why.
        settings: what was chosen for a server, in words.
        calibration_ms: how long a fixed loop took in each round: what else the machine did.
    """

    date: str
    seconds: float
    rounds: list[dict[str, Figures]] = []
    failures: dict[str, str] = {}
    settings: dict[str, str] = {}
    calibration_ms: list[float] = []

    def values(self, server: str, measure: str) -> list[float]:
        """A server's figures of this measure, of the rounds that have one."""
        found = (turn.get(server, {}).get(measure) for turn in self.rounds)
        return [value for value in found if value is not None]

    def servers(self) -> list[str]:
        """Those that gave figures, in the order in which they ran."""
        return list(dict.fromkeys(name for turn in self.rounds for name in turn))


class Spread(NamedTuple):
    """A median and what it lies between."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Of no values there is none."""
        every = list(values)
        return cls(statistics.median(every), min(every), max(every)) if every else None


def ratio(series: Series, server: str, bases: Sequence[str], measure: str, *, best: bool = True) -> Spread | None:
    """A server's figure over the best of the bases' in the same round.

    Args:
        series: the workload.
        server: whose figure.
        bases: names of servers; those without a figure in a round do not count in it.
        measure: of which figure.
        best: the largest is the best; else the smallest is.
    """
    pairs = paired(series, server, bases, measure, best=best)
    return Spread.of(own / other for own, other in pairs if other)


def difference(series: Series, server: str, bases: Sequence[str], measure: str) -> Spread | None:
    """A server's figure minus the smallest of the bases' in the same round."""
    return Spread.of(own - other for own, other in paired(series, server, bases, measure, best=False))


def paired(series: Series, server: str, bases: Sequence[str], measure: str, *, best: bool) -> list[tuple[float, float]]:
    """The figure and the best of the bases' for each round that has both."""
    pairs = []
    for turn in series.rounds:
        own = turn.get(server, {}).get(measure)
        others = [turn[base][measure] for base in bases if measure in turn.get(base, {})]
        if own is not None and others:
            pairs.append((own, max(others) if best else min(others)))
    return pairs


def load(path: Path) -> dict[str, Series]:
    """What earlier runs have left; empty if nothing."""
    return msgspec.json.decode(path.read_bytes(), type=dict[str, Series]) if path.exists() else {}


def save(path: Path, results: dict[str, Series]) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))
