"""Expressions and predicates: what each gives, also where a value is missing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from colonnade.errors import LoadFailed

from .documents import document, linear, load, rows, schema


def apply(function: str, *arguments: str, rest: str = "") -> str:
    return f'<Apply function="{function}" {rest}>{"".join(arguments)}</Apply>'


def field(name: str, rest: str = "") -> str:
    return f'<FieldRef field="{name}" {rest}/>'


def constant(value: Any, datatype: str = "double") -> str:
    return f'<Constant dataType="{datatype}">{value}</Constant>'


X, Z, N, C = field("x"), field("z"), field("n"), field("c")
NORM = '<LinearNorm orig="0" norm="0"/><LinearNorm orig="2" norm="1"/><LinearNorm orig="4" norm="0"/>'
BINS = (
    '<DiscretizeBin binValue="1"><Interval closure="openClosed" rightMargin="0"/></DiscretizeBin>'
    '<DiscretizeBin binValue="2"><Interval closure="openOpen" leftMargin="0" rightMargin="5"/></DiscretizeBin>'
)
TABLE = (
    '<FieldColumnPair field="c" column="colour"/><FieldColumnPair field="n" column="size"/><InlineTable>'
    "<row><colour>red</colour><size>1</size><worth>10</worth></row>"
    "<row><colour>dark blue</colour><size>2</size><worth>20</worth></row></InlineTable>"
)
ROW = {"x": 3.0, "z": -2.0, "n": 2, "c": "dark blue"}
NONE = dict.fromkeys(ROW)

CASES: list[tuple[str, dict[str, Any], float | None]] = [
    (constant(7), ROW, 7),
    (X, ROW, 3),
    (X, NONE, None),
    (field("x", 'mapMissingTo="9"'), NONE, 9),
    (apply("+", X, Z), ROW, 1),
    (apply("-", X, Z), ROW, 5),
    (apply("-", X), ROW, -3),
    (apply("*", X, Z), ROW, -6),
    (apply("/", X, Z), ROW, -1.5),
    (apply("/", X, constant(0)), ROW, None),
    (apply("/", X, constant(0), rest='defaultValue="8"'), ROW, 8),
    (apply("+", X, Z), NONE, None),
    (apply("+", X, Z, rest='mapMissingTo="4"'), NONE, 4),
    (apply("modulo", Z, X), ROW, 1),
    (apply("pow", X, N), ROW, 9),
    (apply("exp", X), ROW, math.exp(3)),
    (apply("ln", Z), ROW, None),
    (apply("ln", X), ROW, math.log(3)),
    (apply("sqrt", Z), ROW, None),
    (apply("round", constant(2.5)), ROW, 3),
    (apply("round", constant(-2.5)), ROW, -2),
    (apply("floor", constant(-2.5)), ROW, -3),
    (apply("ceil", constant(2.1)), ROW, 3),
    (apply("threshold", X, constant(2)), ROW, 1),
    (apply("min", X, Z, constant(-7)), ROW, -7),
    (apply("max", X, constant(1)), NONE, 1),
    (apply("avg", X, N), ROW, 2.5),
    (apply("median", X, N, Z), ROW, 2),
    (apply("sum", X, N, Z), ROW, 3),
    (apply("product", X, N), ROW, 6),
    (apply("sum", X), NONE, None),
    (apply("if", apply("lessThan", Z, constant(0)), constant(1), constant(2)), ROW, 1),
    (apply("if", apply("lessThan", Z, constant(0)), constant(1), constant(2)), NONE, None),
    (apply("if", apply("isMissing", Z), constant(1), constant(2)), NONE, 1),
    (apply("if", apply("and", apply("isMissing", Z), apply("isNotMissing", X)), constant(1), constant(2)), NONE, 2),
    (apply("if", apply("or", apply("greaterThan", X, constant(1)), apply("isMissing", X)), constant(1)), NONE, 1),
    (apply("if", apply("not", apply("equal", C, constant("red", "string"))), constant(1), constant(2)), ROW, 1),
    (apply("if", apply("isIn", N, constant(1), constant(2)), constant(1), constant(2)), ROW, 1),
    (apply("if", apply("isNotIn", N, constant(1), constant(2)), constant(1), constant(2)), ROW, 2),
    (apply("stringLength", apply("trimBlanks", constant("  ab ", "string"))), ROW, 2),
    (
        apply("if", apply("equal", apply("uppercase", C), constant("DARK BLUE", "string")), constant(1), constant(2)),
        ROW,
        1,
    ),
    (apply("substring", constant("x42y", "string"), constant(2), constant(2)), ROW, 42),
    (f'<NormContinuous field="x">{NORM}</NormContinuous>', ROW, 0.5),
    (f'<NormContinuous field="x">{NORM}</NormContinuous>', {**ROW, "x": 5}, -0.5),
    (f'<NormContinuous field="x" outliers="asExtremeValues">{NORM}</NormContinuous>', {**ROW, "x": 5}, 0),
    (f'<NormContinuous field="x" outliers="asMissingValues">{NORM}</NormContinuous>', {**ROW, "x": -1}, None),
    (f'<NormContinuous field="x" mapMissingTo="0.25">{NORM}</NormContinuous>', NONE, 0.25),
    ('<NormDiscrete field="c" value="dark blue"/>', ROW, 1),
    ('<NormDiscrete field="n" value="2.0"/>', ROW, 1),
    ('<NormDiscrete field="c" value="red"/>', ROW, 0),
    ('<NormDiscrete field="c" value="red" mapMissingTo="0.5"/>', NONE, 0.5),
    (f'<Discretize field="x">{BINS}</Discretize>', ROW, 2),
    (f'<Discretize field="x">{BINS}</Discretize>', {**ROW, "x": 0}, 1),
    (f'<Discretize field="x" defaultValue="3">{BINS}</Discretize>', {**ROW, "x": 5}, 3),
    (f'<Discretize field="x" mapMissingTo="4">{BINS}</Discretize>', NONE, 4),
    (f'<MapValues outputColumn="worth">{TABLE}</MapValues>', ROW, 20),
    (f'<MapValues outputColumn="worth" defaultValue="5">{TABLE}</MapValues>', {**ROW, "n": 7}, 5),
    (f'<MapValues outputColumn="worth" mapMissingTo="6">{TABLE}</MapValues>', NONE, 6),
]


@pytest.mark.parametrize(("expression", "row", "expected"), CASES)
def test_an_expression_gives(tmp_path: Path, expression: str, row: dict[str, Any], expected: float | None) -> None:
    [answer] = rows(load(tmp_path, linear(expression)), row)
    assert answer["y"] == (expected if expected is None else pytest.approx(expected))


def test_a_document_may_define_functions_that_use_each_other(tmp_path: Path) -> None:
    twice = (
        f'<DefineFunction name="twice"><ParameterField name="a"/>{apply("*", field("a"), constant(2))}</DefineFunction>'
    )
    more = (
        '<DefineFunction name="more"><ParameterField name="a"/><ParameterField name="b"/>'
        f"{apply('+', apply('twice', field('a')), field('b'))}</DefineFunction>"
    )
    text = linear(
        apply("more", X, N), transformations=f"<TransformationDictionary>{twice}{more}</TransformationDictionary>"
    )
    assert rows(load(tmp_path, text), ROW)[0]["y"] == 8


def test_a_field_of_single_precision_is_compared_in_it(tmp_path: Path) -> None:
    """A tree was split by numbers of single precision, in which these two are one."""
    tree = (
        '<Node score="0"><True/><Node score="1"><SimplePredicate field="f" operator="lessOrEqual" value="0.1"/></Node>'
        '<Node score="2"><True/></Node></Node>'
    )
    fields = '<DataField name="f" dataType="float"/><DataField name="y" dataType="double"/>'
    text = document(f'<TreeModel functionName="regression">{schema("f", target="y")}{tree}</TreeModel>', fields)
    assert [row["y"] for row in rows(load(tmp_path, text), [0.1], [0.1000000001], [0.1001])] == [1, 1, 2]


def compound(operator: str, *parts: str) -> str:
    return f'<CompoundPredicate booleanOperator="{operator}">{"".join(parts)}</CompoundPredicate>'


def simple(field_: str, operator: str, value: Any = "") -> str:
    return f'<SimplePredicate field="{field_}" operator="{operator}" value="{value}"/>'


SET = (
    '<SimpleSetPredicate field="c" booleanOperator="{}"><Array type="string" n="2">red "dark blue"</Array>'
    "</SimpleSetPredicate>"
)


@pytest.mark.parametrize(
    ("predicate", "row", "holds"),
    [
        ("<True/>", NONE, True),
        ("<False/>", ROW, False),
        (simple("x", "greaterOrEqual", 3), ROW, True),
        (simple("x", "notEqual", 3), ROW, False),
        (simple("x", "equal", 3), NONE, False),
        (simple("x", "isMissing"), NONE, True),
        (simple("x", "isNotMissing"), NONE, False),
        (simple("n", "equal", "2.0"), ROW, True),
        (simple("c", "equal", "red"), ROW, False),
        (SET.format("isIn"), ROW, True),
        (SET.format("isNotIn"), ROW, False),
        (SET.format("isNotIn"), NONE, False),
        (compound("and", simple("x", "lessThan", 4), simple("z", "lessThan", 0)), ROW, True),
        (compound("or", simple("x", "equal", 1), "<True/>"), NONE, True),
        (compound("and", simple("x", "equal", 1), "<True/>"), NONE, False),
        (compound("xor", "<True/>", simple("x", "equal", 3)), ROW, False),
        (compound("surrogate", simple("x", "equal", 1), simple("n", "equal", 2)), {**ROW, "x": None}, True),
    ],
)
def test_a_predicate_holds(tmp_path: Path, predicate: str, row: dict[str, Any], holds: bool) -> None:
    tree = f'<Node score="0"><True/><Node score="1">{predicate}</Node><Node score="2"><True/></Node></Node>'
    text = document(f'<TreeModel functionName="regression">{schema("x", "z", "n", "c", target="y")}{tree}</TreeModel>')
    assert rows(load(tmp_path, text), row)[0]["y"] == (1 if holds else 2)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (apply("erf", X), "the function 'erf' is not evaluated here"),
        ("<TextIndex textField='c'/>", "the expression TextIndex is not evaluated here"),
        ("", "must hold one expression"),
        (X + Z, "must hold one expression"),
        ('<NormContinuous field="x"/>', "needs two LinearNorm"),
        ("<FieldRef/>", "a FieldRef has no attribute field"),
        (f'<Discretize field="x">{BINS.replace("openOpen", "wide")}</Discretize>', "Interval.closure is 'wide'"),
    ],
)
def test_what_is_not_evaluated_is_refused_when_it_is_loaded(tmp_path: Path, expression: str, message: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        load(tmp_path, linear(expression))
    assert message in caught.value.message
