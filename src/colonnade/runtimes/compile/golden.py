"""`golden.json` beside a model: inputs, and what the model is known to answer.

```json
[{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [5.1, 3.5, 1.4, 0.2]}],
  "outputs": [{"name": "output-0", "datatype": "INT64", "shape": [1], "data": [0]}]}]
```

Each entry has the tensors of a V2 request and of its answer; `outputs` may be left out, then the original's own answer
counts. Generated rows do not know what a user's data look like, so a file of real ones makes a better check.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from colonnade.errors import Error, LoadFailed
from colonnade.runtimes.base import GOLDEN
from colonnade.wire import v2

_ABSENT = msgspec.Raw(b"")


class Example(NamedTuple):
    """Rows of one datatype, shape (rows, features), and what they are answered with, if that is said."""

    rows: np.ndarray
    answers: np.ndarray | None


class _Entry(msgspec.Struct):
    inputs: msgspec.Raw
    outputs: msgspec.Raw = _ABSENT


def beside(path: Path) -> Path:
    """Where the file of a model lies that is a file or a folder."""
    return (path if path.is_dir() else path.parent) / GOLDEN


def read(path: Path) -> list[Example]:
    """The examples of a file; none if it does not exist.

    Raises:
        LoadFailed: it is not what this module describes; names the entry.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        entries = msgspec.json.decode(content, type=list[_Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LoadFailed(
            f"{path} is no list of objects with inputs and outputs: {error}; see the documentation"
        ) from None
    return [_example(path, number, entry) for number, entry in enumerate(entries)]


def _example(path: Path, number: int, entry: _Entry) -> Example:
    try:
        rows = _tensor(entry.inputs)
        answers = None if entry.outputs == _ABSENT else _tensor(entry.outputs)
    except Error as error:
        raise LoadFailed(f"{path}, entry {number}: {error.message}") from None
    if rows is None or rows.ndim != 2:
        raise LoadFailed(f"{path}, entry {number}: give one input tensor of shape [rows, features]")
    if entry.outputs != _ABSENT and answers is None:
        raise LoadFailed(f"{path}, entry {number}: give the one output tensor of the model, or leave outputs out")
    return Example(rows, answers)


def _tensor(tensors: msgspec.Raw) -> np.ndarray | None:
    """The data of a list of exactly one V2 tensor."""
    request = v2.decode(b'{"inputs":' + bytes(tensors) + b"}", None, "golden", "1")
    return request.inputs[0].data if len(request.inputs) == 1 else None
