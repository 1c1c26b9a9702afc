"""Output fields: what a model says beside its prediction."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed
from colonnade.runtimes.pmml import expressions
from colonnade.runtimes.pmml.document import Unsupported, attribute, only
from colonnade.runtimes.pmml.expressions import Defined
from colonnade.runtimes.pmml.fields import DataField
from colonnade.runtimes.pmml.score import Score
from colonnade.runtimes.pmml.values import Row, Value, known_type, text, typed

_FEATURES = (
    "predictedValue",
    "predictedDisplayValue",
    "probability",
    "confidence",
    "entityId",
    "clusterId",
    "affinity",
    "entityAffinity",
    "clusterAffinity",
    "transformedValue",
    "decision",
)
_ENTITIES = ("entityId", "clusterId")
_COMPUTED = ("transformedValue", "decision")


class Output(NamedTuple):
    """One output field.

    Attributes:
        final: it belongs into the answer; others only serve fields after it.
        compute: from the score and the row, in which the fields before it stand too.
    """

    name: str
    datatype: str
    final: bool
    compute: Callable[[Score, Row], Value]

    def value(self, score: Score, row: Row) -> Value:
        """Its value as its type."""
        found = self.compute(score, row)
        try:
            return typed(found, self.datatype)
        except (ValueError, OverflowError):
            return found


def fields(element: Element | None, target: DataField, defined: Defined) -> tuple[Output, ...]:
    """The fields of an Output.

    Raises:
        LoadFailed: a feature that is not evaluated here.
    """
    if element is None:
        return ()
    return tuple(_field(each, target, defined) for each in element.findall("OutputField"))


def _field(element: Element, target: DataField, defined: Defined) -> Output:
    name = attribute(element, "name")
    feature = only(element, "feature", _FEATURES, "predictedValue")
    if element.get("segmentId") is not None or element.get("rank", "1") != "1":
        raise Unsupported(f"PMML: the output {name} asks for one segment or one rank, which is not evaluated here")
    if element.get("targetField") not in (None, target.name):
        raise LoadFailed(f"PMML: the output {name} names the target {element.get('targetField')}, not {target.name}")
    usual = "string" if feature in _ENTITIES else target.datatype if feature.startswith("predicted") else "double"
    datatype = known_type(element.get("dataType", usual), f"the output {name}")
    return Output(name, datatype, element.get("isFinalResult", "true") == "true", _compute(element, feature, defined))


def _compute(element: Element, feature: str, defined: Defined) -> Callable[[Score, Row], Value]:
    if feature in _COMPUTED:
        expression = expressions.inside(element, defined)
        return lambda score, row: expression(row)
    if feature in _ENTITIES:
        return lambda score, row: score.entity
    category = element.get("value")
    if feature == "probability":
        return lambda score, row: _of(score, category, score.probabilities.get)
    if feature == "confidence":
        return lambda score, row: _of(score, category, (score.confidences or score.probabilities).get)
    if feature.lower().endswith("affinity"):
        return lambda score, row: score.affinities.get(category or score.entity or "")
    return lambda score, row: score.value


def _of(score: Score, category: str | None, find: Callable[[str, float], float]) -> Value:
    """A number of one category, or of the one that is predicted; nothing where nothing is predicted."""
    if score.value is None:
        return None
    return find(text(score.value) if category is None else category, 0.0)
