"""ClusteringModel with centres: the nearest cluster by distance."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed
from colonnade.runtimes.pmml.document import Unsupported, attribute, child, number, only, words
from colonnade.runtimes.pmml.score import NOTHING, Context, Score, Scorer
from colonnade.runtimes.pmml.values import Row, as_number

Differences = Sequence[tuple[float, float]]  # weight, comparison of one field

_MEASURES: Mapping[str, Callable[[Differences], float]] = {
    "squaredEuclidean": lambda parts: math.fsum(weight * part**2 for weight, part in parts),
    "euclidean": lambda parts: math.sqrt(math.fsum(weight * part**2 for weight, part in parts)),
    "cityBlock": lambda parts: math.fsum(weight * part for weight, part in parts),
    "chebychev": lambda parts: max(weight * part for weight, part in parts),
}


def scorer(element: Element, context: Context) -> Scorer:
    """Compares a row with the centre of each cluster.

    Raises:
        Unsupported: the clusters are distributions, or are compared by similarity.
    """
    only(element, "modelClass", ("centerBased",), "")
    measure = child(element, "ComparisonMeasure")
    only(measure, "kind", ("distance",), "")
    only(measure, "compareFunction", ("absDiff",), "absDiff")
    distance = next((_MEASURES[each.tag] for each in measure if each.tag in _MEASURES), None)
    if distance is None:
        raise Unsupported(f"PMML: clusters are compared here by one of {', '.join(_MEASURES)}")
    if element.find("MissingValueWeights") is not None:
        raise Unsupported("PMML: MissingValueWeights of a ClusteringModel is not evaluated here")
    fields = [each for each in element.findall("ClusteringField") if each.get("isCenterField", "true") == "true"]
    for each in fields:
        only(each, "compareFunction", ("absDiff",), "absDiff")
    names = [attribute(each, "field") for each in fields]
    weights = [number(each, "fieldWeight", 1.0) for each in fields]
    centres = {
        each.get("id", str(position)): _centre(each, len(names))
        for position, each in enumerate(element.findall("Cluster"), 1)
    }
    if not centres:
        raise LoadFailed("PMML: a ClusteringModel has no Cluster; export the model again")

    def evaluate(row: Row) -> Score:
        given = [as_number(row.get(name)) for name in names]
        values = [value for value in given if value is not None]
        if len(values) < len(given):
            return NOTHING
        distances = {
            cluster: distance(
                [(weight, abs(value - middle)) for weight, value, middle in zip(weights, values, centre, strict=True)]
            )
            for cluster, centre in centres.items()
        }
        nearest = min(distances, key=lambda cluster: distances[cluster])
        return Score(nearest, entity=nearest, affinities=distances)

    return evaluate


def _centre(element: Element, size: int) -> list[float]:
    try:
        centre = [float(word) for word in words(child(element, "Array"))]
    except ValueError:
        centre = []
    if len(centre) != size:
        raise LoadFailed(f"PMML: the cluster {element.get('id', '')} has no {size} numbers as its centre")
    return centre
