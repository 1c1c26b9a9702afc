"""The annotations `autoscaling.knative.dev/*`: their names, values, bounds and texts, and what becomes of each here.

They stand below the room that decides by them because the API must refuse a bad value before anything runs, and
`colonnade check` must tell what a good one does. Bounds and texts are those of Knative's admission
(`pkg/apis/autoscaling/annotation_validation.go`), both spellings of a name those of Knative's `register.go`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from colonnade.resources import durations
from colonnade.resources.fields import EMULATED, RUNS, UNKNOWN, Ruling
from colonnade.resources.strict import Cause, suggestion

PREFIX = "autoscaling.knative.dev/"
KPA = "kpa.autoscaling.knative.dev"
HPA = "hpa.autoscaling.knative.dev"

Value = str | int | float
_LONGEST = 3600.0  # Knative's bound on every window
_MOST = 2**31 - 1
_SHORTEST_WINDOW = 6.0
_LEAST_TARGET = 0.01


class Refused(ValueError):
    """A value that Knative refuses, in Knative's words."""


def _out_of_bounds(text: str, least: str, most: str) -> Refused:
    return Refused(f"expected {least} <= {text} <= {most}")


def _invalid(text: str) -> Refused:
    return Refused(f"invalid value: {text}")


def _whole(least: int = 0) -> Callable[[str], Value]:
    def read(text: str) -> int:
        try:
            number = int(text) if text.isascii() and not text[:1].isspace() and "_" not in text else None
        except ValueError:
            number = None
        if number is None:
            raise _invalid(text)
        if not least <= number <= _MOST:
            raise _out_of_bounds(text, str(least), str(_MOST))
        return number

    return read


def _number(text: str) -> float:
    try:
        found = float(text) if "_" not in text else math.nan
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise _invalid(text)
    return found


def _between(least: float, most: float) -> Callable[[str], Value]:
    def read(text: str) -> float:
        found = _number(text)
        if not least <= found <= most:
            raise _out_of_bounds(text, f"{least:g}", f"{most:g}")
        return found

    return read


def _target(text: str) -> float:
    found = _number(text)
    if found < _LEAST_TARGET:
        raise Refused(f"target {text} should be at least {_LEAST_TARGET:g}")
    return found


def _burst(text: str) -> float:
    found = _number(text)
    if found < 0 and found != -1:
        raise _invalid(text)
    return found


def _duration(least: float = 0.0, *, whole: bool = True) -> Callable[[str], Value]:
    def read(text: str) -> float:
        try:
            seconds = durations.parse(text)
        except ValueError:
            raise _invalid(text) from None
        if not least <= seconds <= _LONGEST:
            raise _out_of_bounds(text, f"{least:g}s", f"{_LONGEST / 3600:g}h0m0s")
        if whole and seconds != int(seconds):
            raise Refused("must be specified with at most second precision")
        return seconds

    return read


def _class(text: str) -> str:
    if text.endswith(PREFIX.rstrip("/")) and text not in (KPA, HPA):
        raise _invalid(text)
    return text


def _one_of(*words: str) -> Callable[[str], Value]:
    def read(text: str) -> str:
        if text not in words:
            raise _invalid(text)
        return text

    return read


class Annotation(NamedTuple):
    """One annotation: its name after the prefix, the older spelling, how it is read, and what becomes of it here."""

    name: str
    older: str
    read: Callable[[str], Value]
    ruling: Ruling


_RUNS = Ruling(RUNS)
_FIELD_WINS = Ruling(RUNS, "where the field of the manifest that says the same is not given")
ALGORITHMS = ("linear", "weightedExponential", "weightedexponential")
ANNOTATIONS = (
    Annotation("class", "", _class, Ruling(RUNS, "kpa and hpa; with another one the number of replicas is fixed")),
    Annotation("metric", "", str, Ruling(RUNS, "concurrency or rps; cpu or memory with the class hpa")),
    Annotation("target", "", _target, _FIELD_WINS),
    Annotation("target-utilization-percentage", "targetUtilizationPercentage", _between(1, 100), _RUNS),
    Annotation("min-scale", "minScale", _whole(), _FIELD_WINS),
    Annotation("max-scale", "maxScale", _whole(), _FIELD_WINS),
    Annotation("initial-scale", "initialScale", _whole(), Ruling(RUNS, "0 is allowed, as if the cluster allowed it")),
    Annotation("activation-scale", "activationScale", _whole(1), _RUNS),
    Annotation("scale-down-delay", "scaleDownDelay", _duration(), _RUNS),
    Annotation("window", "", _duration(_SHORTEST_WINDOW), _RUNS),
    Annotation("panic-window-percentage", "panicWindowPercentage", _between(1, 100), _RUNS),
    Annotation("panic-threshold-percentage", "panicThresholdPercentage", _between(110, 1000), _RUNS),
    Annotation(
        "scale-to-zero-pod-retention-period", "scaleToZeroPodRetentionPeriod", _duration(0.0, whole=False), _RUNS
    ),
    Annotation("metric-aggregation-algorithm", "metricAggregationAlgorithm", _one_of(*ALGORITHMS), _RUNS),
    Annotation(
        "target-burst-capacity",
        "targetBurstCapacity",
        _burst,
        Ruling(EMULATED, "every request passes the gateway, which holds what the replicas cannot take yet"),
    ),
)
_SPELLINGS = {spelling: each for each in ANNOTATIONS for spelling in (each.name, each.older) if spelling}


def ruling(key: str) -> Ruling:
    """What becomes of an annotation, given with its prefix."""
    found = _SPELLINGS.get(key.removeprefix(PREFIX))
    if found is not None:
        return found.ruling
    return Ruling(UNKNOWN, f"no annotation of Knative's autoscaler{suggestion(key.removeprefix(PREFIX), _SPELLINGS)}")


def read(annotations: Mapping[str, Any]) -> dict[str, Value]:
    """The values that annotations give, by name without the prefix. The present spelling wins over the older one.

    Raises:
        Refused: a value is not one that Knative takes.
    """
    found: dict[str, Value] = {}
    for each in ANNOTATIONS:
        for spelling in (each.name, each.older):
            text = annotations.get(PREFIX + spelling) if spelling else None
            if text is not None:
                found[each.name] = each.read(str(text))
                break
    return found


def failures(path: str, annotations: Mapping[str, Any]) -> Iterator[Cause]:
    """The causes for which annotations are refused; `path` is that of the annotations."""
    values: dict[str, Value] = {}
    for spelling, each in _SPELLINGS.items():
        text = annotations.get(PREFIX + spelling)
        if text is None:
            continue
        try:
            values.setdefault(each.name, each.read(str(text)))
        except Refused as refusal:
            yield f"{path}[{PREFIX}{spelling}]", str(refusal)
    least, most = values.get("min-scale", 0), values.get("max-scale", 0)
    if most and isinstance(least, int) and isinstance(most, int) and most < least:
        yield f"{path}[{PREFIX}max-scale]", f"max-scale={most} is less than min-scale={least}"
    if values.get("class", KPA) == KPA and values.get("metric", "rps") not in ("concurrency", "rps"):
        yield f"{path}[{PREFIX}metric]", f"invalid value: {values['metric']}"
