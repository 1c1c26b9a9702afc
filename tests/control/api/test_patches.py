"""The patch forms, by the tables of their RFCs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.control.api.patches import json_patch, merge, same, strategic
from colonnade.errors import Invalid, InvalidInput

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "~", "/"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7396, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge(target: Any, patch: Any, result: Any) -> None:
    assert merge(target, patch) == result


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"data": {"a": "1", "b": "2"}}, {"data": {"a": None, "c": "3"}}, {"data": {"b": "2", "c": "3"}}),
        ({"data": {"a": "1"}}, {"data": {"$patch": "replace", "b": "2"}}, {"data": {"b": "2"}}),
        ({"data": {"a": "1"}}, {"data": {"$patch": "delete"}}, {}),
        (
            {"data": {"a": "1", "b": "2"}},
            {"data": {"$retainKeys": ["b", "c"], "c": "3"}},
            {"data": {"b": "2", "c": "3"}},
        ),
        ({"list": [1, 2]}, {"list": [3], "$setElementOrder/list": [3]}, {"list": [3]}),
    ],
)
def test_strategic(target: Any, patch: Any, result: Any) -> None:
    assert strategic(target, patch) == result


def op(name: str, path: str, value: Any = ..., **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **({} if value is ... else {"value": value}), **more}


@pytest.mark.parametrize(
    ("target", "operations", "result"),
    [  # RFC 6902, appendix A
        ({"foo": "bar"}, [op("add", "/baz", "qux")], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["bar", "baz"]}, [op("add", "/foo/1", "qux")], {"foo": ["bar", "qux", "baz"]}),
        ({"baz": "qux", "foo": "bar"}, [op("remove", "/baz")], {"foo": "bar"}),
        ({"foo": ["bar", "qux", "baz"]}, [op("remove", "/foo/1")], {"foo": ["bar", "baz"]}),
        ({"baz": "qux"}, [op("replace", "/baz", "boo")], {"baz": "boo"}),
        ({"a": {"b": 1}, "c": {}}, [op("move", "/c/d", **{"from": "/a/b"})], {"a": {}, "c": {"d": 1}}),
        (
            {"foo": ["all", "grass", "cows", "eat"]},
            [op("move", "/foo/3", **{"from": "/foo/1"})],
            {"foo": ["all", "cows", "eat", "grass"]},
        ),
        (
            {"baz": "qux", "foo": ["a", 2]},
            [op("test", "/baz", "qux"), op("test", "/foo/1", 2)],
            {"baz": "qux", "foo": ["a", 2]},
        ),
        ({"foo": "bar"}, [op("add", "/child", {"grandchild": {}})], {"foo": "bar", "child": {"grandchild": {}}}),
        ({"/": 9, "~1": 10}, [op("test", "/~01", 10), op("test", "/~1", 9)], {"/": 9, "~1": 10}),
        ({"foo": ["bar"]}, [op("add", "/foo/-", ["abc"])], {"foo": ["bar", ["abc"]]}),
        ({"a": 1}, [op("replace", "", {"b": 2})], {"b": 2}),
        ({"a": [1]}, [op("copy", "/b", **{"from": "/a"}), op("add", "/b/-", 2)], {"a": [1], "b": [1, 2]}),
        ({"a": None}, [op("test", "/a", None), op("remove", "/a")], {}),
    ],
)
def test_json_patch(target: Any, operations: Any, result: Any) -> None:
    assert json_patch(target, operations) == result


@pytest.mark.parametrize(
    ("operations", "error"),
    [
        ("no list", InvalidInput),
        ([1], InvalidInput),
        ([op("jump", "/a")], InvalidInput),
        ([op("add", "/a")], InvalidInput),
        ([op("add", "a", 1)], InvalidInput),
        ([{"op": "add", "path": 7, "value": 1}], InvalidInput),
        ([op("copy", "/b")], InvalidInput),
        ([op("test", "/a", True)], Invalid),  # the value is 1
        ([op("remove", "/missing")], Invalid),
        ([op("replace", "/missing", 1)], Invalid),
        ([op("add", "/missing/below", 1)], Invalid),
        ([op("add", "/list/7", 1)], Invalid),
        ([op("add", "/list/01", 1)], Invalid),
        ([op("remove", "/list/-")], Invalid),
        ([op("add", "/a/b", 1)], Invalid),
        ([op("move", "/map/inner", **{"from": "/map"})], Invalid),
    ],
)
def test_json_patch_refuses(operations: Any, error: type[Exception]) -> None:
    before = {"a": 1, "list": [1], "map": {}}
    with pytest.raises(error):
        json_patch(before, operations)
    assert before == {"a": 1, "list": [1], "map": {}}


def test_copies_cannot_double_without_end() -> None:
    doubling = [op("copy", "/a/-", **{"from": "/a"})] * 60
    with pytest.raises(Invalid, match="larger than"):
        json_patch({"a": ["x" * 1000]}, doubling)


@given(VALUES, VALUES)
def test_merging_twice_is_merging_once(target: Any, patch: Any) -> None:
    once = merge(target, patch)
    assert same(merge(once, patch), once)


@given(
    VALUES,
    st.lists(
        st.fixed_dictionaries(
            {
                "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]),
                "path": st.text("/ab~01-"),
            },
            optional={"value": VALUES, "from": st.text("/ab~01-") | VALUES},
        )
        | VALUES,
        max_size=5,
    ),
)
def test_any_json_patch_applies_or_is_refused(target: Any, operations: Any) -> None:
    try:
        json_patch(target, operations)
    except (Invalid, InvalidInput):
        pass
