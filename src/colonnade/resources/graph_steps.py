"""Limits on single steps of an InferenceGraph, which KServe's schema has no fields for: annotations on the graph.

`colonnade.dev/step-timeout: 10s, root/rank=500ms` and `colonnade.dev/step-retries: root/rank=2`: entries with a comma
between them. One without a name is for all steps, the others name a step by its node and by its name or else its place
in the node, from 0. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from colonnade import defaults
from colonnade.resources.inferencegraph import InferenceRouter

MAX_RETRIES = 10

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, None: 1.0}

T = TypeVar("T")


def timeouts(annotations: Mapping[str, str], nodes: Mapping[str, InferenceRouter]) -> dict[str, float]:
    """Seconds that one call of a step may take, by step, for the steps that have such a limit.

    Raises:
        ValueError: the annotation is malformed, or names a step that is not there.
    """
    return _read(annotations.get(defaults.STEP_TIMEOUT, ""), nodes, _seconds)


def retries(annotations: Mapping[str, str], nodes: Mapping[str, InferenceRouter]) -> dict[str, int]:
    """How often a call of a step is tried again, by step. Raises ValueError as `timeouts` does."""
    return _read(annotations.get(defaults.STEP_RETRIES, ""), nodes, _count)


def names(nodes: Mapping[str, InferenceRouter]) -> list[tuple[str, str]]:
    """Each step by its place, `root/0`, with the name that it goes by: `root/rank`, or the same."""
    found = []
    for node, router in nodes.items():
        for index, step in enumerate(router.steps or ()):
            found.append((f"{node}/{index}", f"{node}/{step.name or index}"))
    return found


def _read(text: str, nodes: Mapping[str, InferenceRouter], value: Callable[[str], T]) -> dict[str, T]:
    steps = names(nodes)
    known = {name: name for _, name in steps}
    aliases = dict(steps) | known
    found: dict[str, T] = {}
    named: dict[str, T] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        step, separator, given = (part.strip() for part in entry.rpartition("="))
        read = value(given)
        if not separator:
            found = dict.fromkeys(known, read)
        elif step not in aliases:
            raise ValueError(f"{step!r} is no step of the graph; its steps are {', '.join(known)}")
        else:
            named[aliases[step]] = read
    return found | named


def _seconds(text: str) -> float:
    read = _DURATION.fullmatch(text)
    seconds = float(read[1]) * _UNITS[read[2]] if read else 0.0
    if not 0.0 < seconds < math.inf:
        raise ValueError(f"{text!r} is not a time; write 500ms, 2s or 1m")
    return seconds


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 3 or int(text) > MAX_RETRIES:
        raise ValueError(f"{text!r} is not a number of retries; write 0 to {MAX_RETRIES}")
    return int(text)
