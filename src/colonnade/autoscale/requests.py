"""Knative's rule: as many replicas as hold the target of requests each, by a calm and a hurried look at the load.

The stable window decides as long as things are quiet. When the panic window asks for twice of what is ready, it
decides, and nothing is taken away until the load has stayed below that for a whole stable window.

Source: Knative Serving, "Additional autoscaling configuration" and the behaviour of its `Scale(now)`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from colonnade.autoscale.windows import RequestMetric

_ROUNDING = 1.0 - 1e-12  # 3.0000000000000004 of a sum of floats is 3


class Load(NamedTuple):
    """The mean of the rule's metric over its two windows."""

    stable: float
    panic: float


@dataclass(frozen=True, slots=True)
class RequestRule:
    """What Knative's rule is told. Times in seconds.

    Attributes:
        target: what one replica shall have, utilisation applied.
        capacity: what one replica can have: the target at a utilisation of 100 %, or `containerConcurrency`.
        panic_threshold: how many times what is ready the panic window must ask for.
        activation: replicas to start with, as soon as there is load at all.
        retention: how long the last replica stays once it is not needed.
        burst_capacity: requests that may come at once without a wait; -1 is any number.
    """

    metric: RequestMetric = "concurrency"
    target: float = 70.0
    capacity: float = 100.0
    stable_window: float = 60.0
    panic_window: float = 6.0
    panic_threshold: float = 2.0
    max_up_rate: float = 1000.0
    max_down_rate: float = 2.0
    down_delay: float = 0.0
    retention: float = 0.0
    activation: int = 1
    burst_capacity: float = 211.0
    weighted: bool = False


@dataclass(frozen=True, slots=True)
class RequestState:
    """What the rule remembers.

    Attributes:
        panic_since: when the load was last over the threshold, or None outside of a panic.
        panic_most: the most replicas of this panic.
        wishes: earlier results that the delay of scaling down still counts, as (time, replicas).
        busy: when replicas were last asked for, or when it began.
    """

    panic_since: float | None = None
    panic_most: int = 0
    wishes: tuple[tuple[float, int], ...] = ()
    busy: float = -math.inf


def begin(replicas: int, now: float) -> RequestState:
    """The state for a revision with replicas of which no load was seen yet: nothing is taken away for a stable window.

    That is how a control plane that was started again does not act on a history of one second.
    """
    if replicas > 1:
        return RequestState(panic_since=now, panic_most=replicas, busy=now)
    return RequestState(busy=now if replicas else -math.inf)


class Wish(NamedTuple):
    """How many replicas a rule asks for, before the bounds of the manifest, and why."""

    replicas: int
    reason: str
    panic: bool
    numbers: Mapping[str, float]


def wish(load: Load, ready: int, rule: RequestRule, state: RequestState, now: float) -> tuple[Wish, RequestState]:
    """What the load asks for, and what to remember of it."""
    some = max(1, ready)
    most = math.ceil(rule.max_up_rate * some)
    least = math.floor(some / rule.max_down_rate)
    by_stable, by_panic = _needed(load.stable, rule.target), _needed(load.panic, rule.target)
    state = _panicking(by_panic / some >= rule.panic_threshold, state, rule, now)
    wanted = _paced(by_stable, least, most, rule.activation)
    if state.panic_since is not None:
        hurried = _paced(by_panic, least, most, rule.activation)
        wanted = max(wanted, hurried, state.panic_most)
        state = replace(state, panic_most=wanted)
    if wanted:
        state = replace(state, busy=now)
    wanted, wishes = _delayed(wanted, state.wishes, rule.down_delay, now)
    if not wanted and now - state.busy < rule.retention:
        wanted = 1
    panic = state.panic_since is not None
    return Wish(wanted, _reason(load, rule, panic), panic, _numbers(load, ready, rule)), replace(state, wishes=wishes)


def _needed(load: float, target: float) -> int:
    return math.ceil(load / target * _ROUNDING)


def _paced(needed: int, least: int, most: int, activation: int) -> int:
    """Within the rates of change; but what is started at all is started with the activation scale."""
    paced = min(max(needed, least), most)
    return max(paced, activation) if needed else paced


def _panicking(over: bool, state: RequestState, rule: RequestRule, now: float) -> RequestState:
    if over:
        return replace(state, panic_since=now)
    if state.panic_since is not None and now - state.panic_since > rule.stable_window:
        return replace(state, panic_since=None, panic_most=0)
    return state


def _delayed(
    wanted: int, wishes: tuple[tuple[float, int], ...], delay: float, now: float
) -> tuple[int, tuple[tuple[float, int], ...]]:
    """The greatest wish of the last `delay` seconds. A wish that a later one reaches can be forgotten."""
    if delay <= 0.0:
        return wanted, ()
    kept = tuple((at, many) for at, many in wishes if now - at < delay and many > wanted)
    kept += ((now, wanted),)
    return kept[0][1], kept


def _reason(load: Load, rule: RequestRule, panic: bool) -> str:
    what = "requests at a time" if rule.metric == "concurrency" else "requests a second"
    seen, window = (load.panic, rule.panic_window) if panic else (load.stable, rule.stable_window)
    mode = ", in panic" if panic else ""
    return f"{seen:.4g} {what} over {window:g} s, {rule.target:.4g} a replica{mode}"


def _numbers(load: Load, ready: int, rule: RequestRule) -> dict[str, float]:
    excess = -1.0
    if rule.burst_capacity >= 0:
        excess = math.floor(ready * rule.capacity - rule.burst_capacity - load.panic) if rule.burst_capacity else 0.0
    return {"stable": load.stable, "panic": load.panic, "target": rule.target, "excess_burst_capacity": excess}
