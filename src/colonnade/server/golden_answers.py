"""Holds answers against those of `golden.json`, whoever gives them: a model in this process, or a server of any kind.

The comparison is of what a client would read. The file's form is described in `runtimes.golden`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np

from colonnade.errors import Error, LoadFailed
from colonnade.runtimes.golden import Case
from colonnade.wire.elements import from_json
from colonnade.wire.tensors import Tensor

_log = logging.getLogger(__name__)

_FRACTIONS = frozenset({"FP16", "BF16", "FP32", "FP64"})

Ask = Callable[[Case], Awaitable[Any]]
"""Puts a case's request: gives the tensors of an answer of V2, or the decoded answer of V1; raises what refuses it."""


class WrongAnswer(Exception):
    """An answer is not the golden one; the message says where."""


async def check(cases: Sequence[Case], ask: Ask, name: str) -> None:
    """Asks every case, one after the other; `name` is the model's, for the log.

    Raises:
        LoadFailed: the first that is not answered as it should be; names case and output, and what came instead.
    """
    for case in cases:
        try:
            await _check(case, ask)
        except WrongAnswer as error:
            raise LoadFailed(
                f"the model does not answer as its golden.json says: case {case.number}: {error}"
            ) from None
    if cases:
        _log.info("golden requests passed", extra={"model": name, "cases": len(cases)})


async def _check(case: Case, ask: Ask) -> None:
    try:
        answer = await ask(case)
    except Exception as error:  # the model's own code may raise anything
        status = error.status if isinstance(error, Error) else 500
        if case.error == status:
            return
        wanted = "" if case.error is None else f", and should be refused with {case.error}"
        raise WrongAnswer(f"it is refused with {status}: {_said(error)}{wanted}") from error
    if case.error is not None:
        raise WrongAnswer(f"it is answered, and should be refused with {case.error}")
    if case.response is None:
        return
    if case.v2:
        _compare_outputs(case, answer)
    else:
        _compare_value(case, case.response, answer, "")


def _said(error: Exception) -> str:
    return error.message if isinstance(error, Error) else f"{type(error).__name__}: {error}"


def _compare_outputs(case: Case, outputs: Sequence[Tensor]) -> None:
    given = {tensor.name: tensor for tensor in outputs}
    wanted = [_wanted(entry) for entry in (case.response or {})["outputs"]]
    missing = [tensor.name for tensor in wanted if tensor.name not in given]
    if missing:
        raise WrongAnswer(f"it has the outputs {', '.join(given) or 'none'}, and no {', '.join(missing)}")
    for tensor in wanted:
        found = given[tensor.name]
        if (tensor.datatype, tensor.shape) != (found.datatype, found.shape):
            raise WrongAnswer(
                f"output {tensor.name!r} is {found.datatype} {list(found.shape)}, and should be {tensor.datatype} "
                f"{list(tensor.shape)}"
            )
        _compare_arrays(tensor, found, *case.tolerances(tensor.name))


def _wanted(entry: dict[str, Any]) -> Tensor:
    """An output of the file. A `null` among fractions is NaN or infinite, for which JSON has no number."""
    try:
        name, datatype, shape, data = entry["name"], entry["datatype"], entry["shape"], entry["data"]
        if datatype in _FRACTIONS:
            numbers = np.array(data, dtype=np.float64)
            return Tensor(name, datatype, tuple(shape), numbers.reshape(shape))
        return Tensor(name, datatype, tuple(shape), from_json(name, datatype, shape, data))
    except KeyError as error:
        raise WrongAnswer(
            f"an output in the file has no {error.args[0]}; give name, datatype, shape and data"
        ) from None
    except (TypeError, ValueError, Error) as error:
        raise WrongAnswer(f"an output in the file cannot be read: {error}") from None


def _compare_arrays(wanted: Tensor, found: Tensor, rtol: float, atol: float) -> None:
    if wanted.datatype not in _FRACTIONS:
        alike = wanted.data == _bytes(found.data) if wanted.datatype == "BYTES" else wanted.data == found.data
        _refuse(wanted, found, np.asarray(alike, dtype=bool), "")
        return
    expected, answer = wanted.data, found.data.astype(np.float64)
    finite = np.isfinite(expected) & np.isfinite(answer)
    gap = np.where(finite, np.abs(np.where(finite, expected, 0.0) - np.where(finite, answer, 0.0)), math.inf)
    alike = (~np.isfinite(expected) & ~np.isfinite(answer)) | (
        gap <= atol + rtol * np.abs(np.where(finite, expected, 0))
    )
    largest = float(np.max(gap[finite], initial=0.0))
    _refuse(wanted, found, alike, f", by {largest:.6g} at most (rtol {rtol:g}, atol {atol:g})")


def _bytes(data: np.ndarray) -> np.ndarray:
    """Text of a BYTES tensor as the bytes that are sent."""
    made = np.empty(data.shape, dtype=object)
    made.ravel()[:] = [each.encode() if isinstance(each, str) else bytes(each) for each in data.ravel().tolist()]
    return made


def _refuse(wanted: Tensor, found: Tensor, alike: np.ndarray, difference: str) -> None:
    if bool(alike.all()):
        return
    place = np.unravel_index(int(np.argmin(alike)), alike.shape) if alike.shape else ()
    at = f" at {[int(each) for each in place]}" if place else ""
    differing = int(alike.size - np.count_nonzero(alike))
    raise WrongAnswer(
        f"output {wanted.name!r}{at} is {_shown(found.data[place])}, and should be {_shown(wanted.data[place])}; "
        f"{differing} of {alike.size} values differ{difference}"
    )


def _shown(value: Any) -> str:
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _compare_value(case: Case, wanted: Any, found: Any, path: str) -> None:
    """Holds JSON values against each other: numbers by tolerance, everything else exactly."""
    where = path or "the answer"
    if isinstance(wanted, dict) and isinstance(found, dict):
        if wanted.keys() != found.keys():
            raise WrongAnswer(f"{where} has the keys {', '.join(found)}, and should have {', '.join(wanted)}")
        for key, value in wanted.items():
            _compare_value(case, value, found[key], f"{path}.{key}" if path else str(key))
    elif isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            raise WrongAnswer(f"{where} has {len(found)} values, and should have {len(wanted)}")
        for number, (value, other) in enumerate(zip(wanted, found, strict=True)):
            _compare_value(case, value, other, f"{path}[{number}]")
    elif not _alike(wanted, found, *case.tolerances(path.partition(".")[0].partition("[")[0])):
        raise WrongAnswer(f"{where} is {_shown(found)}, and should be {_shown(wanted)}")


def _alike(wanted: Any, found: Any, rtol: float, atol: float) -> bool:
    numbers = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in (wanted, found))
    if numbers and (isinstance(wanted, float) or isinstance(found, float)):
        return bool(abs(wanted - found) <= atol + rtol * abs(wanted))
    return type(wanted) is type(found) and bool(wanted == found)
