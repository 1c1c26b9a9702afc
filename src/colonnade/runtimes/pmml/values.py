"""The values of a row and how PMML types them: a number, a text, a truth value, or None where one is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from colonnade.errors import LoadFailed

Value = float | int | str | bool | None
Expression = Callable[["Row"], Value]

DATATYPES: Mapping[str, str] = {  # PMML's type -> the protocol's datatype
    "string": "BYTES",
    "integer": "INT64",
    "float": "FP32",
    "double": "FP64",
    "boolean": "BOOL",
}
_LARGEST_SINGLE = float(np.finfo(np.float32).max)
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class Row:
    """Values by field name; derived fields are computed when they are first asked for."""

    __slots__ = ("_derived", "_values")

    def __init__(self, values: dict[str, Value], derived: Mapping[str, Expression]) -> None:
        self._values = values
        self._derived = derived

    def get(self, name: str) -> Value:
        """The value of a field, or None."""
        if name in self._values:
            return self._values[name]
        expression = self._derived.get(name)
        self._values[name] = None  # a field that is derived from itself is missing
        if expression is not None:
            self._values[name] = expression(self)
        return self._values[name]

    def set(self, name: str, value: Value) -> None:
        """Adds what a segment has put out, for the segments after it."""
        self._values[name] = value


def typed(value: Any, datatype: str) -> Value:
    """A value as PMML's `datatype`; NaN is a missing value.

    Raises:
        ValueError: it cannot be one.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bytes):
        value = value.decode()
    if datatype in ("double", "float"):
        number = float(value) if datatype == "double" else single(float(value))
        return None if math.isnan(number) else number
    if datatype == "integer":
        number = float(value)
        if number != int(number):
            raise ValueError(f"{value} is no whole number")
        return int(number)
    if datatype == "boolean":
        truth = _TRUTH.get(text(value).lower())
        if truth is None:
            raise ValueError(f"{value} is no truth value")
        return truth
    return text(value)


def single(value: float) -> float:
    """The nearest number of single precision, in which exporters of trees compare; splits turn on its last digit."""
    return float(np.float32(value)) if abs(value) <= _LARGEST_SINGLE else value


def text(value: Any) -> str:
    """A value as PMML writes it: truth in lower case, whole numbers without a point."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def known_type(datatype: str, where: str) -> str:
    """A data type that is evaluated here.

    Raises:
        LoadFailed: dates and times, which are not.
    """
    if datatype not in DATATYPES:
        raise LoadFailed(
            f"PMML: {where} has the data type {datatype!r}, which is not evaluated here; use {', '.join(DATATYPES)}"
        )
    return datatype


def as_number(value: Value) -> float | None:
    """A value in arithmetic; a text that is no number is missing."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return None
    return None if value is None else float(value)
