"""The one decision: what was seen, what the manifest says, what was decided before, and now; a number of replicas out.

A rule (`requests`, `measured`) says what the load asks for. Round it stands what holds for each rule: the bounds of the
manifest, the scale that a new revision starts with, and that zero is left at once when a request waits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from colonnade.autoscale import measured, requests
from colonnade.autoscale.measured import MeasuredRule, MeasuredState
from colonnade.autoscale.requests import Load, RequestRule, RequestState, Wish


class Fixed(NamedTuple):
    """The rule of a number that nothing changes; `why` says what makes it so."""

    why: str


Rule = RequestRule | MeasuredRule | Fixed
_KNATIVE = RequestRule()
_NO_LOAD, _NO_VALUES = RequestState(), MeasuredState()


@dataclass(frozen=True, slots=True)
class Settings:
    """What the manifest says of one component.

    Attributes:
        least: replicas that there always are; 0 lets the last one go.
        most: replicas that there never are more of; 0 is no limit.
        initial: replicas of a new revision, until so many have been ready.
        held: replicas that a rollout needs now, whatever the load says.
    """

    rule: Rule = _KNATIVE
    least: int = 1
    most: int = 0
    initial: int = 1
    held: int = 0

    def bounded(self, replicas: int) -> int:
        """The nearest number that the manifest and the rollout allow."""
        replicas = max(replicas, self.least, self.held)
        return min(replicas, self.most) if self.most else replicas


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of one revision now.

    Attributes:
        ready: replicas that take requests.
        load: of the windows of a `RequestRule`; None if the gateway is not heard.
        values: of the targets of a `MeasuredRule`, in their order, None for each that is not known.
        held: requests that wait at the gateway now.
        whole: all gateway processes are heard. If not, nothing is taken away on the word of the others.
    """

    ready: int = 0
    load: Load | None = None
    values: tuple[float | None, ...] = ()
    held: int = 0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class State:
    """What is remembered of one revision between decisions: make it with `begin`.

    Attributes:
        wanted: the last decision.
        reached: whether the initial scale has been ready once.
        since: when replicas were first asked for after there were none, or None while there are none.
    """

    wanted: int
    reached: bool
    since: float | None
    requests: RequestState = _NO_LOAD
    measured: MeasuredState = _NO_VALUES


class Decision(NamedTuple):
    """How many replicas there shall be, and why, in words and in numbers."""

    wanted: int
    reason: str
    panic: bool
    numbers: Mapping[str, float]
    state: State


def begin(settings: Settings, replicas: int, now: float, *, known: bool) -> State:
    """The state for a revision with `replicas` of which nothing was seen yet.

    Args:
        known: it has been ready before, so it is not brought to its initial scale again.
    """
    wanted = settings.bounded(replicas if known else max(replicas, settings.initial))
    return State(wanted, known, now if wanted else None, requests.begin(replicas, now), measured.begin(replicas, now))


def decide(seen: Seen, settings: Settings, state: State, now: float) -> Decision:
    """Decide once. Decisions on the same state are made in the order of `now`, which never goes back."""
    wish, state = _wish(seen, settings, state, now)
    wanted, reason = wish.replicas, wish.reason
    state = replace(state, reached=state.reached or seen.ready >= settings.bounded(settings.initial))
    if not state.reached and wanted < settings.initial:
        wanted, reason = settings.initial, f"initial scale {settings.initial}"
    if seen.held and not (wanted and state.wanted):
        wanted, reason = max(wanted, _activation(settings)), f"{seen.held} waiting for a first replica"
    if not wanted and not _may_go(settings, state, now):
        wanted, reason = 1, "the last replica stays for one window"
    if wanted < state.wanted and not seen.whole:
        wanted, reason = state.wanted, "not all of the gateway is heard"
    bounded = settings.bounded(wanted)
    if bounded > wanted:
        reason += f"; minReplicas {bounded}" if bounded == settings.least else f"; {bounded} for the rollout"
    elif bounded < wanted:
        reason += f"; maxReplicas {bounded}"
    return Decision(bounded, reason, wish.panic, wish.numbers, _after(settings, state, bounded, now))


def _wish(seen: Seen, settings: Settings, state: State, now: float) -> tuple[Wish, State]:
    match settings.rule:
        case RequestRule() as rule:
            if seen.load is None:
                return Wish(state.wanted, "the gateway is not heard", state.requests.panic_since is not None, {}), state
            wish, of_requests = requests.wish(seen.load, seen.ready, rule, state.requests, now)
            return wish, replace(state, requests=of_requests)
        case MeasuredRule() as rule:
            wish, of_measured = measured.wish(seen.values, state.wanted, seen.ready, rule, state.measured, now)
            return wish, replace(state, measured=of_measured)
        case Fixed(why):
            return Wish(max(1, settings.least), why, False, {}), state


def _activation(settings: Settings) -> int:
    return settings.rule.activation if isinstance(settings.rule, RequestRule) else 1


def _may_go(settings: Settings, state: State, now: float) -> bool:
    """Whether the last replica may go: it has been wanted for a whole stable window, or there is none."""
    window = settings.rule.stable_window if isinstance(settings.rule, RequestRule) else 0.0
    return state.since is None or now - state.since >= window


def _after(settings: Settings, state: State, wanted: int, now: float) -> State:
    of_measured = state.measured
    if isinstance(settings.rule, MeasuredRule):
        of_measured = measured.moved(settings.rule, of_measured, state.wanted, wanted, now)
        if wanted and not state.wanted:
            of_measured = replace(of_measured, awake=now)
    since = state.since if state.since is not None else now
    return replace(state, wanted=wanted, since=since if wanted else None, measured=of_measured)
