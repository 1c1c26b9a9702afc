"""Selectors, by table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.control.api.selectors import both, by_fields, by_labels
from colonnade.errors import InvalidInput

LABELS = {"app": "iris", "tier": "web", "example.com/rank": "7", "empty": ""}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("app=iris", True),
        ("app==iris", True),
        ("app=other", False),
        ("app!=other", True),
        ("app!=iris", False),
        ("missing!=x", True),
        ("app=iris,tier=web", True),
        ("app=iris, tier=db", False),
        ("app in (iris, wine)", True),
        ("app in (wine)", False),
        ("app notin (wine),tier in (web,db)", True),
        ("missing notin (a)", True),
        ("missing in (a)", False),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("!app", False),
        ("example.com/rank>6", True),
        ("example.com/rank < 7", False),
        ("app>1", False),
        ("empty=", True),
        ("in", False),
    ],
)
def test_labels(text: str, selected: bool) -> None:
    selector = by_labels(text)
    assert (selector is None or selector({"metadata": {"labels": LABELS}})) is selected


@pytest.mark.parametrize(
    "text", ["=", "a=b=c", "a in b", "a in (b", "-a", "a=b,", ",", "a b", "a>x", "a in (!)", "a=" + "x" * 64]
)
def test_labels_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        by_labels(text)


@pytest.mark.parametrize(
    ("text", "kind", "obj", "selected"),
    [
        ("metadata.name=a", "Pod", {"metadata": {"name": "a"}}, True),
        ("metadata.name!=a", "Pod", {"metadata": {"name": "a"}}, False),
        ("metadata.name=a,metadata.namespace=n", "Pod", {"metadata": {"name": "a"}}, False),
        ("status.phase=Running", "Pod", {"metadata": {}, "status": {"phase": "Running"}}, True),
        ("involvedObject.name=x,type==Warning", "Event", {"involvedObject": {"name": "x"}, "type": "Warning"}, True),
        ("reason!=Created", "Event", {"reason": "Killed"}, True),
        ("involvedObject.uid=", "Event", {}, True),
    ],
)
def test_fields(text: str, kind: str, obj: dict[str, Any], selected: bool) -> None:
    selector = by_fields(text, kind)
    assert selector is not None
    assert selector(obj) is selected


@pytest.mark.parametrize("text", ["spec.nodeName=x", "metadata.name", "metadata.name>3"])
def test_fields_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        by_fields(text, "ConfigMap")


def test_both_asks_both() -> None:
    assert both(None, None) is None
    selector = both(by_labels("app=iris"), by_fields("metadata.name=a", "Pod"))
    assert selector is not None
    assert selector({"metadata": {"name": "a", "labels": LABELS}})
    assert not selector({"metadata": {"name": "b", "labels": LABELS}})
    assert not selector({"metadata": {"name": "a", "labels": "nonsense"}})


@given(st.text("abin(),=!<> /.-", max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (by_labels, lambda given: by_fields(given, "Event")):
        try:
            parse(text)
        except InvalidInput:
            pass
