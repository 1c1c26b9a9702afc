"""MiningModel: several models whose answers are combined, as forests and boosted trees are, or chained."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed
from colonnade.runtimes.pmml import predicates
from colonnade.runtimes.pmml.document import child, number, only
from colonnade.runtimes.pmml.predicates import Predicate
from colonnade.runtimes.pmml.score import NOTHING, Context, Inner, Score, Scorer, best
from colonnade.runtimes.pmml.values import Row, Value, as_number, text

Weighted = Sequence[tuple[Score, float]]

_NUMBERS: Mapping[str, Callable[[Sequence[float], Sequence[float]], float]] = {
    "average": lambda values, weights: math.fsum(values) / len(values),
    "weightedAverage": lambda values, weights: _weighted(values, weights) / math.fsum(weights),
    "median": lambda values, weights: statistics.median(values),
    "max": lambda values, weights: max(values),
    "sum": lambda values, weights: math.fsum(values),
    "weightedSum": lambda values, weights: _weighted(values, weights),
}
_VOTES = ("majorityVote", "weightedMajorityVote")
_SHARES = ("average", "weightedAverage", "max", "sum", "weightedSum")
_PICKS = ("selectFirst", "modelChain")


@dataclass(frozen=True, slots=True)
class _Segment:
    identity: str
    predicate: Predicate
    weight: float
    model: Inner


def hands_on(element: Element) -> bool:
    """Whether a MiningModel answers with the output fields of its segments: one of them decides, not all together."""
    segmentation = element.find("Segmentation")
    return segmentation is not None and segmentation.get("multipleModelMethod") in _PICKS


def scorer(element: Element, context: Context) -> Scorer:
    """Evaluates the segments that hold for a row, and combines them."""
    segmentation = child(element, "Segmentation")
    methods = (*_PICKS, *_VOTES, *(_SHARES if context.function == "classification" else _NUMBERS))
    method = only(segmentation, "multipleModelMethod", methods, "")
    treatment = only(
        segmentation, "missingPredictionTreatment", ("continue", "skipSegment", "returnMissing"), "continue"
    )
    segments = _segments(segmentation, context, chained=method == "modelChain")
    if method == "modelChain":
        return _chain(segments)
    if method == "selectFirst":
        return _first(segments)
    combined = _voted if method in _VOTES else _shared if context.function == "classification" else _numeric

    def evaluate(row: Row) -> Score:
        scores: list[tuple[Score, float]] = []
        for segment in segments:
            if segment.predicate(row):
                score = segment.model.within(row).score
                if score.value is not None:
                    scores.append((score, segment.weight))
                elif treatment != "skipSegment":
                    return NOTHING
        return combined(scores, method) if scores else NOTHING

    return evaluate


def _segments(element: Element, context: Context, *, chained: bool) -> list[_Segment]:
    """The segments; in a chain each sees the output fields of those before it."""
    found: list[_Segment] = []
    fields = dict(context.fields)
    for position, each in enumerate(element.findall("Segment"), 1):
        models = [part for part in each if part.tag.endswith("Model") or part.tag == "NeuralNetwork"]
        if len(models) != 1:
            raise LoadFailed(f"PMML: the segment {each.get('id', position)} must hold one model and has {len(models)}")
        model = context.nested(models[0], context._replace(fields=fields))
        if chained:
            fields = {**fields, **model.outputs}
        identity = each.get("id", str(position))
        found.append(_Segment(identity, predicates.of(each, fields), number(each, "weight", 1.0), model))
    if not found:
        raise LoadFailed("PMML: a Segmentation has no Segment; export the model again")
    return found


def _chain(segments: Sequence[_Segment]) -> Scorer:
    def evaluate(row: Row) -> Score:
        last = NOTHING
        found: dict[str, Value] = {}
        for segment in segments:
            if segment.predicate(row):
                last, outputs = segment.model.within(row)
                found |= outputs
                for name, value in outputs.items():
                    row.set(name, value)
        return replace(last, outputs=found)

    return evaluate


def _first(segments: Sequence[_Segment]) -> Scorer:
    def evaluate(row: Row) -> Score:
        for segment in segments:
            if segment.predicate(row):
                score, outputs = segment.model.within(row)
                return replace(score, outputs=outputs)
        return NOTHING

    return evaluate


def _numeric(scores: Weighted, method: str) -> Score:
    values = [as_number(score.value) for score, _ in scores]
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return NOTHING
    return Score(_NUMBERS[method](numbers, [weight for _, weight in scores]))


def _voted(scores: Weighted, method: str) -> Score:
    votes: dict[str, float] = {}
    for score, weight in scores:
        category = text(score.value)
        votes[category] = votes.get(category, 0.0) + (weight if method == "weightedMajorityVote" else 1.0)
    total = math.fsum(votes.values())
    shares = {category: votes[category] / total for category in votes}
    return Score(best(shares), shares)


def _shared(scores: Weighted, method: str) -> Score:
    """Probabilities combined category by category."""
    categories = dict.fromkeys(category for score, _ in scores for category in score.probabilities)
    weights = [weight for _, weight in scores]
    combined = {
        category: _NUMBERS[method]([score.probabilities.get(category, 0.0) for score, _ in scores], weights)
        for category in categories
    }
    total = math.fsum(combined.values())
    shares = {category: value / total for category, value in combined.items()} if total else combined
    return Score(best(shares), shares)


def _weighted(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True))
