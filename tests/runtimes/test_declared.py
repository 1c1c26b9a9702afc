"""Inputs and outputs in the file beside a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonnade.errors import LoadFailed
from colonnade.runtimes.declared import FILE, beside
from colonnade.wire.tensors import TensorSpec


def test_tensors_are_read_from_the_file_beside_a_model(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(
        '{"name": "m", "implementation": "x", "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]}'
    )
    expected = ([TensorSpec("x", "FP32", (-1, 4))], [])
    assert beside(tmp_path) == expected
    assert beside(tmp_path / "model.pt") == expected


def test_without_the_file_nothing_is_declared(tmp_path: Path) -> None:
    assert beside(tmp_path) == ([], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "does not declare inputs and outputs"),
        ('{"inputs": [{"name": "x"}]}', "missing required field `datatype`"),
        ('{"inputs": [{"name": "x", "datatype": "float", "shape": []}]}', "\"x\" has the datatype 'float'; use one of"),
    ],
)
def test_a_file_that_declares_nothing_readable_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(LoadFailed) as caught:
        beside(tmp_path)
    assert message in caught.value.message
