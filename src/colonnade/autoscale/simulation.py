"""A recorded load through the decision, with replicas that take a fixed time to start. Pure.

The model is plain on purpose: the load is what was recorded, whatever the replicas can take, as it is for a gateway
that counts what it holds. So it answers "what would the autoscaler have done", and says how long there was too little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from colonnade import defaults
from colonnade.autoscale import decision
from colonnade.autoscale.decision import Seen, Settings
from colonnade.autoscale.measured import MeasuredRule, Target
from colonnade.autoscale.requests import Load, RequestRule
from colonnade.autoscale.sources import Usage
from colonnade.autoscale.trace import Second
from colonnade.autoscale.windows import Window
from colonnade.errors import InvalidInput


class Moment(NamedTuple):
    """One second: the load by which it is scaled, replicas asked for and ready, and why if that has changed."""

    second: int
    load: float
    wanted: int
    ready: int
    panic: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """What the scaling came to.

    Attributes:
        replica_seconds: paid for, from the start of a replica's process to its end.
        peak_seconds: what the most replicas that were ever asked for would have cost all the time.
        short: seconds in which the load was more than the ready replicas' capacity.
        cold_starts: how often load met no replica at all.
    """

    seconds: int
    most: int
    changes: int
    replica_seconds: int
    peak_seconds: int
    short: int
    cold_starts: int
    panic_seconds: int


def simulate(trace: Sequence[Second], settings: Settings, *, start: float = 5.0, tail: int = 0) -> list[Moment]:
    """What the autoscaler does each second of a load, and for `tail` seconds without load after it.

    Args:
        start: seconds until a new replica takes requests.

    Raises:
        InvalidInput: the trace does not tell what the settings scale by.
    """
    rule = settings.rule
    window = Window(0.0)
    state = decision.begin(settings, 0, 0.0, known=not settings.initial)
    ready_at = [start] * state.wanted
    moments: list[Moment] = []
    tick = int(defaults.AUTOSCALE_TICK)
    for second in range(len(trace) + tail):
        load = _load_of(trace[second] if second < len(trace) else None, trace[0], settings)
        now = float(second + 1)
        ready = sum(at <= now for at in ready_at)
        if isinstance(rule, RequestRule):
            window.add(now, 1.0, *((load[0], 0.0) if rule.metric == "concurrency" else (0.0, load[0])))
        waits = bool(load) and load[0] > 0 and not ready
        told = None
        if second % tick == 0 or (waits and not state.wanted):
            seen = _seen(settings, window, load, ready, now, waits)
            told = decision.decide(seen, settings, state, now)
            changed = told.wanted != state.wanted
            state = told.state
            ready_at = _follow(ready_at, state.wanted, now + start)
        moments.append(
            Moment(
                second,
                load[0] if load else 0.0,
                state.wanted,
                min(ready, state.wanted),
                told.panic if told else bool(moments and moments[-1].panic),
                told.reason if told and changed else "",
            )
        )
    return moments


def summary(moments: Sequence[Moment], settings: Settings) -> Summary:
    """What a simulation came to."""
    capacity = settings.rule.capacity if isinstance(settings.rule, RequestRule) else 0.0
    most = max(moment.wanted for moment in moments)
    met_none = [moment.load > 0 and not moment.ready for moment in moments]
    return Summary(
        len(moments),
        most,
        sum(bool(moment.reason) for moment in moments),
        sum(moment.wanted for moment in moments),
        most * len(moments),
        sum(moment.load > moment.ready * capacity for moment in moments) if capacity else sum(met_none),
        sum(none and (not index or not met_none[index - 1]) for index, none in enumerate(met_none)),
        sum(moment.panic for moment in moments),
    )


def _load_of(second: Second | None, first: Second, settings: Settings) -> tuple[float, ...]:
    """What the settings scale by, of one second; zeros after the end of the trace."""
    rule = settings.rule
    if isinstance(rule, RequestRule):
        return (_told(second, first, rule.metric),)
    if isinstance(rule, MeasuredRule):
        return tuple(_told(second, first, _column(target)) for target in rule.targets)
    return ()


def _column(target: Target) -> str:
    return target.source.resource if isinstance(target.source, Usage) else "value"


def _told(second: Second | None, first: Second, name: str) -> float:
    if getattr(first, name) is None:
        more = " (or rps and duration)" if name == "concurrency" else ""
        raise InvalidInput(f"The manifest scales by {name}, and the trace does not tell it; add a column {name}{more}.")
    return float((getattr(second, name) or 0.0) if second is not None else 0.0)


def _seen(settings: Settings, window: Window, load: tuple[float, ...], ready: int, now: float, waits: bool) -> Seen:
    rule = settings.rule
    if isinstance(rule, RequestRule):
        means = (
            window.mean(rule.metric, each, now, weighted=rule.weighted)
            for each in (rule.stable_window, rule.panic_window)
        )
        return Seen(ready, Load(*means), held=int(waits))
    if isinstance(rule, MeasuredRule):
        values = (
            value / max(1, ready) if target.form == "utilization" else value
            for target, value in zip(rule.targets, load, strict=True)
        )
        return Seen(ready, values=tuple(values), held=int(waits and not isinstance(rule.targets[0].source, Usage)))
    return Seen(ready)


def _follow(ready_at: list[float], wanted: int, later: float) -> list[float]:
    """Replicas brought to the number that is wanted: what is not ready yet goes first."""
    kept = sorted(ready_at)[:wanted]
    return kept + [later] * (wanted - len(kept))
