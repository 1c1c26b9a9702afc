"""NeuralNetwork: layers of neurons over normalised inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed
from colonnade.runtimes.pmml import expressions
from colonnade.runtimes.pmml.document import attribute, child, number, only
from colonnade.runtimes.pmml.regression import LINKS, bounded, simplemax, softmax
from colonnade.runtimes.pmml.score import NOTHING, Context, Score, Scorer, best
from colonnade.runtimes.pmml.values import Expression, Row, as_number

_ACTIVATIONS: Mapping[str, Callable[[float], float]] = {
    "logistic": LINKS["logit"],
    "tanh": math.tanh,
    "identity": lambda z: z,
    "rectifier": lambda z: max(0.0, z),
    "exponential": math.exp,
    "reciprocal": lambda z: 1 / z if z else math.inf,
    "square": lambda z: z * z,
    "Gauss": lambda z: math.exp(-z * z),
    "sine": math.sin,
    "cosine": math.cos,
    "Elliott": lambda z: z / (1 + abs(z)),
    "arctan": lambda z: 2 * math.atan(z) / math.pi,
}
_NORMALIZATIONS: Mapping[str, Callable[[Sequence[float]], list[float]]] = {
    "none": list,
    "softmax": softmax,
    "simplemax": simplemax,
}


class _Layer(NamedTuple):
    neurons: Sequence[tuple[str, float, Sequence[tuple[str, float]]]]  # id, bias, (from, weight)
    activation: Callable[[float], float]
    normalized: Callable[[Sequence[float]], list[float]]


def scorer(element: Element, context: Context) -> Scorer:
    """Feeds a row through the layers and reads its answer off the output neurons."""
    inputs: dict[str, Expression] = {
        attribute(each, "id"): expressions.inside(child(each, "DerivedField"), context.defined)
        for each in child(element, "NeuralInputs").findall("NeuralInput")
    }
    layers = [_layer(each, element) for each in element.findall("NeuralLayer")]
    outputs = child(element, "NeuralOutputs").findall("NeuralOutput")
    _require_connected(inputs, layers, [attribute(each, "outputNeuron") for each in outputs])
    if not outputs or not layers:
        raise LoadFailed("PMML: a NeuralNetwork has no layer or no output; export the model again")
    if context.function == "classification":
        categories = {_category(each): attribute(each, "outputNeuron") for each in outputs}
        denormalized: Callable[[float], float] = float
    else:
        categories = {"": attribute(outputs[0], "outputNeuron")}
        denormalized = _denormalized(child(outputs[0], "DerivedField"))

    def evaluate(row: Row) -> Score:
        values: dict[str, float] = {}
        for neuron, expression in inputs.items():
            value = as_number(expression(row))
            if value is None:
                return NOTHING
            values[neuron] = value
        for layer in layers:
            sums = [bias + math.fsum(values[source] * weight for source, weight in each) for _, bias, each in layer[0]]
            active = layer.normalized([bounded(layer.activation, each) for each in sums])
            values |= {neuron: value for (neuron, _, _), value in zip(layer.neurons, active, strict=True)}
        if context.function != "classification":
            return Score(denormalized(values[categories[""]]))
        probabilities = {category: values[neuron] for category, neuron in categories.items()}
        return Score(best(probabilities), probabilities)

    return evaluate


def _require_connected(inputs: Iterable[str], layers: Sequence[_Layer], outputs: Sequence[str]) -> None:
    """Every neuron must be fed by what lies before it."""
    known = set(inputs)
    for layer in layers:
        strays = [source for _, _, sources in layer.neurons for source, _ in sources if source not in known]
        if strays:
            raise LoadFailed(f"PMML: a NeuralNetwork is fed by {strays[0]!r}, which no earlier layer has")
        known |= {neuron for neuron, _, _ in layer.neurons}
    for output in outputs:
        if output not in known:
            raise LoadFailed(f"PMML: the output of a NeuralNetwork is {output!r}, which no layer has")


def _layer(element: Element, network: Element) -> _Layer:
    """A layer; what it does not say itself the network says."""
    said = element if element.get("activationFunction") else network
    activation = _ACTIVATIONS[only(said, "activationFunction", tuple(_ACTIVATIONS), "")]
    said = element if element.get("normalizationMethod") else network
    normalized = _NORMALIZATIONS[only(said, "normalizationMethod", tuple(_NORMALIZATIONS), "none")]
    neurons = [
        (
            attribute(each, "id"),
            number(each, "bias", 0.0),
            [(attribute(con, "from"), number(con, "weight")) for con in each.findall("Con")],
        )
        for each in element.findall("Neuron")
    ]
    return _Layer(neurons, activation, normalized)


def _category(output: Element) -> str:
    return attribute(child(child(output, "DerivedField"), "NormDiscrete"), "value")


def _denormalized(field: Element) -> Callable[[float], float]:
    """From an output neuron back to the target: the normalisation of the target, the other way round."""
    norm = field.find("NormContinuous")
    if norm is None:
        child(field, "FieldRef")
        return float
    points = [(number(each, "orig"), number(each, "norm")) for each in norm.findall("LinearNorm")]
    (low, begin), (high, end) = points[0], points[-1]
    if len(points) != 2 or begin == end:
        raise LoadFailed("PMML: the output of a NeuralNetwork must be normalised along one line")
    return lambda value: low + (value - begin) / (end - begin) * (high - low)
