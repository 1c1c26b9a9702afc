"""What the gateway told of one revision, second by second, for as long as the longest window.

A second in which nothing was told counts as idle, for the gateway is silent about what is idle. How far the word of the
gateway goes (`heard`) is therefore part of every mean: seconds after it are not idle but unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

RequestMetric = Literal["concurrency", "rps"]
KEPT_SECONDS = 3600  # Knative's longest window
_LEAST_WEIGHT = 1e-4  # what the oldest second of a weighted window still counts for, of the newest
_LEAST_SMOOTHING = 0.2


class _Second(NamedTuple):
    area: float
    """Requests under way, times the seconds they were so: a mean is the sum of these by the length."""
    arrivals: float


@dataclass(slots=True)
class Window:
    """The last seconds of one revision, over all gateway processes. Times are of any clock that only goes forward."""

    began: float
    _seconds: dict[int, _Second] = field(default_factory=dict)

    def add(self, now: float, seconds: float, concurrency: float, requests: float) -> None:
        """Count what one process told at `now` of the interval of `seconds` before.

        Parts of a second may be told apart; they are added up.
        """
        second = math.floor(now - seconds / 2)
        area, arrivals = self._seconds.get(second, _Second(0.0, 0.0))
        self._seconds[second] = _Second(area + concurrency * seconds, arrivals + requests)
        while len(self._seconds) > KEPT_SECONDS + 1:
            del self._seconds[next(iter(self._seconds))]

    def mean(self, metric: RequestMetric, length: float, heard: float, *, weighted: bool = False) -> float:
        """The mean over the last `length` seconds before `heard`; over those that were seen, while they are fewer.

        With `weighted`, newer seconds count for more (Knative's `weightedExponential`).
        """
        newest = max(math.floor(heard - 0.5), max(self._seconds, default=math.floor(self.began)))
        oldest = max(newest - max(1, math.ceil(length)) + 1, math.floor(self.began))
        count = max(1, newest - oldest + 1)
        values = (self._value(second, metric) for second in range(newest, newest - count, -1))
        if not weighted:
            return math.fsum(values) / count
        fading = 1.0 - max(_LEAST_SMOOTHING, 1.0 - _LEAST_WEIGHT ** (1.0 / count))
        weights = [fading**age for age in range(count)]
        return math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / math.fsum(weights)

    def _value(self, second: int, metric: RequestMetric) -> float:
        found = self._seconds.get(second)
        if found is None:
            return 0.0
        return found.area if metric == "concurrency" else found.arrivals
