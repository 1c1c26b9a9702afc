"""How many requests of a service may be sent again: a budget, so that retries never become the overload.

A limit of attempts per request multiplies the load of a service just when it fails. A budget is a share of the
requests, plus a few each second for services with little traffic (Finagle's and Linkerd's rule). Pure.
"""

from __future__ import annotations

import math

from colonnade import defaults

_KEPT = 10.0  # seconds; an unused retry is lost after so long, in the mean


class RetryBudget:
    """The retries that one service may still make.

    Attributes:
        requests: first attempts so far; the owner counts here, one addition per request.
        refused: retries that were not made for lack of budget.
    """

    __slots__ = ("_credit", "_seen", "_share", "_since", "refused", "requests")

    def __init__(self, now: float, share: float = defaults.RETRY_PERCENT / 100, requests: int = 0) -> None:
        """`share`: retries per request; with 0 there are none. `requests`: that earn nothing here."""
        self.requests = requests
        self.refused = 0
        self._share = share
        self._seen = requests
        self._since = now
        self._credit = defaults.RETRIES_PER_SECOND * _KEPT if share else 0.0

    def take(self, now: float) -> bool:
        """Use one retry, if there is one."""
        if not self._share:
            self.refused += 1
            return False
        fresh, seconds = self.requests - self._seen, now - self._since
        self._seen, self._since = self.requests, now
        earned = fresh * self._share + seconds * defaults.RETRIES_PER_SECOND
        if seconds > 0.0:  # both fade from when they were earned: the old credit, and what came evenly since
            faded = -math.expm1(-seconds / _KEPT)
            self._credit += earned * faded * _KEPT / seconds - self._credit * faded
        else:
            self._credit += earned
        if self._credit < 1.0:
            self.refused += 1
            return False
        self._credit -= 1.0
        return True
