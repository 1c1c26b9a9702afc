"""Kinds of models, mining schemas, targets and outputs, by short documents with known answers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from colonnade.errors import InvalidInput, LoadFailed

from .documents import document, load, rows, schema

SPLIT = (
    '<Node id="a" score="1" defaultChild="c"><True/>'
    '<Node id="b" score="2"><SimplePredicate field="x" operator="lessThan" value="0"/></Node>'
    '<Node id="c" score="3"><SimplePredicate field="x" operator="lessThan" value="10"/></Node></Node>'
)


def tree(rest: str = "", nodes: str = SPLIT, more: str = "") -> str:
    return document(f'<TreeModel functionName="regression" {rest}>{schema("x", target="y")}{more}{nodes}</TreeModel>')


@pytest.mark.parametrize(
    ("rest", "missing", "beyond"),
    [
        ("", None, None),
        ('noTrueChildStrategy="returnLastPrediction"', 1, 1),
        ('missingValueStrategy="lastPrediction"', 1, None),
        ('missingValueStrategy="nullPrediction" noTrueChildStrategy="returnLastPrediction"', None, 1),
        ('missingValueStrategy="defaultChild"', 3, None),
    ],
)
def test_a_tree_where_no_child_is_known(tmp_path: Path, rest: str, missing: Any, beyond: Any) -> None:
    answers = [row["y"] for row in rows(load(tmp_path, tree(rest)), [-1], [1], [None], [11])]
    assert answers == [2, 3, missing, beyond]


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("none", 3.0),
        ("exp", math.exp(3)),
        ("logit", 1 / (1 + math.exp(-3))),
        ("probit", 0.5 * (1 + math.erf(3 / math.sqrt(2)))),
        ("cloglog", 1 - math.exp(-math.exp(3))),
        ("loglog", math.exp(-math.exp(-3))),
        ("cauchit", 0.5 + math.atan(3) / math.pi),
    ],
)
def test_a_regression_by_its_link(tmp_path: Path, method: str, expected: float) -> None:
    text = document(
        f'<RegressionModel functionName="regression" normalizationMethod="{method}">{schema("x", "z", "c", target="y")}'
        '<RegressionTable intercept="1"><NumericPredictor name="x" exponent="2" coefficient="0.5"/>'
        '<CategoricalPredictor name="c" value="red" coefficient="-1"/>'
        '<PredictorTerm coefficient="0.25"><FieldRef field="x"/><FieldRef field="z"/></PredictorTerm>'
        "</RegressionTable></RegressionModel>"
    )
    model = load(tmp_path, text)
    assert rows(model, [2, 2, "red"])[0]["y"] == pytest.approx(expected)
    assert rows(model, [None, 2, "red"])[0]["y"] is None


def test_a_power_that_no_number_has_is_missing(tmp_path: Path) -> None:
    text = document(
        f'<RegressionModel functionName="regression">{schema("x", target="y")}<RegressionTable intercept="1">'
        '<NumericPredictor name="x" exponent="-0.5" coefficient="1"/></RegressionTable></RegressionModel>'
    )
    assert [row["y"] for row in rows(load(tmp_path, text), [4], [0], [-4])] == [1.5, None, None]


def test_a_link_beyond_the_range_of_numbers_ends_at_its_bound(tmp_path: Path) -> None:
    text = document(
        f'<RegressionModel functionName="regression" normalizationMethod="logit">{schema("x", target="y")}'
        '<RegressionTable intercept="0"><NumericPredictor name="x" coefficient="1"/></RegressionTable>'
        "</RegressionModel>"
    )
    assert [row["y"] for row in rows(load(tmp_path, text), [1e9], [-1e9])] == [1.0, pytest.approx(0.0)]


def segment(score: float, weight: float = 1, predicate: str = "<True/>") -> str:
    return (
        f'<Segment weight="{weight}">{predicate}<TreeModel functionName="regression">{schema("x", target="y")}'
        f'<Node score="{score}"><SimplePredicate field="x" operator="isNotMissing"/></Node></TreeModel></Segment>'
    )


def mining(method: str, *segments: str, function: str = "regression", target: str = "y", rest: str = "") -> str:
    return document(
        f'<MiningModel functionName="{function}">{schema("x", target=target)}'
        f'<Segmentation multipleModelMethod="{method}" {rest}>{"".join(segments)}</Segmentation></MiningModel>'
    )


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("average", 10 / 3),
        ("weightedAverage", (1 + 3 * 2 + 6 * 3) / 6),
        ("sum", 10),
        ("weightedSum", 25),
        ("median", 3),
        ("max", 6),
        ("selectFirst", 1),
        ("modelChain", 6),
    ],
)
def test_segments_are_combined(tmp_path: Path, method: str, expected: float) -> None:
    model = load(tmp_path, mining(method, segment(1), segment(3, 2), segment(6, 3)))
    assert rows(model, [0])[0]["y"] == pytest.approx(expected)


def test_only_segments_that_hold_count(tmp_path: Path) -> None:
    low = '<SimplePredicate field="x" operator="lessThan" value="0"/>'
    model = load(tmp_path, mining("sum", segment(1, predicate=low), segment(3)))
    assert [row["y"] for row in rows(model, [-1], [1])] == [4, 3]


@pytest.mark.parametrize(("treatment", "expected"), [("continue", None), ("returnMissing", None), ("skipSegment", 3)])
def test_a_segment_without_an_answer(tmp_path: Path, treatment: str, expected: Any) -> None:
    lost = segment(1).replace('operator="isNotMissing"', 'operator="isMissing"')
    text = mining("sum", lost, segment(3), rest=f'missingPredictionTreatment="{treatment}"')
    assert rows(load(tmp_path, text), [1])[0]["y"] == expected


def vote(label: str, weight: float) -> str:
    return (
        f'<Segment weight="{weight}"><True/><TreeModel functionName="classification">{schema("x", target="k")}'
        f'<Node score="{label}"><True/></Node></TreeModel></Segment>'
    )


@pytest.mark.parametrize(("method", "winner"), [("majorityVote", "a"), ("weightedMajorityVote", "b")])
def test_votes(tmp_path: Path, method: str, winner: str) -> None:
    text = mining(method, vote("a", 1), vote("b", 5), vote("a", 1), function="classification", target="k")
    assert rows(load(tmp_path, text), [0])[0]["k"] == winner


def test_a_chain_hands_outputs_on_and_answers_with_the_final_ones(tmp_path: Path) -> None:
    first = (
        f'<Segment><True/><RegressionModel functionName="regression">{schema("x")}<Output>'
        '<OutputField name="raw" feature="predictedValue" dataType="double" isFinalResult="false"/></Output>'
        '<RegressionTable intercept="0"><NumericPredictor name="x" coefficient="2"/></RegressionTable>'
        "</RegressionModel></Segment>"
    )
    second = (
        f'<Segment><True/><RegressionModel functionName="classification" normalizationMethod="logit">'
        f"{schema('raw', target='k')}<Output>"
        '<OutputField name="p" feature="probability" value="yes" dataType="double"/>'
        '<OutputField name="odds" feature="transformedValue" dataType="double"><Apply function="/">'
        '<FieldRef field="p"/><Apply function="-"><Constant>1</Constant><FieldRef field="p"/></Apply></Apply>'
        '</OutputField></Output><RegressionTable targetCategory="yes" intercept="0">'
        '<NumericPredictor name="raw" coefficient="1"/></RegressionTable>'
        '<RegressionTable targetCategory="no" intercept="0"/></RegressionModel></Segment>'
    )
    model = load(tmp_path, mining("modelChain", first, second, function="classification", target="k"))
    [answer] = rows(model, [0.5])
    assert answer == {"k": "yes", "p": pytest.approx(1 / (1 + math.exp(-1))), "odds": pytest.approx(math.e)}
    assert [spec.name for spec in model.outputs] == ["k", "p", "odds"]


def test_the_nearest_cluster(tmp_path: Path) -> None:
    text = document(
        f'<ClusteringModel functionName="clustering" modelClass="centerBased" numberOfClusters="2">{schema("x", "z")}'
        '<Output><OutputField name="cluster" feature="clusterId"/>'
        '<OutputField name="distance" feature="affinity"/></Output>'
        '<ComparisonMeasure kind="distance"><euclidean/></ComparisonMeasure>'
        '<ClusteringField field="x"/><ClusteringField field="z" fieldWeight="4"/>'
        '<Cluster id="near"><Array n="2" type="real">0 0</Array></Cluster>'
        '<Cluster id="far"><Array n="2" type="real">10 10</Array></Cluster></ClusteringModel>'
    )
    model = load(tmp_path, text)
    assert rows(model, [3, 2], [9, 9], [None, 1]) == [
        {"cluster": "near", "distance": 5.0},
        {"cluster": "far", "distance": pytest.approx(math.sqrt(5))},
        {"cluster": None, "distance": None},
    ]


@pytest.mark.parametrize(
    ("said", "given", "expected"),
    [
        ('missingValueReplacement="-5"', None, 2),
        ('invalidValueTreatment="asMissing" missingValueReplacement="-5"', "wide", 2),
        ('invalidValueTreatment="asValue" invalidValueReplacement="-5"', "wide", 2),
        ('outliers="asExtremeValues" lowValue="-4" highValue="4"', 50, 3),
        ('outliers="asMissingValues" lowValue="-4" highValue="4" missingValueReplacement="-5"', 50, 2),
    ],
)
def test_what_the_schema_makes_of_a_value(tmp_path: Path, said: str, given: Any, expected: float) -> None:
    text = document(f'<TreeModel functionName="regression">{schema(f"x {said}", target="y")}{SPLIT}</TreeModel>')
    assert rows(load(tmp_path, text), [given])[0]["y"] == expected


@pytest.mark.parametrize(
    ("said", "given", "message"),
    [
        ("c", "green", "Field \"c\" is 'green', which the model refuses; send red, dark blue"),
        ('c missingValueTreatment="returnInvalid"', None, 'Field "c" is missing, which the model refuses'),
    ],
)
def test_a_value_is_refused_by_name(tmp_path: Path, said: str, given: Any, message: str) -> None:
    text = document(
        f'<TreeModel functionName="regression">{schema(said, target="y")}<Node score="1"><True/></Node></TreeModel>'
    )
    with pytest.raises(InvalidInput) as caught:
        rows(load(tmp_path, text), [given])
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ('<Target field="y" rescaleFactor="2" rescaleConstant="1"/>', 7),
        ('<Target field="y" max="2.5" castInteger="round"/>', 3),
        ('<Target field="y" castInteger="floor" rescaleFactor="0.5"/>', 1),
    ],
)
def test_targets_adjust_a_number(tmp_path: Path, target: str, expected: float) -> None:
    text = tree(more=f"<Targets>{target}</Targets>")
    assert rows(load(tmp_path, text), [5])[0]["y"] == expected


def test_a_target_without_an_answer_has_its_default(tmp_path: Path) -> None:
    text = tree(more='<Targets><Target field="y"><TargetValue defaultValue="8"/></Target></Targets>')
    assert rows(load(tmp_path, text), [50])[0]["y"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (document(""), "no model that can be scored"),
        (
            document(f'<NaiveBayesModel functionName="classification">{schema("x")}</NaiveBayesModel>'),
            "NaiveBayesModel",
        ),
        (tree('missingValueStrategy="weightedConfidence"'), "TreeModel.missingValueStrategy is 'weightedConfidence'"),
        (mining("modelVote", segment(1)), "Segmentation.multipleModelMethod is 'modelVote'"),
        (mining("sum"), "a Segmentation has no Segment"),
        (tree(nodes=""), "a TreeModel has no Node"),
        (tree(nodes='<Node score="1"/>'), "has no predicate"),
        (tree().replace('name="x" ', 'name="q" ', 1), "names the field x, which is not defined"),
        (
            document(
                f'<TreeModel functionName="regression">{schema("t", target="y")}{SPLIT}</TreeModel>',
                '<DataField name="t" dataType="dateTime" optype="continuous"/>',
            ),
            "the field t has the data type 'dateTime'",
        ),
        (
            tree().replace('name="x" />', 'name="x" missingValueReplacement="wide"/>'),
            "holds a value that cannot be read",
        ),
        (tree(more='<Output><OutputField name="w" feature="warning"/></Output>'), "OutputField.feature is 'warning'"),
    ],
)
def test_what_is_not_evaluated_is_refused_when_it_is_loaded(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(LoadFailed) as caught:
        load(tmp_path, text)
    assert message in caught.value.message


VERIFICATION = (
    '<ModelVerification recordCount="1"><VerificationFields><VerificationField field="x" column="data:x"/>'
    '<VerificationField field="y" precision="1e-3"/></VerificationFields><InlineTable>'
    "<row><x>-1</x><y>{}</y></row></InlineTable></ModelVerification>"
)


def test_the_documents_own_records_are_held(tmp_path: Path) -> None:
    load(tmp_path, tree(more=VERIFICATION.format("2.001")))
    with pytest.raises(LoadFailed, match=r"own record 1 expects y = '2.1', and it comes out as 2.0"):
        load(tmp_path, tree(more=VERIFICATION.format("2.1")))
