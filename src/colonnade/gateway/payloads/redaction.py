"""What must not be written down, blotted out. Pure.

A rule is a JSON path (`$.instances[*].name`, `$..password`), a regular expression between slashes (`/[0-9]{16}/`), or
the name of a header. A body to which JSON paths cannot be applied, as it is no JSON, was cut, or is compressed, is
withheld whole: what cannot be looked through must not leak.

The paths are a part of RFC 9535: names (`.name`, `['name']`), indices, wildcards (`.*`, `[*]`), and descendants
(`..name`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from colonnade.errors import InvalidInput
from colonnade.gateway.payloads.messages import Payload

BLOT = "[REDACTED]"
_BLOT = BLOT.encode()

_STEP = re.compile(
    r"(?P<deep>\.\.)?(?:(?P<dot>\.)?(?P<name>[A-Za-z_][\w-]*|\*)|\[(?P<index>-?\d{1,9}|\*)\]|\['(?P<quoted>[^']*)'\])"
)


class Step(NamedTuple):
    """A part of a path: a name, an index, or None for all; `deep` means at any depth below."""

    key: str | int | None
    deep: bool = False


class Rules(NamedTuple):
    """Rules, read."""

    paths: tuple[tuple[Step, ...], ...] = ()
    patterns: tuple[re.Pattern[bytes], ...] = ()
    headers: frozenset[str] = frozenset()


def read(texts: Iterable[str]) -> Rules:
    """Read rules.

    Raises:
        InvalidInput: one cannot be read; the message quotes it.
    """
    paths, patterns, headers = [], [], set()
    for text in texts:
        if text.startswith("$"):
            paths.append(_path(text))
        elif len(text) > 2 and text.startswith("/") and text.endswith("/"):
            try:
                patterns.append(re.compile(text[1:-1].encode()))
            except re.error as error:
                raise InvalidInput(f"{text} is no regular expression: {error}") from None
        elif re.fullmatch(r"[A-Za-z0-9_-]+", text):
            headers.add(text.lower())
        else:
            raise InvalidInput(f"{text!r} is no JSON path ($.a.b), no /regular expression/ and no name of a header")
    return Rules(tuple(paths), tuple(patterns), frozenset(headers))


def split(text: str) -> tuple[str, ...]:
    """The rules in the text of an annotation: a JSON list, or rules with commas between them.

    Raises:
        InvalidInput: a JSON list that cannot be read.
    """
    if text.lstrip().startswith("["):
        try:
            return tuple(msgspec.json.decode(text, type=list[str]))
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"{text!r} is no JSON list of texts: {error}") from None
    return tuple(part.strip() for part in text.split(",") if part.strip())


def headers(rules: Rules, fields: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The fields, those blotted out that a rule names, and in the others what a pattern finds."""
    for name, value in fields:
        if name.lower() in rules.headers:
            yield name, BLOT
        else:
            yield name, _blotted(rules, value.encode("utf-8", "surrogateescape")).decode("utf-8", "replace")


def body(rules: Rules, payload: Payload) -> bytes | None:
    """The body without what the rules name; None if it has to be withheld."""
    found = payload.body
    if not (rules.paths or rules.patterns) or not found:
        return found
    if payload.encoding not in ("", "identity"):
        return None
    if rules.paths:
        try:
            if payload.size != len(found):
                return None
            value = msgspec.json.decode(found)
            hits = [_blot(value, path) for path in rules.paths]
            if any(hits):
                found = msgspec.json.encode(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
    return _blotted(rules, found)


def _blotted(rules: Rules, text: bytes) -> bytes:
    for pattern in rules.patterns:
        text = pattern.sub(_BLOT, text)
    return text


def _path(text: str) -> tuple[Step, ...]:
    steps, at = [], 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (match["name"] and not (match["dot"] or match["deep"])):
            raise InvalidInput(f"{text!r} is no JSON path that is understood, from {text[at:]!r} on")
        deep = match["deep"] is not None
        if match["quoted"] is not None:
            steps.append(Step(match["quoted"], deep))
        elif match["index"] is not None:
            steps.append(Step(None if match["index"] == "*" else int(match["index"]), deep))
        else:
            steps.append(Step(None if match["name"] == "*" else match["name"], deep))
        at = match.end()
    if not steps:
        raise InvalidInput(f"{text!r} means the whole body; log no bodies of this service instead")
    return tuple(steps)


def _blot(value: Any, path: tuple[Step, ...]) -> bool:
    """Blot out what the path leads to; whether there was any such thing."""
    step, rest = path[0], path[1:]
    hit = False
    for key in list(_keys(value, step.key)):
        if rest:
            hit = _blot(value[key], rest) or hit
        else:
            value[key], hit = BLOT, True
    if step.deep:
        for key in list(_keys(value, None)):
            hit = _blot(value[key], path) or hit
    return hit


def _keys(value: Any, wanted: str | int | None) -> Iterable[Any]:
    """The keys of a value that a step means."""
    if isinstance(value, dict):
        return value.keys() if wanted is None else (key for key in (wanted,) if key in value)
    if isinstance(value, list):
        if wanted is None:
            return range(len(value))
        return (wanted,) if isinstance(wanted, int) and -len(value) <= wanted < len(value) else ()
    return ()
