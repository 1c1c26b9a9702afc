"""Which replicas get no requests for a while because they do worse than the others.

The rules are those of Envoy's outlier detection: failures in a row, and a success rate far below that of the other
replicas; a replica stays away longer each time; only a share of the replicas may be away at once, since the others must
carry the load, and where most fail the fault lies elsewhere. Pure: it is asked when something failed, so it costs a
service without failures nothing but the counting, and needs no timer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from colonnade import defaults
from colonnade.gateway.balance import Load

WINDOW = 10.0  # seconds over which success rates are compared
MIN_ANSWERS = 20  # of a replica in the window; fewer say nothing
MIN_REPLICAS = 3  # with so many answers; a mean of fewer says nothing
DEVIATIONS = 1.9  # below the mean by more standard deviations than these is an outlier
MIN_DISTANCE = 0.05  # and by more than this share of the answers
_FORGOTTEN = 30.0  # seconds in the service that take back one ejection
UNWELL = frozenset({502, 503})  # answers that mean the replica itself; 504 may mean a caller in a hurry


class Outliers:
    """The judge over the replicas of one service."""

    __slots__ = ("_compared_at", "_max_share", "_row", "_slow_start")

    def __init__(
        self,
        row: int = defaults.EJECT_AFTER_FAILURES,
        max_share: float = defaults.MAX_EJECTED_PERCENT / 100,
        slow_start: float = defaults.SLOW_START,
    ) -> None:
        """Its rules.

        Args:
            row: failures in a row that eject a replica; 0 ejects none.
            max_share: of the replicas that may be away at once.
            slow_start: seconds of the slow start of one that comes back.
        """
        self._row = row
        self._max_share = max_share
        self._slow_start = slow_start
        self._compared_at = 0.0

    def erred(self, load: Load, status: int, loads: Sequence[Load], now: float) -> bool:
        """Count an answer of 500 or above; whether the replica is ejected for it.

        Args:
            load: of the replica.
            status: HTTP status of its answer.
            loads: of all replicas of the service.
            now: monotonic seconds.
        """
        load.window_answers += 1
        load.window_errors += 1
        if status in UNWELL:
            return self._count_failure(load, loads, now)
        load.row = 0  # an error of the model: the replica itself is well
        return self._compare(load, loads, now)

    def failed(self, load: Load, loads: Sequence[Load], now: float) -> bool:
        """Count a request that got no answer: broken off, or over its time; whether the replica is ejected for it."""
        load.window_answers += 1
        load.window_errors += 1
        return self._count_failure(load, loads, now)

    def _count_failure(self, load: Load, loads: Sequence[Load], now: float) -> bool:
        load.row += 1
        if 0 < self._row <= load.row:
            return self._eject(load, loads, now)
        return self._compare(load, loads, now)

    def _compare(self, load: Load, loads: Sequence[Load], now: float) -> bool:
        """Once in a window, compare the success rates. Only the replica that failed now can be ejected for that."""
        if not self._row or now - self._compared_at < WINDOW:
            return False
        begun, self._compared_at = self._compared_at > 0.0, now
        rates = {id(one): 1.0 - one.window_errors / one.window_answers for one in loads if _enough(one)}
        judged = begun and id(load) in rates and len(rates) >= MIN_REPLICAS
        mean = math.fsum(rates.values()) / max(1, len(rates))
        deviation = math.sqrt(math.fsum((rate - mean) ** 2 for rate in rates.values()) / max(1, len(rates)))
        distance = mean - rates.get(id(load), mean)
        for one in loads:
            one.window_answers = one.window_errors = 0
        # The distance of one outlier among n is at most sqrt(n - 1) deviations, so few replicas need less.
        most = math.sqrt(max(0, len(rates) - 1))
        if not judged or distance < max(MIN_DISTANCE, min(DEVIATIONS, 0.9 * most) * deviation):
            return False
        return self._eject(load, loads, now)

    def _eject(self, load: Load, loads: Sequence[Load], now: float) -> bool:
        load.row = 0
        away = sum(one.ejected_until > now for one in loads if one is not load)
        if away + 1 > self._max_share * len(loads):
            return False
        if load.ejections:
            served = max(0.0, now - load.ejected_until)
            load.ejections = max(0, load.ejections - int(served / _FORGOTTEN))
        seconds = min(defaults.EJECTION_FIRST * 2.0 ** min(load.ejections, 16), defaults.EJECTION_MAX)
        load.ejections += 1
        load.eject(now + seconds, self._slow_start)
        return True


def _enough(load: Load) -> bool:
    return load.window_answers >= MIN_ANSWERS
