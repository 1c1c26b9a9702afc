"""A bound on what a peer may do often but not without end: a token bucket. Pure.

HTTP/2 has messages that cost the sender next to nothing and the receiver some work, or an answer: PING, SETTINGS,
empty DATA, and above all a request that is reset at once (CVE-2019-9512 and its kin, CVE-2023-44487).
"""

from __future__ import annotations


class Budget:
    """Allows `burst` at once, and `rate` per second in the long run."""

    __slots__ = ("_burst", "_left", "_rate", "_seen")

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = float(burst)
        self._rate = rate
        self._left = float(burst)
        self._seen = 0.0

    def spend(self, now: float) -> bool:
        """Take one at `now` (seconds of any steady clock); False if there is none left."""
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
