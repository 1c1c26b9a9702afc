"""`golden.json` beside a model: requests, and what the model is known to answer.

```json
[{"request": {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}]},
  "response": {"outputs": [{"name": "output-0", "datatype": "INT64", "shape": [1], "data": [0]}]}},
 {"request": {"instances": [[5.1, 3.5, 1.4, 0.2]]}, "response": {"predictions": [0]}, "rtol": 1e-3, "atol": 0.1},
 {"request": {"instances": [[1, 2]]}, "error": 400}]
```

A request is a body of V2 or of V1; which one, its form tells. An entry may also be short, with the `inputs` and
`outputs` of V2 themselves. Without a response, any answer will do. Two read this: a replica holds its model against it
before it is ready, and a conversion holds a graph against it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from colonnade import defaults
from colonnade.errors import LoadFailed
from colonnade.runtimes.base import GOLDEN

Tolerance = float | dict[str, float]  # for all outputs, or by their names


class Case(NamedTuple):
    """One request and what answers it.

    Attributes:
        number: its place in the file, from 0.
        request: the body.
        v2: whether it is one of V2; else of V1.
        response: the answer's body, decoded; None where any answer will do.
        error: the status with which the model must refuse the request, or None.
        rtol: relative tolerance of numbers.
        atol: absolute tolerance.
    """

    number: int
    request: bytes
    v2: bool
    response: dict[str, Any] | None
    error: int | None = None
    rtol: Tolerance = defaults.GOLDEN_RTOL
    atol: Tolerance = defaults.GOLDEN_ATOL

    def tolerances(self, output: str) -> tuple[float, float]:
        """(relative, absolute) tolerance of one output."""
        rtol, atol = (
            given.get(output, default) if isinstance(given, dict) else given
            for given, default in ((self.rtol, defaults.GOLDEN_RTOL), (self.atol, defaults.GOLDEN_ATOL))
        )
        return rtol, atol


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    request: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    error: int | None = None
    rtol: Tolerance = defaults.GOLDEN_RTOL
    atol: Tolerance = defaults.GOLDEN_ATOL
    inputs: list[dict[str, Any]] | None = None
    outputs: list[dict[str, Any]] | None = None


def beside(path: Path) -> Path:
    """Where the file of a model lies that is a file or a folder."""
    return (path if path.is_dir() else path.parent) / GOLDEN


def read(path: Path) -> list[Case]:
    """The cases of a file; none if it does not exist.

    Raises:
        LoadFailed: it is not what this module describes; names the entry.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LoadFailed(f"{path} cannot be read: {error.strerror}") from error
    try:
        entries = msgspec.json.decode(content, type=list[_Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LoadFailed(
            f"{path} is no list of objects with request and response: {error}; see docs/how-to/golden.md"
        ) from None
    return [_case(path, number, entry) for number, entry in enumerate(entries)]


def _case(path: Path, number: int, entry: _Entry) -> Case:
    short = entry.inputs is not None
    if short == (entry.request is not None) or (not short and entry.outputs is not None):
        raise LoadFailed(f"{path}, entry {number}: give a request, or the inputs of one, and not both")
    if entry.error is not None and (entry.response is not None or entry.outputs is not None):
        raise LoadFailed(f"{path}, entry {number}: give a response or an error, and not both")
    for name in ("rtol", "atol"):
        given = getattr(entry, name)
        if any(not 0 <= each < float("inf") for each in (given.values() if isinstance(given, dict) else (given,))):
            raise LoadFailed(f"{path}, entry {number}: {name} is {given}; give a number of 0 or more")
    request = {"inputs": entry.inputs} if entry.request is None else entry.request
    response = {"outputs": entry.outputs} if short and entry.outputs is not None else entry.response
    v2 = short or _is_v2(request)
    if response is not None and v2 and not isinstance(response.get("outputs"), list):
        raise LoadFailed(f"{path}, entry {number}: the response to a V2 request has a list of outputs")
    return Case(number, msgspec.json.encode(request), v2, response, entry.error, entry.rtol, entry.atol)


def _is_v2(request: dict[str, Any]) -> bool:
    inputs = request.get("inputs")
    return isinstance(inputs, list) and bool(inputs) and all(isinstance(x, dict) and "datatype" in x for x in inputs)
