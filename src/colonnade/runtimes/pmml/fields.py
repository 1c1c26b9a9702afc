"""Fields: what the data dictionary allows, and what a mining schema does with values that it does not expect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.runtimes.pmml.document import attribute, number, only
from colonnade.runtimes.pmml.values import Row, Value, known_type, text, typed

_ACTIVE = ("active", "supplementary")
_TARGETS = ("predicted", "target")


@dataclass(frozen=True, slots=True)
class Interval:
    """A range of numbers that is allowed, with or without its ends."""

    low: float
    high: float
    closed_low: bool
    closed_high: bool

    def holds(self, value: float) -> bool:
        """Whether `value` lies in it."""
        above = self.low < value or (self.closed_low and value == self.low)
        return above and (value < self.high or (self.closed_high and value == self.high))

    def __str__(self) -> str:
        return f"{'[' if self.closed_low else '('}{self.low:g}, {self.high:g}{']' if self.closed_high else ')'}"


@dataclass(frozen=True, slots=True)
class DataField:
    """One entry of the data dictionary.

    Attributes:
        values: the texts of the values that are allowed; empty: any.
        missing: texts that say that a value is missing.
        invalid: texts of values that are refused though they look right.
    """

    name: str
    datatype: str
    optype: str
    values: Mapping[str, None]
    missing: frozenset[str]
    invalid: frozenset[str]
    intervals: tuple[Interval, ...]

    def allows(self, value: Value) -> bool:
        """Whether the dictionary allows a value that is not missing."""
        if text(value) in self.invalid:
            return False
        if self.intervals and isinstance(value, (int, float)):
            return any(interval.holds(value) for interval in self.intervals)
        return not self.values or text(value) in self.values

    @property
    def allowed(self) -> str:
        """What it allows, for a message."""
        if self.intervals:
            return " or ".join(map(str, self.intervals))
        return ", ".join(list(self.values)[:12]) or self.datatype


@dataclass(frozen=True, slots=True)
class MiningField:
    """How one model treats an input."""

    field: DataField
    missing_replacement: Value
    missing_refused: bool
    invalid_treatment: str
    invalid_replacement: Value
    outliers: str
    low: float
    high: float

    def prepare(self, given: Any) -> Value:
        """The value that the model sees.

        Raises:
            InvalidInput: it is refused; names field, value and what is allowed.
        """
        field = self.field
        value: Value
        try:
            value = typed(given, field.datatype)
            valid = value is None or text(value) in field.missing or field.allows(value)
        except (ValueError, TypeError, OverflowError):
            value, valid = None, False
        if not valid:
            value = self._invalid(given, value)
        if value is None or text(value) in field.missing:
            if self.missing_refused:
                raise InvalidInput(f'Field "{field.name}" is missing, which the model refuses; send {field.allowed}')
            return self.missing_replacement
        if self.outliers != "asIs" and isinstance(value, (int, float)) and not self.low <= value <= self.high:
            if self.outliers == "asMissingValues":
                return self.missing_replacement
            return min(max(value, self.low), self.high)
        return value

    def _invalid(self, given: Any, value: Value) -> Value:
        if self.invalid_treatment == "asIs" and value is not None:
            return value
        if self.invalid_treatment == "asMissing":
            return None
        if self.invalid_treatment == "asValue":
            return self.invalid_replacement
        shown = given.decode(errors="replace") if isinstance(given, bytes) else given
        raise InvalidInput(
            f'Field "{self.field.name}" is {shown!r}, which the model refuses; send {self.field.allowed}'
        )


@dataclass(frozen=True, slots=True)
class Schema:
    """A model's mining schema: its inputs and what it predicts."""

    inputs: tuple[MiningField, ...]
    target: str | None

    def prepare(self, given: Mapping[str, Any]) -> dict[str, Value]:
        """The values that the model sees, from what the caller sent; what was not sent is missing.

        Raises:
            InvalidInput: see `MiningField.prepare`.
        """
        return {each.field.name: each.prepare(given.get(each.field.name)) for each in self.inputs}

    def within(self, row: Row) -> dict[str, Value]:
        """The same for a model inside another one, from that one's fields."""
        return {each.field.name: each.prepare(row.get(each.field.name)) for each in self.inputs}


def dictionary(element: Element) -> dict[str, DataField]:
    """The fields of a DataDictionary.

    Raises:
        LoadFailed: a field has no name or a type that is not evaluated here (unless no model uses it).
    """
    return {field.name: field for field in map(_data_field, element.findall("DataField"))}


def _data_field(element: Element) -> DataField:
    name, datatype = attribute(element, "name"), attribute(element, "dataType")
    by_property: dict[str, dict[str, None]] = {"valid": {}, "missing": {}, "invalid": {}}
    for value in element.findall("Value"):
        by_property.setdefault(value.get("property", "valid"), {})[_text(attribute(value, "value"), datatype)] = None
    return DataField(
        name,
        datatype,
        element.get("optype", "categorical"),
        by_property["valid"],
        frozenset(by_property["missing"]),
        frozenset(by_property["invalid"]),
        tuple(map(interval, element.findall("Interval"))),
    )


def _text(value: str, datatype: str) -> str:
    """A value of the document, written as `values.text` writes the caller's."""
    try:
        return text(typed(value, datatype))
    except ValueError:
        return value


def interval(element: Element) -> Interval:
    """An Interval; a margin that is left out is infinite."""
    closure = only(element, "closure", ("openClosed", "openOpen", "closedOpen", "closedClosed"), "closedClosed")
    low, high = number(element, "leftMargin", float("-inf")), number(element, "rightMargin", float("inf"))
    return Interval(low, high, closure.startswith("closed"), closure.endswith("Closed"))


def schema(element: Element, fields: Mapping[str, DataField]) -> Schema:
    """A MiningSchema over the fields that its model can see.

    Raises:
        LoadFailed: it names a field that is none, or asks for a treatment that is not evaluated here.
    """
    inputs: list[MiningField] = []
    target: str | None = None
    for each in element.findall("MiningField"):
        name = attribute(each, "name")
        usage = only(each, "usageType", (*_ACTIVE, *_TARGETS), "active")
        if usage in _TARGETS:
            target = target or name
        elif usage == "active":
            if name not in fields:
                raise LoadFailed(f"PMML: the mining schema names the field {name}, which is not defined")
            inputs.append(_mining_field(each, fields[name]))
    return Schema(tuple(inputs), target)


def _mining_field(element: Element, field: DataField) -> MiningField:
    known_type(field.datatype, f"the field {field.name}")
    treatments = ("asIs", "asMean", "asMode", "asMedian", "asValue", "returnInvalid")
    invalid = only(element, "invalidValueTreatment", ("returnInvalid", "asIs", "asMissing", "asValue"), "returnInvalid")
    replacements = {name: element.get(name) for name in ("missingValueReplacement", "invalidValueReplacement")}
    return MiningField(
        field,
        typed(replacements["missingValueReplacement"], field.datatype),
        only(element, "missingValueTreatment", treatments, "asIs") == "returnInvalid",
        invalid,
        typed(replacements["invalidValueReplacement"], field.datatype),
        only(element, "outliers", ("asIs", "asMissingValues", "asExtremeValues"), "asIs"),
        number(element, "lowValue", float("-inf")),
        number(element, "highValue", float("inf")),
    )


def names(inputs: Sequence[MiningField]) -> list[str]:
    """The names of the inputs, in their order."""
    return [each.field.name for each in inputs]
