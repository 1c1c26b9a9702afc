"""What became of the requests of an open loop, as figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Outcome(NamedTuple):
    """One request: when it left, seconds to its end, the answer's status (0: none came)."""

    sent: float
    took: float
    status: int


def summary(
    outcomes: Sequence[Outcome], start: float, relief: float, end: float, unsent: int, late: float
) -> dict[str, float]:
    """The figures of an overload.

    Args:
        outcomes: of all requests.
        start: when the overload began.
        relief: when it ended and a load that can be served began.
        end: when that ended.
        unsent: requests that found no connection to leave on.
        late: seconds from which an answer counts as late.

    Returns:
        goodput: right answers per second that came while the overload lasted.
        offered: requests that were due per second under overload.
        p99: seconds that 99 of 100 right answers took at most.
        recovery: seconds after the relief until the last request left that was refused, failed or late; 0 if none was.
        refused, failed: of the requests that left under overload.
    """
    loaded = [outcome for outcome in outcomes if outcome.sent < relief]
    accepted = sorted(outcome.took for outcome in loaded if outcome.status == 200)
    seconds = relief - start
    bad = [outcome.sent for outcome in outcomes if outcome.sent >= relief and not _well(outcome, late)]
    timely = sum(outcome.status == 200 and outcome.sent + outcome.took <= relief for outcome in loaded)
    return {
        "goodput": timely / seconds,
        "offered": (len(loaded) + unsent) / seconds,
        "sent": len(loaded) / seconds,
        "p99": accepted[int(len(accepted) * 0.99)] if accepted else float("inf"),
        "recovery": min(max(bad), end) - relief if bad else 0.0,
        "refused": sum(outcome.status >= 400 for outcome in loaded),
        "failed": sum(outcome.status == 0 for outcome in loaded),
    }


def _well(outcome: Outcome, late: float) -> bool:
    return outcome.status == 200 and outcome.took < late
