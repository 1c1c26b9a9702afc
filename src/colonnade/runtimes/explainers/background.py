"""Rows that stand for the data on which a model was trained: `background.npy` or `background.csv` beside it.

What a feature contributes is told against them: an explainer asks what the model would say if it did not know the
feature, and takes its values from these rows.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from colonnade.errors import LoadFailed

FILES = ("background.npy", "background.csv")
MAX_ROWS = 100  # each prediction of one row is explained by predictions for all of these


def read(folder: Path) -> np.ndarray | None:
    """The rows (rows, features); None if there is no file. Of many, every so many-th is taken.

    Raises:
        LoadFailed: there are both files, or one is no matrix of numbers; says which.
    """
    found = [file for name in FILES if (file := folder / name).is_file()]
    if not found:
        return None
    if len(found) > 1:
        raise LoadFailed(f"{folder} holds {' and '.join(FILES)}; leave one")
    file = found[0]
    try:
        rows = np.load(file, allow_pickle=False) if file.suffix == ".npy" else _table(file)
        matrix = np.asarray(rows, np.float64)
    except (ValueError, OSError, EOFError) as error:
        raise LoadFailed(f"{file} cannot be read as rows of numbers: {error}") from error
    if matrix.ndim != 2 or not matrix.size:
        raise LoadFailed(f"{file} has shape {list(matrix.shape)}; it must have one row for each sample")
    return matrix[:: -(-len(matrix) // MAX_ROWS)]


def _table(file: Path) -> np.ndarray:
    """A table of numbers, with a line of names or without."""
    with file.open(encoding="utf-8-sig") as lines:
        first = next(lines, "")
    return np.loadtxt(file, delimiter=",", skiprows=int(_is_head(first)), ndmin=2, encoding="utf-8-sig")


def _is_head(line: str) -> bool:
    try:
        [float(word) for word in line.split(",")]
    except ValueError:
        return True
    return False
