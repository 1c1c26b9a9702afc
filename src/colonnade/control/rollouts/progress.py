"""How the share of a new revision grows: at once, evenly over a time, or in steps with an analysis after each. Pure.

`serving.knative.dev/rollout-duration` is Knative's: the traffic moves evenly over that time. `colonnade.dev/analysis`
steps it up and looks back at each step (see `analysis`). A rollout that is paused stays where it is, however it moves,
and goes on from there: time in which nobody looked moves nothing. Where it stands is kept in the service's status, so
that a restarted control plane goes on from there too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from colonnade import defaults
from colonnade.control.rollouts.analysis import Judgement, Settings, settings
from colonnade.errors import InvalidInput

DURATION = "serving.knative.dev/rollout-duration"
RECORD = "colonnade.dev/rollout"  # on the service's status

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")


class Progress(msgspec.Struct, frozen=True):
    """Where the rollout of one component stands.

    Attributes:
        revision: that gets the traffic in the end.
        percent: that it has now.
        moved: Unix time of the last change of its share.
    """

    revision: str
    percent: int
    moved: float


class Pace(NamedTuple):
    """What the manifest asks for.

    Attributes:
        duration: seconds over which the traffic moves, 0 for at once.
        analysis: steps and limits; wins over `duration`.
        paused: nothing moves.
    """

    duration: float = 0.0
    analysis: Settings | None = None
    paused: bool = False

    @property
    def gradual(self) -> bool:
        """Whether the traffic moves otherwise than at once."""
        return bool(self.duration) or self.analysis is not None or self.paused


class Move(NamedTuple):
    """What comes next.

    Attributes:
        progress: from now on.
        rejected: why the revision is rolled back, or "".
        told: a sentence about a step that was taken, for an Event, or "".
        again: seconds until the next look, or None.
        spent: of the seconds that went by evenly, those that moved the traffic.
    """

    progress: Progress
    rejected: str = ""
    told: str = ""
    again: float | None = None
    spent: float = 0.0


def begin(revision: str, pace: Pace, now: float) -> Move:
    """The revision is ready and gets its first share; none while it is paused."""
    if pace.paused:
        return Move(Progress(revision, 0, now))
    if pace.analysis is not None:
        return Move(Progress(revision, pace.analysis.steps[0], now), again=_LOOK)
    return Move(Progress(revision, 1, now), again=tick(pace), spent=pace.duration / 100)


def move(progress: Progress, pace: Pace, judgement: Judgement | None, now: float, elapsed: float = 0.0) -> Move:
    """The next step of a rollout.

    Args:
        progress: where it stands.
        pace: what is asked for.
        judgement: on the answers since the last step, where there is an analysis.
        now: Unix time.
        elapsed: seconds in which the rollout went on and that moved nothing yet, where it moves evenly.
    """
    if progress.percent >= 100:
        return Move(progress)
    if progress.percent == 0 and not pace.paused and (pace.duration or pace.analysis):  # it was paused until now
        return begin(progress.revision, pace, now)
    if pace.analysis is not None:
        return _analysed(progress, pace, pace.analysis, judgement, now)
    if pace.paused:
        return Move(progress)
    gained = 100 if not pace.duration else int(100 * elapsed / pace.duration)
    if not gained:
        return Move(progress, again=tick(pace))
    further = msgspec.structs.replace(progress, percent=min(progress.percent + gained, 100), moved=now)
    return Move(further, again=tick(pace), spent=gained * pace.duration / 100)


def _analysed(progress: Progress, pace: Pace, wanted: Settings, judgement: Judgement | None, now: float) -> Move:
    if judgement is not None and judgement.verdict == "rollback":
        text = f"Revision {progress.revision} was rolled back at {progress.percent} %: {judgement.numbers}."
        return Move(progress, rejected=text)
    left = progress.moved + wanted.interval - now
    if pace.paused or left > 0 or judgement is None:
        return Move(progress, again=min(max(left, 1.0), _LOOK))
    if judgement.verdict == "hold":
        return Move(progress, again=_LOOK)
    step = next((percent for percent in wanted.steps if percent > progress.percent), 100)
    told = f"Revision {progress.revision} goes from {progress.percent} % to {step} %: {judgement.numbers}"
    return Move(msgspec.structs.replace(progress, percent=step, moved=now), told=told, again=_LOOK)


_LOOK = 1.0  # seconds between looks at a revision that is analysed: a bad one shall not keep its share for long


def tick(pace: Pace) -> float | None:
    """Seconds between looks at a rollout that moves evenly: those that one percent takes."""
    return max(0.2, pace.duration / 100) if pace.duration and not pace.paused else None


def pace(annotations: Mapping[str, str]) -> Pace:
    """What the annotations of a service ask for.

    Raises:
        InvalidInput: one of them cannot be read; names it.
    """
    text = annotations.get(DURATION)
    try:
        duration = seconds(text) if text else 0.0
    except InvalidInput as error:
        raise InvalidInput(f"annotation {DURATION}: {error.message}") from None
    return Pace(duration, settings(annotations), annotations.get(defaults.ROLLOUT_PAUSED) == "true")


def seconds(text: str) -> float:
    """A duration as Go writes it: `380s`, `1m30s`.

    Raises:
        InvalidInput: it is none.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidInput(f"{text!r} is no duration; write it like 380s or 1m30s")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def record(found: Mapping[str, Progress]) -> str:
    """The rollouts that are under way, by component, for the status."""
    return msgspec.json.encode(found, order="sorted").decode()


def recorded(annotations: Mapping[str, str]) -> dict[str, Progress]:
    """What `record` wrote; nothing if it cannot be read."""
    try:
        return msgspec.json.decode(annotations.get(RECORD, "{}"), type=dict[str, Progress])
    except msgspec.MsgspecError:
        return {}
