"""A recorded load, second by second, from CSV or JSON lines.

Two shapes are read, told apart by their columns. A profile has `time` and, from that time until the next row's, any of
`concurrency` (requests under way), `rps` (arrivals a second), `duration` (seconds that one takes), `cpu` and `memory`
(percent of what one replica requests, over all replicas) and `value` (of a metric from elsewhere). A log of requests
has `arrival` and `duration`, one row for each request. Times are seconds, or RFC 3339; only their differences count.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from colonnade.errors import InvalidInput

LONGEST = 7 * 24 * 3600  # seconds of a trace
_MEASURES = ("concurrency", "rps", "duration", "cpu", "memory", "value")
_ROW = msgspec.json.Decoder(dict[str, Any])


class Second(NamedTuple):
    """The load of one second; what the trace does not tell is None."""

    concurrency: float | None = None
    rps: float | None = None
    cpu: float | None = None
    memory: float | None = None
    value: float | None = None


def read(text: str) -> list[Second]:
    """The seconds of a trace, from its first time to its last.

    Raises:
        InvalidInput: it is no trace; the message names the line.
    """
    rows = list(_rows(text))
    if not rows:
        raise InvalidInput("The trace has no rows.")
    names = rows[0][1].keys()
    if "arrival" in names and "duration" in names:
        return _of_requests([(_time(line, row, "arrival"), _number(line, row, "duration")) for line, row in rows])
    if "time" not in names or not set(_MEASURES) & set(names):
        raise InvalidInput(
            f"The trace has the columns {', '.join(names)}; it needs time and one of {', '.join(_MEASURES)}, "
            "or arrival and duration."
        )
    return _of_profile([(line, _time(line, row, "time"), row) for line, row in rows])


def _rows(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Each row with its line number."""
    if text.lstrip().startswith("{"):
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip():
                try:
                    yield number, _ROW.decode(line)
                except msgspec.MsgspecError as error:
                    raise InvalidInput(f"Line {number} of the trace is no JSON object: {error}.") from None
        return
    reader = csv.DictReader(io.StringIO(text), skipinitialspace=True, restkey="")
    try:
        for row in reader:
            yield reader.line_num, {name.strip(): value for name, value in row.items() if name and value}
    except csv.Error as error:
        raise InvalidInput(f"Line {reader.line_num} of the trace is no CSV: {error}.") from None


def _time(line: int, row: Mapping[str, Any], name: str) -> float:
    given = row.get(name)
    if isinstance(given, str) and "T" in given:
        try:
            return datetime.fromisoformat(given).timestamp()
        except (ValueError, OverflowError):
            raise InvalidInput(f"Line {line} of the trace: {name} {given!r} is no time.") from None
    return _number(line, row, name, negative=True)


def _number(line: int, row: Mapping[str, Any], name: str, *, negative: bool = False) -> float:
    given = row.get(name)
    try:
        number = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or (number < 0 and not negative):
        raise InvalidInput(f"Line {line} of the trace: {name} is {given!r}; it must be a number from 0 up.")
    return number


def _of_profile(rows: Sequence[tuple[int, float, Mapping[str, Any]]]) -> list[Second]:
    for (_, before, _), (line, after, _) in pairwise(rows):
        if after < before:
            raise InvalidInput(f"Line {line} of the trace goes back in time.")
    began = rows[0][1]
    found: list[Second] = []
    for index, (line, at, row) in enumerate(rows):
        until = rows[index + 1][1] if index + 1 < len(rows) else at + 1.0
        load = _second({name: _number(line, row, name) for name in _MEASURES if row.get(name) not in (None, "")})
        found += [load] * (_length(until - began) - len(found))
    return found


def _second(given: Mapping[str, float]) -> Second:
    """Little's law gives what a row leaves out: requests under way are arrivals times the time that each takes."""
    concurrency, rps, duration = given.get("concurrency"), given.get("rps"), given.get("duration")
    if concurrency is None and rps is not None and duration is not None:
        concurrency = rps * duration
    if rps is None and concurrency is not None and duration:
        rps = concurrency / duration
    return Second(concurrency, rps, given.get("cpu"), given.get("memory"), given.get("value"))


def _of_requests(requests: Sequence[tuple[float, float]]) -> list[Second]:
    """How many of the requests were under way, in the mean over each second, and how many came."""
    began = min(arrival for arrival, _ in requests)
    last = max(arrival for arrival, _ in requests) - began
    length = max(_length(max(arrival - began + duration for arrival, duration in requests)), int(last) + 1)
    busy, came = [0.0] * length, [0] * length
    for arrival, duration in requests:
        at, end = arrival - began, arrival - began + duration
        came[int(at)] += 1
        second = int(at)
        while second < end:
            busy[second] += min(end, second + 1.0) - max(at, float(second))
            second += 1
    return [Second(concurrency, float(arrivals)) for concurrency, arrivals in zip(busy, came, strict=True)]


def _length(seconds: float) -> int:
    if seconds > LONGEST:
        raise InvalidInput(f"The trace spans {seconds:.0f} s; {LONGEST} s (7 days) is the most that is simulated.")
    return max(1, math.ceil(seconds))
