"""CloudEvents in and out, in both modes."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import Error, InvalidInput, UnsupportedMediaType
from colonnade.server.cloudevents import answer, read

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BINARY = {b"ce-specversion": b"1.0", b"ce-id": b"1", b"ce-source": b"me", b"ce-type": b"t", b"ce-note": b"a%20b"}
STRUCTURED = {b"content-type": b"application/cloudevents+json; charset=utf-8"}
DOCUMENT = {"specversion": "1.0", "id": "1", "source": "me", "type": "t", "n": 5, "data": {"instances": [[1.5]]}}


def test_a_plain_request_is_no_event() -> None:
    assert read({b"content-type": b"application/json"}, b"{}") is None


def test_binary_mode_carries_attributes_in_headers() -> None:
    event = read(BINARY, b'{"instances":[]}')
    assert event is not None
    assert not event.structured
    assert event.data == b'{"instances":[]}'
    assert event.attributes == {"specversion": "1.0", "id": "1", "source": "me", "type": "t", "note": "a b"}
    headers, content_type, body = answer(event, "m", b"{}", identity="7", now=NOW, env={})
    assert (content_type, body) == (b"application/json", b"{}")
    assert dict(headers) == {
        b"ce-specversion": b"1.0",
        b"ce-id": b"7",
        b"ce-source": b"io.kserve.inference.m",
        b"ce-type": b"io.kserve.inference.response",
        b"ce-time": b"2026-11-23T12:00:00+00:00",
    }


def test_structured_mode_carries_all_in_one_document() -> None:
    event = read(STRUCTURED, json.dumps(DOCUMENT).encode())
    assert event is not None
    assert event.structured
    assert json.loads(bytes(event.data)) == DOCUMENT["data"]
    assert event.attributes["n"] == "5"
    headers, content_type, body = answer(event, "m", b'{"predictions":[1]}', identity="7", now=NOW, env={})
    assert (headers, content_type) == ([], b"application/cloudevents+json")
    assert json.loads(body) == {
        "specversion": "1.0",
        "id": "7",
        "source": "io.kserve.inference.m",
        "type": "io.kserve.inference.response",
        "time": "2026-11-23T12:00:00+00:00",
        "datacontenttype": "application/json",
        "data": {"predictions": [1]},
    }


def test_the_environment_names_the_answer() -> None:
    event = read(BINARY, b"{}")
    assert event is not None
    env = {"CE_MERGE": "TRUE", "CE_TYPE": "mine", "CE_SOURCE": "süd"}
    headers, _, _ = answer(event, "m", b"{}", identity="7", now=NOW, env=env)
    named = dict(headers)
    assert (named[b"ce-type"], named[b"ce-source"], named[b"ce-id"]) == (b"mine", b"s%C3%BCd", b"7")
    assert named[b"ce-note"] == b"a%20b"


@pytest.mark.parametrize(
    ("headers", "body", "error", "message"),
    [
        ({b"ce-specversion": b"1.0", b"ce-id": b"1"}, b"{}", InvalidInput, "missing: source, type"),
        ({**BINARY, b"ce-specversion": b"2.0"}, b"{}", InvalidInput, "specversion 2.0 is not supported"),
        (STRUCTURED, b"[]", InvalidInput, "not a JSON object"),
        (STRUCTURED, b'{"specversion":"1.0"}', InvalidInput, "missing: id, source, type"),
        (STRUCTURED, b'{"specversion":"1.0","id":"1","source":"s","type":"t"}', InvalidInput, 'has no "data"'),
        ({b"content-type": b"application/cloudevents-batch+json"}, b"[]", UnsupportedMediaType, "one event"),
    ],
)
def test_a_broken_event_is_refused(headers: dict[bytes, bytes], body: bytes, error: type[Error], message: str) -> None:
    with pytest.raises(error, match=message):
        read(headers, body)


@given(st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps).map(str.encode))
def test_no_document_breaks_the_reader(body: bytes) -> None:
    with suppress(InvalidInput):
        read(STRUCTURED, body)
