"""Files that are no PMML, or that attack their reader."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.errors import LoadFailed
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.pmml.adapter import PmmlRuntime

from .documents import document, linear, load, rows, schema

GOOD = document(
    f'<TreeModel functionName="regression">{schema("x", target="y")}<Node score="1"><True/></Node></TreeModel>'
)
LAUGHS = '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><PMML>&b;</PMML>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><PMML>&e;</PMML>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (LAUGHS, "declares a document type"),
        (OUTSIDE, "declares a document type"),
        ("<PMML>", "is no well-formed XML"),
        ("", "is no well-formed XML"),
        (GOOD[:-30], "is no well-formed XML"),
        ("<html/>", "its root element is html"),
        ("<PMML>" + "<Node>" * 600 + "</Node>" * 600 + "</PMML>", "nests elements more than 200 deep"),
        ("<PMML/>", "has no DataDictionary"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LoadFailed, match=message):
        load(tmp_path, text)


def test_other_encodings_do_not_hide_a_document_type(tmp_path: Path) -> None:
    file = tmp_path / "model.pmml"
    file.write_bytes(OUTSIDE.encode("utf-16"))
    with pytest.raises(LoadFailed, match="is not UTF-8"):
        PmmlRuntime().load("m", file, LoadOptions(env={}))


def test_one_file_is_needed(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match=r"holds no model file; one file ending in \.pmml"):
        PmmlRuntime().load("m", tmp_path, LoadOptions(env={}))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(0, 40), st.text("<>/=\"' aNode1&;", max_size=12))
def test_a_damaged_document_is_refused_or_works(
    tmp_path_factory: pytest.TempPathFactory, place: int, cut: int, put: str
) -> None:
    damaged = GOOD[:place] + put + GOOD[place + cut :]
    with contextlib.suppress(LoadFailed):
        load(tmp_path_factory.mktemp("pmml"), damaged)


def test_a_tree_may_be_as_deep_as_the_limit(tmp_path: Path) -> None:
    nodes = '<Node score="1"><True/>' * 190 + "</Node>" * 190
    model = load(
        tmp_path, document(f'<TreeModel functionName="regression">{schema("x", target="y")}{nodes}</TreeModel>')
    )
    assert rows(model, [1]) == [{"y": 1.0}]


def test_a_condition_may_be_as_deep_as_the_limit(tmp_path: Path) -> None:
    condition = '<CompoundPredicate booleanOperator="and"><True/>' * 190 + "<True/>" + "</CompoundPredicate>" * 190
    nodes = f'<Node score="1"><True/><Node score="2">{condition}</Node></Node>'
    model = load(
        tmp_path, document(f'<TreeModel functionName="regression">{schema("x", target="y")}{nodes}</TreeModel>')
    )
    assert rows(model, [1]) == [{"y": 2.0}]


def test_an_expression_may_be_as_deep_as_the_limit(tmp_path: Path) -> None:
    expression = '<Apply function="-">' * 190 + '<FieldRef field="x"/>' + "</Apply>" * 190
    assert rows(load(tmp_path, linear(expression)), {"x": 1, "z": 1, "n": 1, "c": "red"}) == [{"y": 1.0}]
