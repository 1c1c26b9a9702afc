"""How the parts of a GJSON path are read. Pure functions of text; each reading is remembered, as paths come again.

The same text is read one way where it meets an object and another way where it meets an array (see `gjson`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import orjson

from colonnade.graph.gjson_values import MODIFIERS, Query

_REMEMBERED = 4096
_NOT_SIMPLE = frozenset("[]{}()#|!")
_BRACKETS = {"[": 1, "(": 1, "{": 1, "]": -1, ")": -1, "}": -1}
_QUERY_BRACKETS = {"[": 1, "(": 1, "]": -1, ")": -1}
_LITERALS = frozenset({"true", "false", "null"})
_SPACE = "".join(map(chr, range(33)))


class ObjectPart(NamedTuple):
    """A component that meets an object.

    Attributes:
        key: the key, or a pattern if `wild`.
        rest: the path inside of the member; None if the member is what was sought.
        pipe: the path that is applied to what is found; None without one.
    """

    key: str
    wild: bool = False
    rest: str | None = None
    pipe: str | None = None


class ArrayPart(NamedTuple):
    """A component that meets an array: an index, its length, a path for each element, or a query.

    Attributes:
        position: of the element, or None.
        length: the number of elements is sought.
        each: the path that is applied to each element, or None.
        query: the query, or None.
        rest, pipe: as those of an `ObjectPart`.
    """

    position: int | None = None
    length: bool = False
    each: str | None = None
    query: Query | None = None
    rest: str | None = None
    pipe: str | None = None


class Modifier(NamedTuple):
    """`@name:argument` at the beginning of a path, and what comes behind it."""

    name: str
    argument: str
    rest: str


class Static(NamedTuple):
    """`!literal` at the beginning of a path: a JSON text, and what comes behind it."""

    text: str
    rest: str


class Selectors(NamedTuple):
    """`[a,b]` or `{a,"name":b}` at the beginning of a path: names and paths, and what comes behind it."""

    parts: tuple[tuple[str, str], ...]
    rest: str


@lru_cache(_REMEMBERED)
def object_part(path: str) -> ObjectPart:
    """Read the component that meets an object. A backslash takes the meaning from the character behind it."""
    key: list[str] = []
    wild = False
    at = 0
    while at < len(path):
        letter = path[at]
        if letter == "|":
            return ObjectPart("".join(key), wild, None, path[at + 1 :])
        if letter == ".":
            rest = path[at + 1 :]
            piped = _begins_a_pipe(rest)
            return ObjectPart("".join(key), wild, None if piped else rest, rest if piped else None)
        if letter == "\\":
            at += 1
            letter = path[at : at + 1]
        elif letter in "*?":
            wild = True
        key.append(letter)
        at += 1
    return ObjectPart("".join(key), wild)


@lru_cache(_REMEMBERED)
def array_part(path: str) -> ArrayPart:
    """Read the component that meets an array."""
    if path.startswith("#."):
        return ArrayPart(each=path[2:])
    if path[:2] in ("#(", "#["):
        return _query_part(path)
    text, separator, rest = _head(path, 0)
    if text == "#":
        return ArrayPart(length=True, pipe=rest if separator == "|" else None)
    if "#" in text:  # means nothing
        return ArrayPart(rest=rest if separator == "." else None, pipe=rest if separator == "|" else None)
    position = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if separator == "|" or (separator and _begins_a_pipe(rest)):
        return ArrayPart(position, pipe=rest)
    return ArrayPart(position, rest=rest if separator else None)


def _query_part(path: str) -> ArrayPart:
    read = _query(path)
    if read is None:  # no closing bracket: whatever there is has the key of no name
        return ArrayPart(query=Query("", "", ""))
    query, end = read
    _, separator, rest = _head(path, end)
    query = query._replace(all=path[end : end + 1] == "#")
    return ArrayPart(query=query, rest=rest if separator == "." else None, pipe=rest if separator == "|" else None)


def _head(path: str, begin: int) -> tuple[str, str, str]:
    """The path up to the first separator at or after `begin`, the separator, and what is behind it."""
    for at in range(begin, len(path)):
        if path[at] in ".|":
            return path[:at], path[at], path[at + 1 :]
    return path, "", ""


def _query(path: str) -> tuple[Query, int] | None:
    """The query that a path begins with, and where it ends; None if it does not end."""
    depth = 1
    operator = 0  # where it begins
    escaped = False
    at = 2
    while at < len(path):
        letter = path[at]
        if depth == 1 and not operator and letter in "!=<>%":
            operator = at
        elif letter == "\\":
            at += 1
        elif letter in _QUERY_BRACKETS:
            depth += _QUERY_BRACKETS[letter]
            if not depth:
                break
        elif letter == '"':
            closing = _closing_quote(path, at)
            escaped = escaped or "\\" in path[at:closing]
            at = closing
        at += 1
    if depth:
        return None
    if not operator:
        return Query(path[2:at].strip(_SPACE), "", ""), at + 1
    sign, value = _comparison(path[operator:at].strip(_SPACE))
    if len(value) >= 2 and value[0] == '"' == value[-1]:
        value = _unescaped(value) if escaped else value[1:-1]
    to_bool = value.startswith("~")
    return Query(path[2:operator].strip(_SPACE), sign, value[1:] if to_bool else value, to_bool), at + 1


def _comparison(text: str) -> tuple[str, str]:
    """The operator and the value of `>=45`, `== "x"`, `%D*`."""
    size = 2 if text[:2] in ("!=", "!%", "<=", ">=", "==") and len(text) > 1 else 1
    sign = text[:size]
    return "=" if sign == "==" else sign, text[size:].strip(_SPACE)


def _closing_quote(path: str, at: int) -> int:
    """Where the string that begins at `at` ends; the end of the path if it does not."""
    at += 1
    while at < len(path) and path[at] != '"':
        at += 2 if path[at] == "\\" else 1
    return at


def _unescaped(text: str) -> str:
    try:
        return str(orjson.loads(text))
    except orjson.JSONDecodeError:  # an escape that JSON has not, such as `\*`: it is for the pattern
        return text[1:-1]


def _begins_a_pipe(rest: str) -> bool:
    """Whether what stands behind a dot is applied to the whole, as behind a `|`: a modifier or a multipath."""
    if rest[:1] == "@":
        name = rest[1:]
        for separator in ".|:":
            name = name.partition(separator)[0]
        return name in MODIFIERS
    return rest[:1] in ("[", "{")


@lru_cache(_REMEMBERED)
def split_at_pipe(path: str) -> tuple[str, str | None]:
    """A path up to its first `|` that is in no query, and what comes behind that."""
    at = 0
    while at < len(path):
        letter = path[at]
        if letter == "\\":
            at += 1
        elif letter == "|":
            return path[:at], path[at + 1 :]
        elif letter == "." and path[at + 1 : at + 2] == "#":
            read = _query(path[at + 1 :]) if path[at + 2 : at + 3] in ("(", "[") else None
            at += 2 if read is None else read[1]  # what follows a `#` belongs to it, even a `|`
        at += 1
    return path, None


@lru_cache(_REMEMBERED)
def modifier_part(path: str) -> Modifier | None:
    """Read the modifier that a path begins with; None if there is none of that name."""
    end = next((at for at in range(1, len(path)) if path[at] in ":|."), len(path))
    name, rest = path[1:end], path[end:]
    if name not in MODIFIERS:
        return None
    if rest[:1] != ":":
        return Modifier(name, "", rest)
    rest = rest[1:]
    if rest[:1] in ("{", "[", '"'):
        end = _squashed(rest)
        return Modifier(name, rest[:end], rest[end:])
    argument, pipe, after = rest.partition("|")
    return Modifier(name, argument, pipe + after)


@lru_cache(_REMEMBERED)
def static_part(path: str) -> Static | None:
    """Read the literal that a path begins with; None if there is none."""
    text = path[1:]
    if text[:1] in ("{", "[", '"'):
        end = _squashed(text)
        return Static(text[:end], text[end:])
    if text[:1] in tuple("+-0123456789"):
        return Static(text, "")
    end = next((at for at, letter in enumerate(text) if letter in "|."), len(text))
    return Static(text[:end], text[end:]) if text[:end] in _LITERALS else None


def _squashed(text: str) -> int:
    """Where the JSON value, or the brackets, that a text begins with end."""
    depth = 0
    at = 0
    while at < len(text):
        letter = text[at]
        if letter == '"':
            at = _closing_quote(text, at)
        else:
            depth += _BRACKETS.get(letter, 0)
        at += 1
        if depth <= 0:
            break
    return min(at, len(text))


@lru_cache(_REMEMBERED)
def selectors(path: str) -> Selectors | None:
    """Read the multipath that a path begins with; None if it does not end, or ends in the middle of a name."""
    parts: list[tuple[str, str]] = []
    depth, start, colon, modifier = 1, 1, 0, False
    at = 1
    while at < len(path):
        letter = path[at]
        if letter == "\\":
            at += 1
        elif letter == "@" and path[at - 1] in ".|":
            modifier = True
        elif letter == ":" and depth == 1 and not modifier and not colon:
            colon = at
        elif letter == '"':
            at = _closing_quote(path, at)
        else:
            depth += _BRACKETS.get(letter, 0)
            if not depth or (letter == "," and depth == 1):
                chosen = path[colon + 1 if colon else start : at]
                parts.append((_name(path[start:colon] if colon else "", chosen), chosen))
                colon, modifier, start = 0, False, at + 1
            if not depth:
                rest = path[at + 1 :]
                return Selectors(tuple(parts), rest) if rest[:1] in ("", "|", ".") else None
        at += 1
    return None


def _name(given: str, path: str) -> str:
    """The key that a selected value gets: the given name, else the last simple one of its path."""
    if given.startswith('"'):
        try:
            return str(orjson.loads(given))
        except orjson.JSONDecodeError:
            return given
    if given:
        return given
    at = max((at for at, letter in enumerate(path) if letter in ".|" and not (at and path[at - 1] == "\\")), default=-1)
    last = path[at + 1 :]
    return "_" if any(letter in _NOT_SIMPLE or letter < " " for letter in last) else last
