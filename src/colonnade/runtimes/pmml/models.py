"""A model put together: its schema, its own derived fields, its kind of scoring, its targets and its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed
from colonnade.runtimes.pmml import clusters, expressions, networks, outputs, regression, segments, trees
from colonnade.runtimes.pmml.document import Unsupported, number, only
from colonnade.runtimes.pmml.fields import DataField, Schema, dictionary, schema
from colonnade.runtimes.pmml.outputs import Output
from colonnade.runtimes.pmml.score import Context, Result, Scorer
from colonnade.runtimes.pmml.values import Expression, Row, Value, as_number, typed

_KINDS: Mapping[str, Callable[[Element, Context], Scorer]] = {
    "TreeModel": trees.scorer,
    "RegressionModel": regression.scorer,
    "MiningModel": segments.scorer,
    "ClusteringModel": clusters.scorer,
    "NeuralNetwork": networks.scorer,
}
_FUNCTIONS = ("classification", "regression", "clustering")
_ROUNDING: Mapping[str, Callable[[float], int]] = {
    "round": lambda value: math.floor(value + 0.5),
    "ceiling": math.ceil,
    "floor": math.floor,
}


class Compiled(NamedTuple):
    """A model that can be evaluated.

    Attributes:
        schema: its inputs and the name of what it predicts.
        target: the field that it predicts; without one (clusters) the prediction is text.
        derived: the derived fields that it sees.
        scorer: its kind of scoring.
        adjust: what its targets make of a number.
        fields: its own output fields, in order.
        inherited: output fields of the models inside it that it answers with too.
    """

    schema: Schema
    target: DataField
    derived: Mapping[str, Expression]
    scorer: Scorer
    adjust: Callable[[Value], Value]
    fields: tuple[Output, ...]
    inherited: tuple[Output, ...]

    @property
    def answers(self) -> dict[str, str]:
        """The output fields that belong into an answer, and their types."""
        return {each.name: each.datatype for each in (*self.inherited, *self.fields) if each.final}

    @property
    def outputs(self) -> Mapping[str, DataField]:
        """The output fields as fields that a later model can name."""
        found = (*self.inherited, *self.fields)
        return {each.name: expressions.plain_field(each.name, each.datatype) for each in found}

    def evaluate(self, given: Mapping[str, Any]) -> Result:
        """The answer for what a caller sent.

        Raises:
            InvalidInput: a value is refused by the model's schema.
        """
        return self._result(Row(self.schema.prepare(given), self.derived))

    def within(self, row: Row) -> Result:
        """The answer for the fields of the model around it."""
        return self._result(Row(self.schema.within(row), self.derived))

    def _result(self, row: Row) -> Result:
        score = self.scorer(row)
        value = self.adjust(score.value)
        score = replace(score, value=value)
        row.set(self.target.name, value)
        found: dict[str, Value] = dict(score.outputs)
        for each in self.fields:
            found[each.name] = each.value(score, row)
            row.set(each.name, found[each.name])
        return Result(score, found)


def model_of(root: Element) -> tuple[Compiled, Element]:
    """The first model of a document that is meant for scoring, and its element.

    Raises:
        LoadFailed: there is none, or it holds what is not evaluated here; names the element.
    """
    found = root.find("DataDictionary")
    if found is None:
        raise LoadFailed("PMML: the document has no DataDictionary; export the model again")
    fields = dictionary(found)
    transformations = root.find("TransformationDictionary")
    defined = expressions.functions(transformations)
    derived, types = expressions.derived(transformations, defined)
    for element in root:
        if element.get("functionName") is not None and element.get("isScorable", "true") == "true":
            return _compiled(element, Context("", {**fields, **types}, derived, defined, _compiled)), element
    raise LoadFailed(f"PMML: the document holds no model that can be scored; kinds are {', '.join(_KINDS)}")


def _compiled(element: Element, context: Context) -> Compiled:
    kind = _KINDS.get(element.tag)
    if kind is None:
        raise Unsupported(f"PMML: {element.tag} is not evaluated here; models are {', '.join(_KINDS)}")
    function = only(element, "functionName", _FUNCTIONS, "")
    found = element.find("MiningSchema")
    if found is None:
        raise LoadFailed(f"PMML: a {element.tag} has no MiningSchema; export the model again")
    own = schema(found, context.fields)
    derived, types = expressions.derived(element.find("LocalTransformations"), context.defined)
    inner: list[Compiled] = []

    def nested(element: Element, context: Context) -> Compiled:
        inner.append(_compiled(element, context))
        return inner[-1]

    fields, visible = {**context.fields, **types}, {**context.derived, **derived}
    scorer = kind(element, Context(function, fields, visible, context.defined, nested))
    inherited = tuple(each for model in inner for each in (*model.inherited, *model.fields))
    target = _target(own, context.fields, function)
    return Compiled(
        own,
        target,
        visible,
        scorer,
        _adjust(element.find("Targets"), target),
        outputs.fields(element.find("Output"), target, context.defined),
        inherited if segments.hands_on(element) else (),
    )


def _target(own: Schema, fields: Mapping[str, DataField], function: str) -> DataField:
    if own.target is None or own.target not in fields:
        return expressions.plain_field(own.target or "_target", "double" if function == "regression" else "string")
    field = fields[own.target]
    return expressions.plain_field(field.name, field.datatype)


def _adjust(element: Element | None, target: DataField) -> Callable[[Value], Value]:
    """What `Targets` make of the model's number: bounds, scale, whole numbers, and a default if there is none."""
    found = [] if element is None else element.findall("Target")
    if not found:
        return lambda value: _as(value, target.datatype)
    [said, *_] = found
    if said.get("field") not in (None, target.name):
        raise LoadFailed(f"PMML: Targets name {said.get('field')}, and the model predicts {target.name}")
    factor, constant = number(said, "rescaleFactor", 1.0), number(said, "rescaleConstant", 0.0)
    low, high = number(said, "min", float("-inf")), number(said, "max", float("inf"))
    rounded = _ROUNDING[only(said, "castInteger", tuple(_ROUNDING), "")] if said.get("castInteger") else None
    default = next((each.get("defaultValue") for each in said.findall("TargetValue") if each.get("defaultValue")), None)

    def adjust(value: Value) -> Value:
        if value is None:
            value = default
        number_ = as_number(value) if target.datatype in ("double", "float", "integer") else None
        if number_ is not None:
            value = min(max(number_, low), high) * factor + constant
            value = value if rounded is None else rounded(value)
        return _as(value, target.datatype)

    return adjust


def _as(value: Value, datatype: str) -> Value:
    """As the target's type; a number that is none of it (an average of whole numbers) stays what it is."""
    try:
        return typed(value, datatype)
    except (ValueError, OverflowError):
        return value
