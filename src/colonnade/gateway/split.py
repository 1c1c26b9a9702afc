"""Which revision takes the next request: an exact split by weight.

Drawing lots gives a canary of 10 % now 6 and now 15 of 100 requests, and an analysis of it that much noise. This is the
smooth weighted round robin of nginx: each turn every revision earns its weight, the richest one takes the request and
pays the sum of all weights. So any run of requests is split to within one request, a whole turn exactly, and the
requests of one revision lie as far apart as they can. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import gcd

_MOST_STEPS = 1000  # of a turn that is entered in the middle


class Split:
    """Deals requests out among revisions. With no weight at all they get equal shares.

    Attributes:
        weights: by name.
    """

    __slots__ = ("_credits", "_names", "_total", "_weights", "weights")

    def __init__(self, weights: Mapping[str, int]) -> None:
        """`weights`: of at least one revision, by name, none negative."""
        self.weights = dict(weights)
        self._names = tuple(weights)
        found = list(weights.values()) if any(weights.values()) else [1] * len(weights)
        factor = gcd(*found)
        self._weights = [weight // factor for weight in found]
        self._total = sum(self._weights)
        self._credits = [0] * len(found)

    def next(self) -> str:
        """The revision of the next request."""
        credits = self._credits
        best = 0
        for index, weight in enumerate(self._weights):
            credits[index] += weight
            if credits[index] > credits[best]:
                best = index
        credits[best] -= self._total
        return self._names[best]

    def enter(self, draw: Callable[[int], int]) -> None:
        """Begin somewhere in the turn: of several gateway processes, each begins elsewhere, so that a revision with a
        small share does not get its first request of all of them at the same time. `draw(n)` gives a number below n."""
        for _ in range(draw(min(self._total, _MOST_STEPS))):
            self.next()

    def follow(self, before: Split) -> None:
        """Go on from a split with other weights: what a revision had earned there it keeps. Else a rollout that often
        changes the weights would begin anew each time, and a small share would never get its turn."""
        earned = dict(zip(before._names, before._credits, strict=True))
        most = (self._total - 1) // 2  # beyond that lies no state of a turn, and the first turn would not be exact
        scaled = (earned.get(name, 0) * self._total / before._total for name in self._names)
        self._credits = [max(-most, min(most, round(credit))) for credit in scaled]
        self._credits[_richest(self._weights)] -= sum(self._credits)


def _richest(weights: Sequence[int]) -> int:
    return max(range(len(weights)), key=weights.__getitem__)
