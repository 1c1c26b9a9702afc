"""Expressions: how a derived field, an output or a target is computed from the fields of a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed
from colonnade.runtimes.pmml.document import Unsupported, attribute, child, content, number, only
from colonnade.runtimes.pmml.fields import DataField, Interval
from colonnade.runtimes.pmml.fields import interval as read_interval
from colonnade.runtimes.pmml.functions import FUNCTIONS, TOLERANT
from colonnade.runtimes.pmml.values import Expression, Row, Value, as_number, known_type, text, typed

Defined = Mapping[str, Callable[[Sequence[Expression]], Expression]]  # the document's own functions
_KINDS: dict[str, Callable[[Element, Defined], Expression]] = {}


def compiled(element: Element, defined: Defined) -> Expression:
    """One expression as a function of a row.

    Raises:
        Unsupported: its kind, or a function in it, is not evaluated here.
    """
    kind = _KINDS.get(element.tag)
    if kind is None:
        raise Unsupported(f"PMML: the expression {element.tag} is not evaluated here; use one of {', '.join(_KINDS)}")
    return kind(element, defined)


def inside(element: Element, defined: Defined) -> Expression:
    """The one expression that an element holds."""
    found = [each for each in content(element) if each.tag in _KINDS or each.tag not in ("ParameterField", "Value")]
    if len(found) != 1:
        raise LoadFailed(f"PMML: {element.tag} {element.get('name', '')} must hold one expression and has {len(found)}")
    return compiled(found[0], defined)


def derived(parent: Element | None, defined: Defined) -> tuple[dict[str, Expression], dict[str, DataField]]:
    """The derived fields of a dictionary or of local transformations: how they are computed, and their types."""
    expressions: dict[str, Expression] = {}
    fields: dict[str, DataField] = {}
    for element in () if parent is None else parent.findall("DerivedField"):
        name = attribute(element, "name")
        datatype = known_type(attribute(element, "dataType"), f"the derived field {name}")
        expressions[name] = _cast(inside(element, defined), datatype)
        fields[name] = plain_field(name, datatype)
    return expressions, fields


def plain_field(name: str, datatype: str) -> DataField:
    """A field that is computed, so that every value of it is allowed."""
    return DataField(name, datatype, "", {}, frozenset(), frozenset(), ())


def functions(parent: Element | None) -> Defined:
    """The functions that the document defines; one may use those before it."""
    defined: dict[str, Callable[[Sequence[Expression]], Expression]] = {}
    for element in () if parent is None else parent.findall("DefineFunction"):
        name = attribute(element, "name")
        parameters = [attribute(each, "name") for each in element.findall("ParameterField")]
        defined[name] = _function(name, parameters, inside(element, dict(defined)))
    return defined


def _function(name: str, parameters: Sequence[str], body: Expression) -> Callable[[Sequence[Expression]], Expression]:
    def make(arguments: Sequence[Expression]) -> Expression:
        if len(arguments) != len(parameters):
            raise LoadFailed(f"PMML: the function {name} takes {len(parameters)} arguments and gets {len(arguments)}")
        return lambda row: body(Row({key: each(row) for key, each in zip(parameters, arguments, strict=True)}, {}))

    return make


def _cast(expression: Expression, datatype: str) -> Expression:
    def evaluate(row: Row) -> Value:
        try:
            return typed(expression(row), datatype)
        except (ValueError, OverflowError):
            return None

    return evaluate


def _constant(element: Element, defined: Defined) -> Expression:
    value: Value = element.text or ""
    datatype = element.get("dataType")
    if element.get("missing") == "true":
        value = None
    elif datatype is not None:
        value = typed(value, known_type(datatype, "a Constant"))
    else:
        found = as_number(value)
        value = value if found is None else found
    return lambda row: value


def _reference(element: Element, defined: Defined) -> Expression:
    field, instead = attribute(element, "field"), element.get("mapMissingTo")

    def evaluate(row: Row) -> Value:
        value = row.get(field)
        return instead if value is None else value

    return evaluate


def _norm_continuous(element: Element, defined: Defined) -> Expression:
    field = attribute(element, "field")
    points = sorted((number(each, "orig"), number(each, "norm")) for each in element.findall("LinearNorm"))
    if len(points) < 2:
        raise LoadFailed(f"PMML: NormContinuous of {field} needs two LinearNorm")
    outliers = only(element, "outliers", ("asIs", "asMissingValues", "asExtremeValues"), "asIs")
    missing = element.get("mapMissingTo")

    def evaluate(row: Row) -> Value:
        value = as_number(row.get(field))
        if value is None:
            return as_number(missing)
        if not points[0][0] <= value <= points[-1][0]:
            if outliers == "asMissingValues":
                return as_number(missing)
            if outliers == "asExtremeValues":
                return points[0][1] if value < points[0][0] else points[-1][1]
        return _interpolated(points, value)

    return evaluate


def _interpolated(points: Sequence[tuple[float, float]], value: float) -> float:
    """Along the piece that holds the value; beyond both ends, along the last one."""
    pieces = list(pairwise(points))
    (low, begin), (high, end) = next((piece for piece in pieces if value <= piece[1][0]), pieces[-1])
    return begin + (value - low) / (high - low) * (end - begin)


def _norm_discrete(element: Element, defined: Defined) -> Expression:
    field, wanted, missing = attribute(element, "field"), attribute(element, "value"), element.get("mapMissingTo")

    def evaluate(row: Row) -> Value:
        value = row.get(field)
        if value is None:
            return as_number(missing)
        return 1.0 if _same(value, wanted) else 0.0

    return evaluate


def _same(value: Value, wanted: str) -> bool:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return as_number(wanted) == value
    return text(value) == wanted


def _discretize(element: Element, defined: Defined) -> Expression:
    field, missing, otherwise = attribute(element, "field"), element.get("mapMissingTo"), element.get("defaultValue")
    bins: list[tuple[Interval, str]] = [
        (read_interval(child(each, "Interval")), attribute(each, "binValue"))
        for each in element.findall("DiscretizeBin")
    ]

    def evaluate(row: Row) -> Value:
        value = as_number(row.get(field))
        if value is None:
            return missing
        return next((label for interval, label in bins if interval.holds(value)), otherwise)

    return evaluate


def _map_values(element: Element, defined: Defined) -> Expression:
    pairs = [(attribute(each, "field"), attribute(each, "column")) for each in element.findall("FieldColumnPair")]
    output, otherwise, missing = (
        attribute(element, "outputColumn"),
        element.get("defaultValue"),
        element.get("mapMissingTo"),
    )
    table: dict[tuple[str, ...], str] = {}
    for row in child(element, "InlineTable").findall("row"):
        cells = {cell.tag: cell.text or "" for cell in row}
        if output not in cells or any(column not in cells for _, column in pairs):
            raise LoadFailed(f"PMML: a row of MapValues lacks one of the columns {[output, *(c for _, c in pairs)]}")
        table.setdefault(tuple(cells[column] for _, column in pairs), cells[output])

    def evaluate(row: Row) -> Value:
        values = [row.get(field) for field, _ in pairs]
        if None in values:
            return missing
        return table.get(tuple(map(text, values)), otherwise)

    return evaluate


def _apply(element: Element, defined: Defined) -> Expression:
    name = attribute(element, "function")
    arguments = [compiled(each, defined) for each in content(element)]
    missing, otherwise = element.get("mapMissingTo"), element.get("defaultValue")
    if name in defined:
        return defined[name](arguments)
    if name in TOLERANT:
        tolerant = TOLERANT[name]
        return lambda row: tolerant(*(each(row) for each in arguments))
    function = FUNCTIONS.get(name)
    if function is None:
        known = ", ".join((*FUNCTIONS, *TOLERANT))
        raise Unsupported(f"PMML: the function {name!r} is not evaluated here; use one of {known}")

    def evaluate(row: Row) -> Value:
        values = [each(row) for each in arguments]
        if None in values:
            return missing
        try:
            answer = function(*values)
        except (ValueError, TypeError):  # a text where a number is due
            answer = None
        return otherwise if answer is None else answer

    return evaluate


_KINDS |= {
    "Constant": _constant,
    "FieldRef": _reference,
    "NormContinuous": _norm_continuous,
    "NormDiscrete": _norm_discrete,
    "Discretize": _discretize,
    "MapValues": _map_values,
    "Apply": _apply,
}
