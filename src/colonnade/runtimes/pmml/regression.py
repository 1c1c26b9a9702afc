"""RegressionModel: linear, logistic and other generalised regression over terms of fields."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed
from colonnade.runtimes.pmml.document import attribute, number, only
from colonnade.runtimes.pmml.functions import compare
from colonnade.runtimes.pmml.score import NOTHING, Context, Score, Scorer, best
from colonnade.runtimes.pmml.values import Row, as_number, text

_NORMAL = 1 / math.sqrt(2)

LINKS: Mapping[str, Callable[[float], float]] = {
    "none": lambda y: y,
    "identity": lambda y: y,
    "logit": lambda y: 1 / (1 + math.exp(-y)) if y >= 0 else math.exp(y) / (1 + math.exp(y)),
    "probit": lambda y: 0.5 * (1 + math.erf(y * _NORMAL)),
    "cloglog": lambda y: 1 - math.exp(-math.exp(y)),
    "loglog": lambda y: math.exp(-math.exp(-y)),
    "cauchit": lambda y: 0.5 + math.atan(y) / math.pi,
    "exp": math.exp,
}
"""Inverse link functions by PMML's name of the normalisation."""


def _power(base: float, exponent: float) -> float | None:
    """The power, or None where there is none among the real numbers, or no room for it."""
    try:
        return math.pow(base, exponent)
    except (ValueError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class _Table:
    """One linear term: intercept and coefficients."""

    category: str
    intercept: float
    numeric: tuple[tuple[str, float, float], ...]  # field, exponent, coefficient
    categorical: Mapping[str, tuple[tuple[str, float], ...]]  # field -> (value, coefficient)
    products: tuple[tuple[tuple[str, ...], float], ...]

    def value(self, row: Row) -> float | None:
        """The sum, or None if a number is missing; a category that no coefficient names counts nothing."""
        total = self.intercept
        for field, exponent, coefficient in self.numeric:
            given = as_number(row.get(field))
            if given is None:
                return None
            power = given if exponent == 1 else _power(given, exponent)
            if power is None:
                return None
            total += coefficient * power
        for field, coefficients in self.categorical.items():
            given_category = row.get(field)
            if given_category is not None:
                total += sum(weight for value, weight in coefficients if compare(text(given_category), value) == 0)
        for fields, coefficient in self.products:
            factors = [as_number(row.get(field)) for field in fields]
            if None in factors:
                return None
            total += coefficient * math.prod(factor for factor in factors if factor is not None)
        return total


def scorer(element: Element, context: Context) -> Scorer:
    """One table gives a number, several give the probabilities of categories."""
    tables = [_table(each) for each in element.findall("RegressionTable")]
    if not tables:
        raise LoadFailed("PMML: a RegressionModel has no RegressionTable; export the model again")
    if context.function == "classification":
        method = only(element, "normalizationMethod", (*_SEVERAL, *LINKS), "none")
        return _classifier(tables, method)
    link = LINKS[only(element, "normalizationMethod", (*LINKS, "softmax"), "none").replace("softmax", "logit")]
    [table, *_] = tables

    def evaluate(row: Row) -> Score:
        value = table.value(row)
        return NOTHING if value is None else Score(bounded(link, value))

    return evaluate


def _classifier(tables: Sequence[_Table], method: str) -> Scorer:
    categories = [table.category for table in tables]

    def evaluate(row: Row) -> Score:
        sums: list[float] = []
        for table in tables:
            value = table.value(row)
            if value is None:
                return NOTHING
            sums.append(value)
        probabilities = dict(zip(categories, normalised(sums, method), strict=True))
        return Score(best(probabilities), probabilities)

    return evaluate


def normalised(sums: Sequence[float], method: str) -> list[float]:
    """Probabilities of the categories, from one linear term for each.

    Two categories share what the link function gives the first; the sums of more are made to add up to one.
    """
    if method in _SEVERAL:
        return _SEVERAL[method](sums)
    link = LINKS[method]
    if len(sums) == 2:
        first = bounded(link, sums[0])
        return [first, 1 - first]
    values = [bounded(link, each) for each in sums]
    return [*values[:-1], 1 - math.fsum(values[:-1])] if method in ("none", "identity") else simplemax(values)


def softmax(sums: Sequence[float]) -> list[float]:
    """Exponentials as shares of their sum."""
    highest = max(sums)
    powers = [math.exp(each - highest) for each in sums]
    total = math.fsum(powers)
    return [power / total for power in powers]


def simplemax(sums: Sequence[float]) -> list[float]:
    """Shares of the sum; nothing if there is none."""
    total = math.fsum(sums)
    return [each / total if total else 0.0 for each in sums]


_SEVERAL: Mapping[str, Callable[[Sequence[float]], list[float]]] = {"softmax": softmax, "simplemax": simplemax}


def bounded(link: Callable[[float], float], value: float) -> float:
    """The function's value; infinite where a float has no room for it."""
    try:
        return link(value)
    except OverflowError:
        return math.inf if link is math.exp else link(math.copysign(700.0, value))


def _table(element: Element) -> _Table:
    categorical: dict[str, list[tuple[str, float]]] = {}
    for each in element.findall("CategoricalPredictor"):
        pair = attribute(each, "value"), number(each, "coefficient")
        categorical.setdefault(attribute(each, "name"), []).append(pair)
    return _Table(
        element.get("targetCategory", ""),
        number(element, "intercept"),
        tuple(
            (attribute(each, "name"), number(each, "exponent", 1.0), number(each, "coefficient"))
            for each in element.findall("NumericPredictor")
        ),
        {field: tuple(pairs) for field, pairs in categorical.items()},
        tuple(
            (tuple(attribute(field, "field") for field in each.findall("FieldRef")), number(each, "coefficient"))
            for each in element.findall("PredictorTerm")
        ),
    )
