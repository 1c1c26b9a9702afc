"""The rows beside a model that an explainer compares with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from colonnade.errors import LoadFailed
from colonnade.runtimes.explainers import background


@pytest.mark.parametrize("head", ["", "age,height\n", "\ufeffage,height\n"])
def test_a_table_with_names_or_without(tmp_path: Path, head: str) -> None:
    (tmp_path / "background.csv").write_text(f"{head}1,2.5\n-3,4e1\n", encoding="utf-8")
    found = background.read(tmp_path)
    assert found is not None
    assert found.tolist() == [[1.0, 2.5], [-3.0, 40.0]]


def test_of_many_rows_some_from_all_over_are_taken(tmp_path: Path) -> None:
    np.save(tmp_path / "background.npy", np.arange(2 * 1050).reshape(-1, 2))
    found = background.read(tmp_path)
    assert found is not None
    assert found.shape[0] == 96
    assert np.diff(found[:, 0]).tolist() == [22.0] * 95


def test_none_is_none(tmp_path: Path) -> None:
    assert background.read(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"a,b\nc,d\n", "cannot be read"),
        (b"", "cannot be read|has shape"),
        (b"1,2\n3\n", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_a_table_that_is_none_is_refused(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "background.csv").write_bytes(content)
    with pytest.raises(LoadFailed, match=text):
        background.read(tmp_path)


def test_pickled_objects_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "background.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(LoadFailed, match="allow_pickle"):
        background.read(tmp_path)


def test_one_row_is_no_matrix_and_two_files_are_one_too_many(tmp_path: Path) -> None:
    np.save(tmp_path / "background.npy", np.arange(3.0))
    with pytest.raises(LoadFailed, match=r"shape \[3\]"):
        background.read(tmp_path)
    (tmp_path / "background.csv").write_text("1,2\n")
    with pytest.raises(LoadFailed, match="leave one"):
        background.read(tmp_path)
