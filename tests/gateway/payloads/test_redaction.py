"""Redaction as a table: what is blotted out, what is withheld, and which rules are refused."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import InvalidInput
from colonnade.gateway.payloads import redaction
from colonnade.gateway.payloads.messages import Payload

BLOT = redaction.BLOT


def redacted(body: bytes, *rules: str, size: int | None = None, encoding: str = "") -> bytes | None:
    payload = Payload(body, len(body) if size is None else size, "application/json", encoding)
    return redaction.body(redaction.read(rules), payload)


@pytest.mark.parametrize(
    ("value", "rules", "wanted"),
    [
        ({"a": {"b": 1, "c": 2}}, ["$.a.b"], {"a": {"b": BLOT, "c": 2}}),
        ({"a": [{"b": 1}, {"b": 2}]}, ["$.a[*].b"], {"a": [{"b": BLOT}, {"b": BLOT}]}),
        ({"a": [{"b": 1}, {"b": 2}]}, ["$.a[0].b"], {"a": [{"b": BLOT}, {"b": 2}]}),
        ({"a": [1, 2, 3]}, ["$.a[-1]"], {"a": [1, 2, BLOT]}),
        ({"a": [1]}, ["$.a[7]", "$.b.c", "$.a.x"], {"a": [1]}),
        ({"x y": {"k": 1}}, ["$['x y'].k"], {"x y": {"k": BLOT}}),
        ({"a": {"k": 1, "b": [{"k": {"k": 2}}]}}, ["$..k"], {"a": {"k": BLOT, "b": [{"k": BLOT}]}}),
        ({"a": {"b": 1, "c": [2]}}, ["$.a.*"], {"a": {"b": BLOT, "c": BLOT}}),
        ({"card": "1234-5678", "n": 1}, ["/[0-9]{4}-[0-9]{4}/"], {"card": BLOT, "n": 1}),
        ({"a": 1, "b": 2}, ["$.a", "$.b"], {"a": BLOT, "b": BLOT}),
        ([{"a": 1}], ["$[*].a"], [{"a": BLOT}]),
    ],
)
def test_what_is_blotted_out(value: Any, rules: list[str], wanted: Any) -> None:
    body = redacted(json.dumps(value).encode(), *rules)
    assert body is not None
    assert json.loads(body) == wanted


def test_a_body_without_what_is_looked_for_stays_as_it_is() -> None:
    body = b'{ "a" : 1.50 }'
    assert redacted(body, "$.b") == body


@pytest.mark.parametrize(
    ("body", "changes"),
    [
        (b"no json", {}),
        (b'{"a":"se', {"size": 100}),  # cut off
        (b'{"a":1}', {"size": 100}),
        (b'{"a":1}', {"encoding": "gzip"}),
        (b'{"a":"\xff"}', {}),
        (b"[" * 100_000, {}),
    ],
)
def test_what_cannot_be_looked_through_is_withheld(body: bytes, changes: dict[str, Any]) -> None:
    assert redacted(body, "$.a", **changes) is None


def test_patterns_look_into_any_text_but_not_into_what_is_packed() -> None:
    assert redacted(b"id 1234, cut", "/[0-9]+/", size=100) == b"id [REDACTED], cut"
    assert redacted(b"\x1f\x8b", "/[0-9]+/", encoding="gzip") is None
    assert redacted(b"anything", "x-user") == b"anything"  # rules for headers alone


@pytest.mark.parametrize("rule", ["$", "$a", "$.", "$.a[", "$..", "$.a b", "/(/", "a b", "a.b", "", "//"])
def test_a_rule_that_cannot_be_read_is_refused(rule: str) -> None:
    with pytest.raises(InvalidInput):
        redaction.read([rule])


@pytest.mark.parametrize(
    ("text", "rules"),
    [("", ()), ("a, $.b ,", ("a", "$.b")), ('["/a,b/", "x"]', ("/a,b/", "x"))],
)
def test_the_rules_of_an_annotation(text: str, rules: tuple[str, ...]) -> None:
    assert redaction.split(text) == rules


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "key"]), inner, max_size=3),
    max_leaves=20,
)


def secrets(value: Any) -> list[Any]:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value["key"]] if isinstance(value, dict) and "key" in value else []
    return own + [found for each in below for found in secrets(each)]


@given(JSON)
def test_no_descendant_of_the_name_is_left(value: Any) -> None:
    body = redacted(json.dumps(value).encode(), "$..key")
    assert body is not None
    assert set(map(str, secrets(json.loads(body)))) <= {BLOT}


@given(st.text(max_size=30))
def test_reading_a_rule_gives_rules_or_says_why_not(text: str) -> None:
    with suppress(InvalidInput):
        redaction.read([text])
