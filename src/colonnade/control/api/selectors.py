"""Label and field selectors: parsed once, asked per object.

Grammar: Kubernetes, "Labels and Selectors" and "Field Selectors". The label form is
`a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`; the field form knows `=`, `==` and `!=` only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from colonnade.control.objects import Object
from colonnade.errors import InvalidInput

Selector = Callable[[Object], bool]

_KEY = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9.]{0,251}[A-Za-z0-9])?/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_VALUE = r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
_IN_SET = re.compile(rf"\s*({_KEY})\s+(in|notin)\s*\(([^()]*)\)\s*")
_COMPARED = re.compile(rf"\s*({_KEY})\s*(==|=|!=|<|>)\s*({_VALUE})\s*")
_PRESENT = re.compile(rf"\s*(!?)\s*({_KEY})\s*")
_LABEL_VALUE = re.compile(_VALUE)

FIELDS = ("metadata.name", "metadata.namespace")
FIELDS_OF = {
    "Event": (
        *(f"involvedObject.{part}" for part in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")),
        "involvedObject.resourceVersion",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "Pod": ("status.phase", "spec.nodeName", "spec.restartPolicy", "status.podIP"),
    "Namespace": ("status.phase",),
    "Secret": ("type",),
}
"""Beyond `FIELDS`, what Kubernetes lets one select by, per kind."""


def by_labels(text: str) -> Selector | None:
    """The label selector of a request; None selects everything. Raises InvalidInput with what is wrong."""
    if not text.strip():
        return None
    tests = []
    position = 0
    while True:
        for pattern, build in ((_IN_SET, _in_set), (_COMPARED, _compared), (_PRESENT, _present)):
            match = pattern.match(text, position)
            if match and (match.end() == len(text) or text[match.end()] == ","):
                tests.append(build(match))
                break
        else:
            raise InvalidInput(
                f"unable to parse requirement: cannot read {text[position : position + 80]!r} as a label selector"
            )
        if match.end() == len(text):
            break
        position = match.end() + 1

    def selects(obj: Object) -> bool:
        labels = obj.get("metadata", {}).get("labels")
        return all(test(labels if isinstance(labels, dict) else {}) for test in tests)

    return selects


def by_fields(text: str, kind: str) -> Selector | None:
    """The field selector of a request; None selects everything. Raises InvalidInput on a field that is not offered."""
    tests: list[tuple[tuple[str, ...], bool, str]] = []
    for term in text.split(","):
        if not term.strip():
            continue
        match = re.fullmatch(r"\s*([A-Za-z.]+)\s*(==|=|!=)\s*(.*?)\s*", term)
        if match is None:
            raise InvalidInput(
                f"invalid selector: {term[:80]!r}; can't understand it: write field=value or field!=value"
            )
        field, operator, value = match.groups()
        if field not in FIELDS and field not in FIELDS_OF.get(kind, ()):
            raise InvalidInput(
                f"field label not supported: {field}; for {kind}: {', '.join((*FIELDS, *FIELDS_OF.get(kind, ())))}"
            )
        path = ("source", "component") if field == "source" else tuple(field.split("."))
        tests.append((path, operator != "!=", value))
    if not tests:
        return None
    return lambda obj: all((_at(obj, path) == value) is wanted for path, wanted, value in tests)


def both(first: Selector | None, second: Selector | None) -> Selector | None:
    """The selector that asks both."""
    if first is None or second is None:
        return first or second
    return lambda obj: first(obj) and second(obj)


def _at(obj: Any, path: tuple[str, ...]) -> str:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj)


def _in_set(match: re.Match[str]) -> Selector:
    key, operator, inner = match.groups()
    values = {value.strip() for value in inner.split(",")}
    for value in values:
        if not _LABEL_VALUE.fullmatch(value):
            raise InvalidInput(f"unable to parse requirement: {value[:80]!r} is not a label value")
    if operator == "in":
        return lambda labels: labels.get(key) in values
    return lambda labels: labels.get(key) not in values


def _compared(match: re.Match[str]) -> Selector:
    key, operator, value = match.groups()
    if operator in ("<", ">"):
        try:
            bound = int(value)
        except ValueError:
            raise InvalidInput(f"unable to parse requirement: {value!r} after {operator} must be an integer") from None
        return lambda labels: _ordered(labels.get(key), operator, bound)
    if operator == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value


def _ordered(value: Any, operator: str, bound: int) -> bool:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return False
    return number > bound if operator == ">" else number < bound


def _present(match: re.Match[str]) -> Selector:
    absent, key = match.groups()
    return lambda labels: (key in labels) is not bool(absent)
