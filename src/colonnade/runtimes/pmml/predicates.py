"""Predicates: conditions over a row that hold, do not hold, or cannot be known because a value is missing (None)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.etree.ElementTree import Element

from colonnade.errors import LoadFailed
from colonnade.runtimes.pmml.document import Unsupported, attribute, child, content, only, words
from colonnade.runtimes.pmml.fields import DataField
from colonnade.runtimes.pmml.functions import COMPARISONS, compare
from colonnade.runtimes.pmml.values import Row, as_number, single, text

Predicate = Callable[[Row], bool | None]
TAGS = frozenset({"True", "False", "SimplePredicate", "SimpleSetPredicate", "CompoundPredicate"})


def of(element: Element, fields: Mapping[str, DataField]) -> Predicate:
    """The predicate that an element holds, over fields of these types.

    Raises:
        LoadFailed: there is none, or see `compiled`.
    """
    found = next((each for each in element if each.tag in TAGS), None)
    if found is None:
        raise LoadFailed(f"PMML: {element.tag} {element.get('id', '')} has no predicate; export the model again")
    return compiled(found, fields)


def compiled(element: Element, fields: Mapping[str, DataField]) -> Predicate:
    """A predicate as a function of a row.

    Raises:
        LoadFailed: it is none, or has an operator that is not evaluated here.
    """
    if element.tag == "True":
        return lambda row: True
    if element.tag == "False":
        return lambda row: False
    if element.tag == "SimplePredicate":
        return _simple(element, fields)
    if element.tag == "SimpleSetPredicate":
        return _set(element)
    if element.tag == "CompoundPredicate":
        return _compound(element, fields)
    raise Unsupported(f"PMML: the predicate {element.tag} is not evaluated here")


def _simple(element: Element, fields: Mapping[str, DataField]) -> Predicate:
    field, operator = attribute(element, "field"), attribute(element, "operator")
    if operator == "isMissing":
        return lambda row: row.get(field) is None
    if operator == "isNotMissing":
        return lambda row: row.get(field) is not None
    holds = COMPARISONS.get(operator)
    if holds is None:
        raise Unsupported(f"PMML: the operator {operator!r} is not evaluated here")
    wanted = attribute(element, "value")
    number = as_number(wanted)
    if number is not None and field in fields and fields[field].datatype == "float":
        number = single(number)

    def evaluate(row: Row) -> bool | None:
        value = row.get(field)
        if value is None:
            return None
        if number is not None and type(value) is float:  # what most splits of most trees compare
            return holds((value > number) - (value < number))
        order = compare(value, wanted) if not isinstance(value, bool) else compare(text(value), wanted)
        return None if order is None else holds(order)

    return evaluate


def _set(element: Element) -> Predicate:
    field = attribute(element, "field")
    operator = only(element, "booleanOperator", ("isIn", "isNotIn"), "")
    members = words(child(element, "Array"))
    texts = frozenset(members)
    numbers = frozenset(number for each in members if (number := as_number(each)) is not None)

    def evaluate(row: Row) -> bool | None:
        value = row.get(field)
        if value is None:
            return None
        within = text(value) in texts or (isinstance(value, (int, float)) and value in numbers)
        return within == (operator == "isIn")

    return evaluate


def _compound(element: Element, fields: Mapping[str, DataField]) -> Predicate:
    operator = only(element, "booleanOperator", ("and", "or", "xor", "surrogate"), "")
    parts = [compiled(each, fields) for each in content(element)]

    def surrogate(row: Row) -> bool | None:
        return next((answer for part in parts if (answer := part(row)) is not None), None)

    def xor(row: Row) -> bool | None:
        answers = [part(row) for part in parts]
        return None if None in answers else sum(map(bool, answers)) % 2 == 1

    def decided(row: Row) -> bool | None:
        unknown = False
        for part in parts:
            answer = part(row)
            if answer is None:
                unknown = True
            elif answer is (operator == "or"):
                return answer
        return None if unknown else operator == "and"

    return {"surrogate": surrogate, "xor": xor}.get(operator, decided)
