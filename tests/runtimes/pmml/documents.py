"""PMML documents for tests: short ones by hand, and exports of small scikit-learn models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.pmml.adapter import PmmlModel, PmmlRuntime

FIELDS = """
<DataField name="x" optype="continuous" dataType="double"/>
<DataField name="z" optype="continuous" dataType="double"/>
<DataField name="n" optype="continuous" dataType="integer"/>
<DataField name="c" optype="categorical" dataType="string"><Value value="red"/><Value value="dark blue"/></DataField>
<DataField name="y" optype="continuous" dataType="double"/>
<DataField name="k" optype="categorical" dataType="string"/>
"""


def document(model: str, fields: str = FIELDS, transformations: str = "") -> str:
    """A whole document around one model."""
    return (
        '<?xml version="1.0"?><PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>'
        f"<DataDictionary>{fields}</DataDictionary>{transformations}{model}</PMML>"
    )


def schema(*inputs: str, target: str | None = None) -> str:
    """A mining schema; an input may carry attributes: `x missingValueReplacement="1"`."""
    named = "".join(
        f'<MiningField name="{name}" {rest}/>' for name, _, rest in (each.partition(" ") for each in inputs)
    )
    predicted = f'<MiningField name="{target}" usageType="target"/>' if target else ""
    return f"<MiningSchema>{named}{predicted}</MiningSchema>"


def load(folder: Path, text: str) -> PmmlModel:
    """The model of a document."""
    file = folder / "model.pmml"
    file.write_text(text)
    return PmmlRuntime().load("m", file, LoadOptions(env={}))


def rows(model: PmmlModel, *instances: Any) -> list[dict[str, Any]]:
    """The answers over V1."""
    answers: list[dict[str, Any]] = model.predict({"instances": list(instances)})["predictions"]
    return answers


def linear(expression: str, inputs: Sequence[str] = ("x", "z", "n", "c"), transformations: str = "") -> str:
    """A document whose prediction is one derived field: the way to look at an expression."""
    return document(
        f'<RegressionModel functionName="regression">{schema(*inputs, target="y")}'
        f'<LocalTransformations><DerivedField name="d" optype="continuous" dataType="double">{expression}'
        '</DerivedField></LocalTransformations><RegressionTable intercept="0">'
        '<NumericPredictor name="d" coefficient="1"/></RegressionTable></RegressionModel>',
        transformations=transformations,
    )


def _fields(count: int, classes: Sequence[Any]) -> str:
    inputs = "".join(f'<DataField name="x{i}" optype="continuous" dataType="double"/>' for i in range(count))
    values = "".join(f'<Value value="{each}"/>' for each in classes)
    return f'{inputs}<DataField name="k" optype="categorical" dataType="integer">{values}</DataField>'


def _nodes(tree: Any, classes: Sequence[Any], node: int, predicate: str) -> str:
    values = tree.value[node][0]
    scores = "".join(
        f'<ScoreDistribution value="{label}" recordCount="{float(value)!r}"/>'
        for label, value in zip(classes, values, strict=True)
    )
    inner = ""
    if tree.children_left[node] >= 0:
        field, threshold = f"x{tree.feature[node]}", float(tree.threshold[node])
        for child, operator in ((tree.children_left[node], "lessOrEqual"), (tree.children_right[node], "greaterThan")):
            said = f'<SimplePredicate field="{field}" operator="{operator}" value="{threshold!r}"/>'
            inner += _nodes(tree, classes, child, said)
    return f'<Node id="{node}" score="{classes[int(np.argmax(values))]}">{predicate}{scores}{inner}</Node>'


def _tree_model(estimator: Any, count: int, classes: Sequence[Any]) -> str:
    inputs = schema(*(f"x{i}" for i in range(count)), target="k")
    nodes = _nodes(estimator.tree_, classes, 0, "<True/>")
    return f'<TreeModel functionName="classification" splitCharacteristic="binarySplit">{inputs}{nodes}</TreeModel>'


def _probabilities(classes: Sequence[Any]) -> str:
    fields = "".join(
        f'<OutputField name="p{label}" feature="probability" dataType="double" value="{label}"/>' for label in classes
    )
    return f"<Output>{fields}</Output>"


def of_forest(forest: Any) -> str:
    """A fitted RandomForestClassifier, whose trees vote with their shares."""
    count, classes = forest.n_features_in_, forest.classes_.tolist()
    segments = "".join(
        f'<Segment id="{position}"><True/>{_tree_model(each, count, classes)}</Segment>'
        for position, each in enumerate(forest.estimators_)
    )
    inputs = schema(*(f"x{i}" for i in range(count)), target="k")
    return document(
        f'<MiningModel functionName="classification">{inputs}{_probabilities(classes)}'
        f'<Segmentation multipleModelMethod="average">{segments}</Segmentation></MiningModel>',
        _fields(count, classes),
    )


def of_logistic(model: Any) -> str:
    """A fitted LogisticRegression."""
    count, classes = model.n_features_in_, model.classes_.tolist()
    inputs = schema(*(f"x{i}" for i in range(count)), target="k")
    tables = ""
    coefficients, intercepts = (model.coef_, model.intercept_)
    if len(classes) == 2:
        coefficients, intercepts = np.vstack([coefficients, coefficients * 0]), [*intercepts, 0.0]
        tables, classes = "", classes[::-1]
    for label, weights, intercept in zip(classes, coefficients, intercepts, strict=True):
        terms = "".join(
            f'<NumericPredictor name="x{i}" coefficient="{float(weight)!r}"/>' for i, weight in enumerate(weights)
        )
        tables += (
            f'<RegressionTable targetCategory="{label}" intercept="{float(intercept)!r}">{terms}</RegressionTable>'
        )
    method = "logit" if len(classes) == 2 else "softmax"
    return document(
        f'<RegressionModel functionName="classification" normalizationMethod="{method}">{inputs}'
        f"{_probabilities(classes)}{tables}</RegressionModel>",
        _fields(count, classes),
    )


def of_network(network: Any) -> str:
    """A fitted MLPClassifier over three classes or more."""
    count, classes = network.n_features_in_, network.classes_.tolist()
    inputs = schema(*(f"x{i}" for i in range(count)), target="k")
    fields = "".join(
        f'<NeuralInput id="0,{i}"><DerivedField optype="continuous" dataType="double"><FieldRef field="x{i}"/>'
        "</DerivedField></NeuralInput>"
        for i in range(count)
    )
    layers = ""
    for depth, (weights, biases) in enumerate(zip(network.coefs_, network.intercepts_, strict=True), 1):
        last = depth == len(network.coefs_)
        kind = 'activationFunction="identity" normalizationMethod="softmax"' if last else ""
        neurons = "".join(
            f'<Neuron id="{depth},{j}" bias="{float(bias)!r}">'
            + "".join(f'<Con from="{depth - 1},{i}" weight="{float(w)!r}"/>' for i, w in enumerate(weights[:, j]))
            + "</Neuron>"
            for j, bias in enumerate(biases)
        )
        layers += f"<NeuralLayer {kind}>{neurons}</NeuralLayer>"
    outputs = "".join(
        f'<NeuralOutput outputNeuron="{len(network.coefs_)},{j}"><DerivedField optype="categorical" dataType="integer">'
        f'<NormDiscrete field="k" value="{label}"/></DerivedField></NeuralOutput>'
        for j, label in enumerate(classes)
    )
    return document(
        f'<NeuralNetwork functionName="classification" activationFunction="rectifier">{inputs}'
        f"{_probabilities(classes)}<NeuralInputs>{fields}</NeuralInputs>{layers}"
        f"<NeuralOutputs>{outputs}</NeuralOutputs></NeuralNetwork>",
        _fields(count, classes),
    )
