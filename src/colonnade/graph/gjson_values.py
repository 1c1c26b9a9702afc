"""What GJSON does with values: comparisons of queries, patterns, and the `@` modifiers. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson


class _Missing:
    """The one value of `MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What a path finds that finds nothing. JSON's null is a value, and is not this."""

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:inf|infinity|nan)")
_TRUE = frozenset({"1", "t", "true"})


class Query(NamedTuple):
    """`#(path operator value)`.

    Attributes:
        path: asked of each element; empty means the element itself.
        operator: `=`, `!=`, `<`, `<=`, `>`, `>=`, `%`, `!%`; empty asks only whether the path finds something.
        value: text to compare with, without its quotes.
        to_bool: what is found is taken as true or false first (`~`), and as false if nothing is found.
        all: every match is sought and not only the first one.
    """

    path: str
    operator: str
    value: str
    to_bool: bool = False
    all: bool = False

    @property
    def pattern(self) -> bool:
        """Whether strings are matched with a pattern."""
        return self.operator in ("%", "!%")


def compare(query: Query, found: Any) -> bool:
    """Whether what a query's path found fits the query. Values of another type than can be compared never fit."""
    if query.to_bool:
        found = truth(found)
    if found is MISSING:
        return False
    if not query.operator:
        return True
    match found:
        case bool():
            return _compare_bool(query.operator, found, query.value)
        case str():
            if query.pattern:
                return matches(found, query.value) is (query.operator == "%")
            return _ordered(query.operator, found, query.value)
        case int() | float():
            return _ordered(query.operator, _float(found), number(query.value))
        case _:
            return False


def truth(found: Any) -> bool:
    """A value as true or false, as `~` takes it."""
    match found:
        case bool():
            return found
        case str():
            return found.lower() in _TRUE
        case int() | float():
            return found != 0
        case _:
            return False


def number(text: str) -> float:
    """The number that a text says; 0 if it says none."""
    return float(text) if _NUMBER.fullmatch(text) else 0.0


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _compare_bool(operator: str, found: bool, value: str) -> bool:
    match operator:
        case "=":
            return value == str(found).lower()
        case "!=":
            return value != str(found).lower()
        case ">":
            return found and value == "false"
        case ">=":
            return found
        case "<":
            return not found and value == "true"
        case "<=":
            return not found
        case _:
            return False


def _ordered(operator: str, found: Any, value: Any) -> bool:
    match operator:
        case "=":
            return bool(found == value)
        case "!=":
            return bool(found != value)
        case "<":
            return bool(found < value)
        case "<=":
            return bool(found <= value)
        case ">":
            return bool(found > value)
        case ">=":
            return bool(found >= value)
        case _:
            return False


def matches(text: str, pattern: str) -> bool:
    """Whether a text fits a pattern: `*` any characters, `?` one character, a backslash takes their meaning away.

    Takes time in the product of both lengths at most: of all stars only the last one seen is ever moved.
    """
    signs = _signs(pattern)
    at = sign = 0
    star, mark = -1, 0
    while at < len(text):
        if sign < len(signs) and signs[sign] == "*":
            star, mark = sign, at
            sign += 1
        elif sign < len(signs) and signs[sign] in ("?", "\\" + text[at]):
            sign += 1
            at += 1
        elif star >= 0:
            mark += 1
            sign, at = star + 1, mark
        else:
            return False
    return all(left == "*" for left in signs[sign:])


def match_cost(text: str, pattern: str) -> int:
    """The most steps that `matches` takes: after each character of the text, what stands between two stars again."""
    signs = _signs(pattern)
    if "*" not in signs:
        return min(len(text), len(signs))
    longest = run = 0
    for sign in signs:
        run = 0 if sign == "*" else run + 1
        longest = max(longest, run)
    return len(text) * (longest + 1)


@lru_cache(256)
def _signs(pattern: str) -> tuple[str, ...]:
    """The signs of a pattern: `*`, `?`, or a backslash and the character that is meant."""
    signs: list[str] = []
    at = 0
    while at < len(pattern):
        letter = pattern[at]
        if letter == "\\":
            at += 1
            letter = pattern[at : at + 1]
            signs.append("\\" + letter)
        else:
            signs.append(letter if letter in "*?" else "\\" + letter)
        at += 1
    return tuple(signs)


def modified(value: Any, name: str, argument: str) -> Any:
    """What the modifier of a name makes of a value, which may be `MISSING`."""
    return _MODIFIERS[name](value, _settings(argument))


def _settings(argument: str) -> dict[str, Any]:
    try:
        read = orjson.loads(argument)
    except orjson.JSONDecodeError:
        return {}
    return read if isinstance(read, dict) else {}


def _same(value: Any, settings: dict[str, Any]) -> Any:
    return value


def _reverse(value: Any, settings: dict[str, Any]) -> Any:
    if isinstance(value, list):
        return value[::-1]
    return dict(reversed(value.items())) if isinstance(value, dict) else value


def _flatten(value: Any, settings: dict[str, Any]) -> Any:
    if not isinstance(value, list):
        return value
    deep = truth(settings.get("deep"))
    made: list[Any] = []
    for item in value:
        if isinstance(item, list):
            made += _flatten(item, settings) if deep else item
        else:
            made.append(item)
    return made


def _join(value: Any, settings: dict[str, Any]) -> Any:
    if not isinstance(value, list):
        return value
    keep = truth(settings.get("preserve"))  # all of a key's values: the first of them is the one that is found
    made: dict[str, Any] = {}
    for item in value:
        if isinstance(item, dict):
            made = {**made, **item, **made} if keep else made | item
    return made


def _keys(value: Any, settings: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return list(value)
    if isinstance(value, list):
        return [None] * len(value)
    return [] if value is MISSING else [None]


def _values(value: Any, settings: dict[str, Any]) -> Any:
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list):
        return value
    return [] if value is MISSING else [value]


def _to_string(value: Any, settings: dict[str, Any]) -> Any:
    try:
        return "" if value is MISSING else orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # deeper than it writes
        return MISSING


def _from_string(value: Any, settings: dict[str, Any]) -> Any:
    if value is None:
        return MISSING
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return MISSING


def _group(value: Any, settings: dict[str, Any]) -> Any:
    if not isinstance(value, dict):
        return MISSING
    made: list[dict[str, Any]] = []
    for key, items in value.items():
        for index, item in enumerate(items if isinstance(items, list) else ()):
            if index == len(made):
                made.append({})
            made[index][key] = item
    return made


_MODIFIERS: Final[dict[str, Callable[[Any, dict[str, Any]], Any]]] = {
    "this": _same,
    "valid": _same,
    "pretty": _same,
    "ugly": _same,
    "reverse": _reverse,
    "flatten": _flatten,
    "join": _join,
    "keys": _keys,
    "values": _values,
    "tostr": _to_string,
    "fromstr": _from_string,
    "group": _group,
}
MODIFIERS: Final = frozenset({*_MODIFIERS, "dig"})
"""The names of all modifiers; `dig` asks a path at every depth, so it is the evaluation's."""
