"""Whether a GJSON path finds something in a JSON value: the conditions of an InferenceGraph.

GJSON (`name.last`, `children.#`, `friends.#(age>45)#.first`, `@reverse|0`, `[a,b]`) is KServe's language of conditions.
It has no grammar to fail against: every text is a path, and what means nothing finds nothing. How a component is read
depends on what it is applied to (`#` is a key of an object and the length of an array), so a path is not compiled; it
is read as the value is walked, and the reading of each (kind, path) is remembered.

Source: the language's own document, and the behaviour of its implementation where that is silent. Differences, all
outside of what JSON defines: of a key that an object has twice the last one counts, and a string is never searched for
JSON inside of it, unless `@fromstr` says so.

An evaluation is bounded. A path of more than `MAX_PATH` characters, or one that goes too deep, finds nothing. What it
looks at is paid for from a `Budget`, which several evaluations may share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from colonnade.graph.gjson_paths import (
    ArrayPart,
    ObjectPart,
    array_part,
    modifier_part,
    object_part,
    selectors,
    split_at_pipe,
    static_part,
)
from colonnade.graph.gjson_values import MISSING, Query, compare, match_cost, matches, modified

MAX_PATH = 4096
_MAX_DEPTH = 120  # of evaluations in evaluations: queries in queries, pipes after pipes


class TooMuch(Exception):
    """The budget is spent, and nothing is known of what the path finds."""


class _TooDeep(Exception):
    """Too many evaluations in evaluations."""


class Budget:
    """What evaluations may cost.

    Attributes:
        left: values to look at, and characters to match.
    """

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, amount: int) -> None:
        """Pay for so many. Raises TooMuch if they are not left."""
        self.left -= amount
        if self.left < 0:
            raise TooMuch


def exists(value: Any, path: str, budget: Budget) -> bool:
    """Whether `path` finds something in a decoded JSON value; a null that is found counts. May raise TooMuch."""
    return find(value, path, budget) is not MISSING


def find(value: Any, path: str, budget: Budget) -> Any:
    """What `path` finds in a decoded JSON value, `MISSING` if nothing. May raise TooMuch."""
    if len(path) > MAX_PATH:
        return MISSING
    try:
        return _Evaluation(budget).get(value, path)
    except (_TooDeep, RecursionError):
        return MISSING


class _Found:
    """What one walk has found: a value, and the path that is to be applied to it."""

    __slots__ = ("pipe", "value")

    def __init__(self) -> None:
        self.value: Any = MISSING
        self.pipe: str | None = None


class _Evaluation:
    """One evaluation, and what it is paid from."""

    __slots__ = ("_budget", "_depth")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._depth = 0

    def get(self, value: Any, path: str) -> Any:
        """What a path finds."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _TooDeep
        try:
            return self._get(value, path)
        finally:
            self._depth -= 1

    def _get(self, value: Any, path: str) -> Any:
        self._budget.spend(1)
        if len(path) > 1:
            if path[0] == "@" and (modifier := modifier_part(path)) is not None:
                made = self._modified(value, modifier.name, modifier.argument)
                return self._after(made, modifier.rest)
            if path[0] == "!" and (static := static_part(path)) is not None:
                return self._after(_decoded(static.text), static.rest)
            if path[0] in "[{" and (many := selectors(path)) is not None:
                found = [(name, self.get(value, part)) for name, part in many.parts]
                kept = [(name, part) for name, part in found if part is not MISSING]
                made = [part for _, part in kept] if path[0] == "[" else _first_wins(kept)
                return self.get(made, many.rest[1:]) if many.rest else made
        walk = _Found()
        if path.startswith(".."):
            self._array([value] if value is not MISSING else [], path[2:], walk)
        elif isinstance(value, dict):
            self._object(value, path, walk)
        elif isinstance(value, list):
            self._array(value, path, walk)
        return walk.value if walk.pipe is None else self.get(walk.value, walk.pipe)

    def _after(self, value: Any, rest: str) -> Any:
        return self.get(value, rest[1:]) if rest[:1] in ("|", ".") else value

    def _inside(self, value: Any, path: str, walk: _Found) -> bool:
        """Go on in a member or element. True if the search is over."""
        if isinstance(value, dict):
            return self._object(value, path, walk)
        return isinstance(value, list) and self._array(value, path, walk)

    def _object(self, value: dict[str, Any], path: str, walk: _Found) -> bool:
        part: ObjectPart = object_part(path)
        if part.pipe is not None:
            walk.pipe = part.pipe
        if part.wild:
            self._budget.spend(len(value))
            members = [found for key, found in value.items() if self._like(key, part.key)]
        else:
            members = [value[part.key]] if part.key in value else []
        if part.rest is None:
            if members:
                walk.value = members[0]
            return bool(members)
        rest = part.rest
        return any(self._inside(found, rest, walk) for found in members)

    def _array(self, value: list[Any], path: str, walk: _Found) -> bool:
        part: ArrayPart = array_part(path)
        if part.pipe is not None:
            walk.pipe = part.pipe
        if part.query is not None:
            return self._query(value, part, part.query, walk)
        if part.each is not None:
            left, pipe = split_at_pipe(part.each)
            if pipe is not None:
                walk.pipe = pipe
            self._budget.spend(len(value))
            found = [self.get(item, left) for item in value]
            walk.value = [item for item in found if item is not MISSING]
            return True
        if part.length:
            walk.value = len(value)
            return True
        if part.position is None or part.position >= len(value):
            return False
        if part.rest is not None:
            return self._inside(value[part.position], part.rest, walk)
        walk.value = value[part.position]
        return True

    def _query(self, value: list[Any], part: ArrayPart, query: Query, walk: _Found) -> bool:
        self._budget.spend(len(value))
        rest, found = part.rest, []
        split = False
        for item in value:
            if isinstance(item, dict | list):
                asked = self.get(item, query.path)
            elif query.path:
                continue
            else:
                asked = item
            if query.pattern and isinstance(asked, str):
                self._budget.spend(match_cost(asked, query.value))
            if not compare(query, asked):
                continue
            if rest is not None:
                if not split:
                    split = True
                    rest, pipe = split_at_pipe(rest)
                    if pipe is not None:
                        walk.pipe = pipe
                item = self.get(item, rest)
            if not query.all:
                walk.value = item
                return True
            if item is not MISSING:
                found.append(item)
        if query.all and walk.value is MISSING:
            walk.value = found
        return False

    def _like(self, text: str, pattern: str) -> bool:
        self._budget.spend(match_cost(text, pattern))
        return matches(text, pattern)

    def _modified(self, value: Any, name: str, argument: str) -> Any:
        if name == "dig":
            return [] if value is MISSING else self._dug(value, argument)
        if name in _WHOLE:
            self._budget.spend(_size(value, self._budget.left))
        return modified(value, name, argument)

    def _dug(self, value: Any, path: str) -> list[Any]:
        """What a path finds in a value and, at any depth, in those inside of it."""
        found: list[Any] = []
        waiting = [value]
        while waiting:
            one = waiting.pop()
            hit = self.get(one, path)
            if hit is not MISSING:
                found.append(hit)
            below: Sequence[Any] = list(one.values()) if isinstance(one, dict) else one if isinstance(one, list) else ()
            waiting.extend(reversed(below))
        return found


_WHOLE: Final = frozenset({"tostr", "flatten", "join", "group", "reverse", "keys", "values"})


def _size(value: Any, limit: int) -> int:
    """How many values a value holds, counted up to `limit`: parts that it holds twice count twice."""
    waiting, count = [value], 0
    while waiting and count <= limit:
        one = waiting.pop()
        count += 1
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return count


def _first_wins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for name, value in pairs:
        made.setdefault(name, value)
    return made


def _decoded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return MISSING
