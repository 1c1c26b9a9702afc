"""Latencies as counts in buckets that are the same everywhere, so that counts of several processes can be added.

Buckets are a tenth of a decade wide, from 0.1 ms to 1,000 s: a quantile read from them is off by at most a quarter,
and one revision of one service costs 71 integers. What differs by less than a bucket is told apart by interpolation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

PER_DECADE = 10
LEAST = 1e-4  # seconds
BOUNDS: tuple[float, ...] = tuple(LEAST * 10 ** (step / PER_DECADE) for step in range(7 * PER_DECADE + 1))
"""Upper bounds in seconds; what takes longer than the last one counts in it."""


def bucket(seconds: float) -> int:
    """The bucket of a latency."""
    return min(bisect_left(BOUNDS, seconds), len(BOUNDS) - 1)


def quantile(counts: Sequence[int], q: float) -> float:
    """The latency in seconds that a share `q` of the counted answers did not exceed; 0.0 where none is counted.

    Within a bucket the answers are taken to be spread evenly.
    """
    rank = q * sum(counts)
    below = 0
    for index, count in enumerate(counts):
        if count and below + count >= rank:
            lower = BOUNDS[index - 1] if index else 0.0
            return lower + (BOUNDS[index] - lower) * (rank - below) / count
        below += count
    return 0.0
