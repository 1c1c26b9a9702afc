"""Which of some conditions holds for a body, and what it may cost to find out. Pure.

A body is whatever a caller or a service says, and a condition may look at all of it, so the work is bounded by a budget
that all conditions of one request share. A little of it is done at once, on the event loop that serves everybody
(`quickly`); what takes longer is for a process beside it, which answers `first`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

from colonnade import defaults
from colonnade.graph import gjson
from colonnade.graph.gjson import Budget, TooMuch
from colonnade.graph.outcome import Failure


class Choice(NamedTuple):
    """What came of a test.

    Attributes:
        which: index of the first condition that holds, None if none does.
        valid: the body is JSON; no condition holds for one that is not.
    """

    which: int | None
    valid: bool = True


TOO_LARGE = Failure(
    f"conditions are tested on bodies of up to {defaults.GRAPH_CONDITION_BYTES} bytes, and this one is larger",
    413,
)
TOO_MUCH = Failure(
    f"the conditions look at more than {defaults.GRAPH_CONDITION_VALUES} values of this request; "
    "let them ask for a field near the top of a body",
    413,
)


def first(body: bytes, paths: Sequence[str], budget: Budget) -> Choice:
    """Test a body on GJSON paths in turn until one finds something.

    Raises:
        TooMuch: the budget is spent.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Choice(None, valid=False)
    return Choice(next((at for at, path in enumerate(paths) if gjson.exists(value, path, budget)), None))


def quickly(body: bytes, paths: Sequence[str], budget: Budget) -> Choice | None:
    """`first`, if that takes about a millisecond: of a small body and within the budget, which is spent by it."""
    if len(body) > defaults.GRAPH_QUICK_BYTES or budget.left <= 0:
        return None
    try:
        return first(body, paths, budget)
    except TooMuch:
        return None
