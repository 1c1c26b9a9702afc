"""One number from the metrics that replicas tell in Prometheus' text format. Pure.

It stands in for the collector that KServe puts beside each pod for metrics of type PodMetric: `query` names a metric,
with or without labels that must match, and the number is the sum over all its series and all replicas.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

SPAN = 60.0  # seconds that an operation over time looks back
_SELECTOR = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(?:\{(.*)\})?\s*", re.DOTALL)
_LABEL = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?[0-9]+)?\s*")


def total(text: str, query: str) -> float | None:
    """The sum of the series that match; None if there is none, or the query is not `name{label="value"}`."""
    selector = _SELECTOR.fullmatch(query)
    if selector is None:
        return None
    name, wanted = selector.group(1), set(_LABEL.findall(selector.group(2) or ""))
    values = []
    for line in text.splitlines():
        if not line.startswith(name):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match.group(1) != name or not wanted <= set(_LABEL.findall(match.group(2) or "")):
            continue
        try:
            values.append(float(match.group(3)))
        except ValueError:
            continue
    finite = [value for value in values if math.isfinite(value)]
    return math.fsum(finite) if finite else None


def over_time(history: Sequence[tuple[float, float]], operation: str) -> float:
    """One number for those of the last minute, given as (time, value) with the newest last, and never none."""
    values = [value for _, value in history]
    match operation:
        case "avg":
            return math.fsum(values) / len(values)
        case "max":
            return max(values)
        case "min":
            return min(values)
        case "count":
            return float(len(values))
        case "rate":
            (began, first), (ended, last) = history[0], history[-1]
            return max(0.0, last - first) / (ended - began) if ended > began else 0.0
        case _:
            return values[-1]
