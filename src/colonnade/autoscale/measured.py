"""Kubernetes' and KEDA's rule: as many replicas as bring each measured value to its target, at the pace of `behavior`.

Sources: Kubernetes, "Horizontal Pod Autoscaling" (algorithm, tolerance, stabilisation, policies) and KEDA, "Scaling
Deployments" (activation, cool-down). A value that is not known never takes a replica away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from colonnade.autoscale.requests import Wish
from colonnade.autoscale.sources import Source, Usage

Form = Literal["utilization", "average", "value"]
Select = Literal["Max", "Min", "Disabled"]
TOLERANCE = 0.1  # Kubernetes' --horizontal-pod-autoscaler-tolerance
COOLDOWN = 300.0  # KEDA's cooldownPeriod
_ROUNDING = 1.0 - 1e-12


class Target(NamedTuple):
    """What one value shall be.

    Attributes:
        name: of the value, for people: `cpu`, `sum(queue_length)`.
        form: `utilization` is the percent of what replicas request, in the mean; `average` is a share for each replica
            of a total; `value` is the total itself.
        goal: percent, or amount.
        source: where it comes from.
    """

    name: str
    form: Form
    goal: float
    source: Source

    @property
    def wakes(self) -> bool:
        """Whether a value above zero is a reason to have a replica at all. What replicas use is none."""
        return not isinstance(self.source, Usage)


class Policy(NamedTuple):
    """How much may change within a period: so many replicas, or percent of those at its beginning."""

    kind: Literal["Pods", "Percent"]
    value: int
    period: float


class Pace(NamedTuple):
    """The pace in one direction."""

    window: float
    policies: tuple[Policy, ...]
    select: Select = "Max"
    tolerance: float = TOLERANCE


UP = Pace(0.0, (Policy("Percent", 100, 15.0), Policy("Pods", 4, 15.0)))
DOWN = Pace(300.0, (Policy("Percent", 100, 15.0),))
"""Kubernetes' defaults."""


@dataclass(frozen=True, slots=True)
class MeasuredRule:
    """What the rule is told. `zero` says whether no replica at all may be left when nothing wakes one."""

    targets: tuple[Target, ...]
    up: Pace = UP
    down: Pace = DOWN
    zero: bool = False
    cooldown: float = COOLDOWN


@dataclass(frozen=True, slots=True)
class MeasuredState:
    """What the rule remembers: earlier results and changes as (time, replicas), and when something last woke it."""

    results: tuple[tuple[float, int], ...] = ()
    changes: tuple[tuple[float, int], ...] = ()
    awake: float = -math.inf


def begin(replicas: int, now: float) -> MeasuredState:
    """The state for a revision with replicas of which nothing was measured yet: they count as wanted until now."""
    return MeasuredState(results=((now, replicas),), awake=now if replicas else -math.inf)


def wish(
    values: tuple[float | None, ...], current: int, ready: int, rule: MeasuredRule, state: MeasuredState, now: float
) -> tuple[Wish, MeasuredState]:
    """What the values ask for, each in the order of the rule's targets (None: not known), and what to remember.

    A value is a percent for `utilization`, a total over all replicas otherwise.
    """
    pairs = list(zip(rule.targets, values, strict=True))
    numbers = {target.name: value for target, value in pairs if value is not None}
    if any(target.wakes and value is not None and value > 0 for target, value in pairs):
        state = replace(state, awake=now)
    unknown = [target.name for target, value in pairs if value is None]
    if rule.zero and not unknown and now - state.awake >= rule.cooldown:
        return Wish(0, f"nothing has woken it for {rule.cooldown:g} s", False, numbers), state
    if not current:
        woken = state.awake == now
        return Wish(int(woken), _told(pairs) if woken else "nothing wakes it", False, numbers), state
    asked = [_asked(target, value, current, ready, rule) for target, value in pairs if value is not None]
    result = max(asked, default=current)
    if unknown:
        result = max(result, current)
    result, results = _stabilised(result, current, rule, state, now)
    result = _paced(result, current, rule, state, now)
    reason = _told(pairs) if not unknown else f"{_told(pairs)}; not known: {', '.join(unknown)}"
    return Wish(result, reason, False, numbers), replace(state, results=results)


def moved(rule: MeasuredRule, state: MeasuredState, before: int, after: int, now: float) -> MeasuredState:
    """The state after a change that was made; the policies count it for their periods."""
    longest = max((policy.period for pace in (rule.up, rule.down) for policy in pace.policies), default=0.0)
    kept = tuple((at, delta) for at, delta in state.changes if now - at < longest)
    return replace(state, changes=(*kept, (now, after - before)) if before != after else kept)


def _asked(target: Target, value: float, current: int, ready: int, rule: MeasuredRule) -> int:
    goal = target.goal
    if target.form == "average":
        ratio = value / (goal * current)
        wanted = math.ceil(value / goal * _ROUNDING)
    else:
        ratio = value / goal
        wanted = math.ceil(ratio * max(1, ready) * _ROUNDING)
    tolerance = rule.up.tolerance if ratio > 1 else rule.down.tolerance
    return current if abs(ratio - 1) <= tolerance * (1 + 1e-9) else max(1, wanted)


def _stabilised(
    result: int, current: int, rule: MeasuredRule, state: MeasuredState, now: float
) -> tuple[int, tuple[tuple[float, int], ...]]:
    """No less than the most that was asked for lately, no more than the least: Kubernetes' stabilisation windows."""
    longest = max(rule.up.window, rule.down.window)
    earlier = tuple((at, many) for at, many in state.results if now - at < longest)
    highest = max((many for at, many in earlier if now - at < rule.down.window), default=result)
    lowest = min((many for at, many in earlier if now - at < rule.up.window), default=result)
    return max(min(current, max(highest, result)), min(lowest, result)), (*earlier, (now, result))


def _paced(result: int, current: int, rule: MeasuredRule, state: MeasuredState, now: float) -> int:
    if result > current:
        return min(result, _limit(rule.up, current, state, now, 1))
    if result < current:
        return max(result, _limit(rule.down, current, state, now, -1))
    return result


def _limit(pace: Pace, current: int, state: MeasuredState, now: float, way: Literal[1, -1]) -> int:
    """How far a change may go: of the policies the one that allows most, or least."""
    if pace.select == "Disabled":
        return current
    limits = []
    for policy in pace.policies:
        done = sum(delta for at, delta in state.changes if now - at < policy.period and delta * way > 0)
        undone = sum(delta for at, delta in state.changes if now - at < policy.period and delta * way < 0)
        start = current - done - undone
        if policy.kind == "Pods":
            limits.append(start + way * policy.value)
        else:
            share = start * (100 + way * policy.value) / 100
            limits.append(math.ceil(share * _ROUNDING) if way > 0 else math.floor(share))
    furthest = max(limits) if (way > 0) == (pace.select == "Max") else min(limits)
    return max(current, furthest) if way > 0 else min(current, max(0, furthest))


def _told(pairs: list[tuple[Target, float | None]]) -> str:
    unit = {"utilization": "%", "average": "", "value": ""}
    told = [f"{t.name} {v:.4g}{unit[t.form]} against {t.goal:.4g}{unit[t.form]}" for t, v in pairs if v is not None]
    return ", ".join(told) or "nothing was measured"
