"""Durations as Go writes them, in seconds: `300ms`, `1.5h`, `2m30s`. Grammar: Go's `time.ParseDuration`."""

from __future__ import annotations

import re

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})"
_PART = re.compile(rf"({_NUMBER})(ns|us|µs|μs|ms|s|m|h)")
_WHOLE = re.compile(rf"([+-]?)(0|(?:{_NUMBER}(?:ns|us|µs|μs|ms|s|m|h))+)")


def parse(text: str) -> float:
    """The seconds that a duration stands for.

    Raises:
        ValueError: it is no duration.
    """
    match = _WHOLE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration; write a number with a unit (ms, s, m, h): '90s'")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(match.group(2)))
    return -seconds if match.group(1) == "-" else seconds
