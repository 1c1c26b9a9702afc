"""The built-in functions of PMML that `Apply` calls: over values none of which is missing, except where named here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from typing import Any

from colonnade.runtimes.pmml.values import Value, as_number, text

Function = Callable[..., Value]


def _numeric(function: Callable[..., float]) -> Function:
    """Over numbers; what has no answer (a logarithm of zero, a division by it) is missing."""

    def call(*arguments: Value) -> Value:
        numbers = [as_number(each) for each in arguments]
        if None in numbers:
            return None
        try:
            answer = function(*numbers)
        except (ValueError, ZeroDivisionError, OverflowError):
            return None
        return answer if isinstance(answer, int) or not math.isnan(answer) else None

    return call


def compare(left: Value, right: Value) -> int | None:
    """-1, 0 or 1; numbers as numbers, all else as text; None if one is missing."""
    if left is None or right is None:
        return None
    first, second = as_number(left), as_number(right)
    if first is not None and second is not None:
        return (first > second) - (first < second)
    one, other = text(left), text(right)
    return (one > other) - (one < other)


def _compared(holds: Callable[[int], bool]) -> Function:
    def call(left: Value, right: Value) -> Value:
        order = compare(left, right)
        return None if order is None else holds(order)

    return call


COMPARISONS: Mapping[str, Callable[[int], bool]] = {
    "equal": lambda order: order == 0,
    "notEqual": lambda order: order != 0,
    "lessThan": lambda order: order < 0,
    "lessOrEqual": lambda order: order <= 0,
    "greaterThan": lambda order: order > 0,
    "greaterOrEqual": lambda order: order >= 0,
}
"""By PMML's name: whether a comparison holds, given the order of its two sides."""


def _round(value: float) -> float:
    return float(math.floor(value + 0.5))  # half away upwards, as PMML defines it


def _substring(value: Any, start: Any, length: Any) -> Value:
    return text(value)[int(start) - 1 : int(start) - 1 + int(length)]


def _is_in(value: Value, *others: Value) -> bool:
    return any(compare(value, other) == 0 for other in others)


FUNCTIONS: Mapping[str, Function] = {
    "+": _numeric(lambda a, b: a + b),
    "-": _numeric(lambda a, b=None: -a if b is None else a - b),
    "*": _numeric(lambda a, b: a * b),
    "/": _numeric(lambda a, b: a / b),
    "modulo": _numeric(lambda a, b: a - math.floor(a / b) * b),
    "pow": _numeric(lambda a, b: math.pow(a, b)),
    "exp": _numeric(math.exp),
    "expm1": _numeric(math.expm1),
    "ln": _numeric(math.log),
    "ln1p": _numeric(math.log1p),
    "log10": _numeric(math.log10),
    "sqrt": _numeric(math.sqrt),
    "abs": _numeric(abs),
    "floor": _numeric(lambda a: float(math.floor(a))),
    "ceil": _numeric(lambda a: float(math.ceil(a))),
    "round": _numeric(_round),
    "sin": _numeric(math.sin),
    "cos": _numeric(math.cos),
    "tan": _numeric(math.tan),
    "asin": _numeric(math.asin),
    "acos": _numeric(math.acos),
    "atan": _numeric(math.atan),
    "sinh": _numeric(math.sinh),
    "cosh": _numeric(math.cosh),
    "tanh": _numeric(math.tanh),
    "threshold": _numeric(lambda a, b: 1.0 if a > b else 0.0),
    "isIn": _is_in,
    "isNotIn": lambda value, *others: not _is_in(value, *others),
    "uppercase": lambda value: text(value).upper(),
    "lowercase": lambda value: text(value).lower(),
    "trimBlanks": lambda value: text(value).strip(),
    "stringLength": lambda value: len(text(value)),
    "substring": _substring,
    "concat": lambda *values: "".join(map(text, values)),
    **{name: _compared(holds) for name, holds in COMPARISONS.items()},
}
"""Functions that are missing as soon as one argument is."""


def _logic(empty: bool) -> Function:
    """`and` (empty True) and `or`: a missing side decides nothing."""

    def call(*arguments: Value) -> Value:
        if any(each is (not empty) for each in arguments):
            return not empty
        return None if None in arguments else empty

    return call


def _aggregate(function: Callable[[list[float]], float]) -> Function:
    """Over the numbers that are there."""

    def call(*arguments: Value) -> Value:
        numbers = [number for each in arguments if (number := as_number(each)) is not None]
        return function(numbers) if numbers else None

    return call


TOLERANT: Mapping[str, Function] = {
    "isMissing": lambda value: value is None,
    "isNotMissing": lambda value: value is not None,
    "isValid": lambda value: value is not None,
    "isNotValid": lambda value: value is None,
    "and": _logic(True),
    "or": _logic(False),
    "not": lambda value: None if value is None else not value,
    "min": _aggregate(min),
    "max": _aggregate(max),
    "sum": _aggregate(math.fsum),
    "avg": _aggregate(statistics.fmean),
    "median": _aggregate(statistics.median),
    "product": _aggregate(math.prod),
    "if": lambda condition, then, otherwise=None: None if condition is None else then if condition else otherwise,
}
"""Functions that say themselves what a missing argument means."""
