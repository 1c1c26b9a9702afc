"""Rows of a user's own from `golden.json`, which know what generated ones do not: what real data look like.

The file and its forms are described in `runtimes.golden`. A graph is held against rows of numbers, so only cases of V2
with one input of shape (rows, features) count here, and what else is in the file is for the replica.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from colonnade import defaults
from colonnade.errors import Error, LoadFailed
from colonnade.runtimes import golden
from colonnade.wire import v2


class Example(NamedTuple):
    """Rows of one datatype, shape (rows, features), and what they are answered with, if that is said.

    Answers that come with a tolerance of their own are left to the replica.
    """

    rows: np.ndarray
    answers: np.ndarray | None


def examples(path: Path) -> list[Example]:
    """The examples beside a model that is a file or a folder.

    Raises:
        LoadFailed: the file is not of its form; names the entry.
    """
    file = golden.beside(path)
    found = (_example(file, case) for case in golden.read(file) if case.v2 and case.error is None)
    return [example for example in found if example is not None]


def _example(file: Path, case: golden.Case) -> Example | None:
    try:
        rows = _tensor(msgspec.json.decode(case.request)["inputs"])
        said = None if case.response is None else _tensor(case.response["outputs"])
    except Error as error:
        raise LoadFailed(f"{file}, entry {case.number}: {error.message}") from None
    if rows is None or rows.ndim != 2 or (case.response is not None and said is None):
        return None
    exact = (case.rtol, case.atol) == (defaults.GOLDEN_RTOL, defaults.GOLDEN_ATOL)
    return Example(rows, said if exact else None)


def _tensor(tensors: Any) -> np.ndarray | None:
    """The data of a list of exactly one V2 tensor."""
    request = v2.decode(msgspec.json.encode({"inputs": tensors}), None, "golden", "1")
    return request.inputs[0].data if len(request.inputs) == 1 else None
