"""TreeModel: decision trees for categories and numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed
from colonnade.runtimes.pmml import predicates
from colonnade.runtimes.pmml.document import attribute, number, only
from colonnade.runtimes.pmml.predicates import Predicate
from colonnade.runtimes.pmml.score import NOTHING, Context, Score, Scorer, best
from colonnade.runtimes.pmml.values import Row, as_number


@dataclass(frozen=True, slots=True)
class _Node:
    predicate: Predicate
    score: Score
    children: tuple[_Node, ...]
    default: _Node | None  # the child for rows of which it cannot be known which one is theirs


def scorer(element: Element, context: Context) -> Scorer:
    """Follows a row from the root to the last node that holds for it."""
    missing = only(
        element, "missingValueStrategy", ("none", "lastPrediction", "nullPrediction", "defaultChild"), "none"
    )
    otherwise = only(
        element, "noTrueChildStrategy", ("returnNullPrediction", "returnLastPrediction"), "returnNullPrediction"
    )
    found = element.find("Node")
    if found is None:
        raise LoadFailed("PMML: a TreeModel has no Node; export the model again")
    root = _node(found, context)

    def evaluate(row: Row) -> Score:
        if not root.predicate(row):
            return NOTHING
        node = root
        while node.children:
            following: _Node | None = None
            for child in node.children:
                holds = child.predicate(row)
                if holds:
                    following = child
                    break
                if holds is None and missing != "none":
                    if missing == "nullPrediction":
                        return NOTHING
                    if missing == "lastPrediction":
                        return node.score
                    following = node.default
                    break
            if following is None:
                return node.score if otherwise == "returnLastPrediction" else NOTHING
            node = following
        return node.score

    return evaluate


def _node(element: Element, context: Context) -> _Node:
    found = [each for each in element if each.tag == "Node"]
    children = tuple(_node(each, context) for each in found)
    wanted = element.get("defaultChild")
    default = next((node for each, node in zip(found, children, strict=True) if each.get("id") == wanted), None)
    return _Node(predicates.of(element, context.fields), _score(element, context), children, default)


def _score(element: Element, context: Context) -> Score:
    given, entity = element.get("score"), element.get("id")
    if context.function == "regression":
        return Score(as_number(given), entity=entity)
    counts = {attribute(each, "value"): each for each in element.findall("ScoreDistribution")}
    total = sum(number(each, "recordCount", 0.0) for each in counts.values())
    probabilities: Mapping[str, float] = {
        category: number(each, "probability", number(each, "recordCount", 0.0) / total if total else 0.0)
        for category, each in counts.items()
    }
    confidences = {category: number(each, "confidence", probabilities[category]) for category, each in counts.items()}
    if given is None:
        given = best(probabilities)
    if given is not None and not probabilities:
        probabilities = {given: 1.0}
    return Score(given, probabilities, confidences, entity)
