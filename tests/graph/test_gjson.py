"""The language of conditions: the cases of its own document, and what no input may do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.graph import gjson
from colonnade.graph.gjson import MAX_PATH, Budget, TooMuch
from colonnade.graph.gjson_values import MISSING, match_cost, matches, number

PEOPLE: dict[str, Any] = {
    "name": {"first": "Tom", "last": "Anderson"},
    "age": 37,
    "children": ["Sara", "Alex", "Jack"],
    "fav.movie": "Deer Hunter",
    "friends": [
        {"first": "Dale", "last": "Murphy", "age": 44, "nets": ["ig", "fb", "tw"]},
        {"first": "Roger", "last": "Craig", "age": 68, "nets": ["fb", "tw"]},
        {"first": "Jane", "last": "Murphy", "age": 47, "nets": ["ig", "tw"]},
    ],
}
ENOUGH = 1_000_000


def find(value: Any, path: str) -> Any:
    return gjson.find(value, path, Budget(ENOUGH))


def exists(value: Any, path: str) -> bool:
    return gjson.exists(value, path, Budget(ENOUGH))


DALE, ROGER, JANE = PEOPLE["friends"]

DOCUMENTED = [
    ("name.last", "Anderson"),
    ("name.first", "Tom"),
    ("age", 37),
    ("children", ["Sara", "Alex", "Jack"]),
    ("children.0", "Sara"),
    ("children.1", "Alex"),
    ("children.3", MISSING),
    ("friends.1.first", "Roger"),
    ("name.middle", MISSING),
    # patterns and escapes
    ("child*.2", "Jack"),
    ("c?ildren.0", "Sara"),
    ("fav\\.movie", "Deer Hunter"),
    ("fav.movie", MISSING),
    # arrays
    ("friends.#", 3),
    ("children.#", 3),
    ("name.#", MISSING),
    ("friends.#.age", [44, 68, 47]),
    ("friends.#.nope", []),
    # queries
    ('friends.#(last=="Murphy").first', "Dale"),
    ('friends.#(last=="Murphy")#.first', ["Dale", "Jane"]),
    ("friends.#(age>45)#.last", ["Craig", "Murphy"]),
    ('friends.#(first%"D*").last', "Murphy"),
    ('friends.#(first!%"D*").last', "Craig"),
    ('children.#(!%"*a*")', "Alex"),
    ('children.#(%"*a*")#', ["Sara", "Jack"]),
    ('friends.#(nets.#(=="fb"))#.first', ["Dale", "Roger"]),
    ('friends.#[last=="Murphy"].first', "Dale"),
    ("friends.#(age>100)", MISSING),
    ("friends.#(age>100)#", []),
    ("friends.#(age<=44).first", "Dale"),
    ("friends.#(age!=44).first", "Roger"),
    ("friends.#(first>=Jane).first", "Roger"),
    ("friends.#(nope)", MISSING),
    ("friends.#(nets)#.#", []),
    # dot and pipe
    ("friends|0.first", "Dale"),
    ("friends.0|first", "Dale"),
    ("friends|0|first", "Dale"),
    ("friends|#", 3),
    ('friends.#(last="Murphy")#', [DALE, JANE]),
    ('friends.#(last="Murphy")#.first', ["Dale", "Jane"]),
    ('friends.#(last="Murphy")#|first', MISSING),
    ('friends.#(last="Murphy")#.0', []),
    ('friends.#(last="Murphy")#|0', DALE),
    ('friends.#(last="Murphy")#.#', []),
    ('friends.#(last="Murphy")#|#', 2),
    # modifiers
    ("children.@reverse", ["Jack", "Alex", "Sara"]),
    ("children.@reverse.0", "Jack"),
    ("@this.age", 37),
    ("@this|age", 37),
    ("@valid.age", 37),
    ("@ugly.age", 37),
    ('@pretty:{"sortKeys":true}.age', 37),
    ("children.@join", {}),
    ("name.@keys", ["first", "last"]),
    ("name.@values", ["Tom", "Anderson"]),
    ("name.@tostr.@fromstr.first", "Tom"),
    ("@nosuch", MISSING),
    ("@dig:first", ["Tom", "Dale", "Roger", "Jane"]),
    # multipaths and literals
    ("[name.first,age]", ["Tom", 37]),
    (
        '{name.first,age,"the_murphys":friends.#(last="Murphy")#.first}',
        {"first": "Tom", "age": 37, "the_murphys": ["Dale", "Jane"]},
    ),
    ("{name.first,friends.#}", {"first": "Tom", "_": 3}),
    ("[name.nope,age].0", 37),
    ('[!"x",!2,!true]', ["x", 2, True]),
    # JSON lines: a body is one line
    ("..#", 1),
    ("..0.age", 37),
]


@pytest.mark.parametrize(("path", "found"), DOCUMENTED)
def test_documented_syntax(path: str, found: object) -> None:
    assert find(PEOPLE, path) == found


@pytest.mark.parametrize(
    ("document", "path", "there"),
    [
        ({"source": "client"}, "[@this].#(source==client)", True),  # the conditions of KServe's own sample
        ({"source": "server"}, "[@this].#(source==client)", False),
        ({"instances": [{"intval": 2}, {"intval": 12}]}, "instances.#(intval>10)", True),
        ({"instances": [{"intval": 10}]}, "instances.#(intval>10)", False),
        ({"instances": [{"strval": "a-red-server-1"}]}, "instances.#(strval%*red-server*)", True),
        ({"instances": [{"strval": "a-blue-server"}]}, "instances.#(strval%*red-server*)", False),
        ({"a": None}, "a", True),  # null is there
        ({"a": False}, "a", True),
        ({"a": None}, "a.b", False),
        ([1, 2], "1", True),
        ([1, 2], "2", False),
        ([1, 2], "-1", False),
        (5, "a", False),
        (None, "@this", True),
        ("x", "#", False),
        ({}, "", False),
        ({"": 1}, "", True),
        ({"#": 1}, "#", True),  # a key of an object
        ({"@this": 1}, "@this", True),
        ({"a|b": 1}, "a\\|b", True),
        ({"n": [True, False]}, "n.#(==true)", True),
        ({"n": [1, "t", [], None]}, "n.#(==~true)#|2", False),  # 1 and "t" are true, a list and null are not
        ({"n": [1, "t", [], None]}, "n.#(==~true)#|1", True),
        ({"n": [{"a": 1}, {}]}, "n.#(a==~false)", True),  # what is not there is false
        ({"n": ["10"]}, "n.#(>9)", False),  # text is compared as text
        ({"n": [10]}, "n.#(>9)", True),
        ({"n": [0]}, "n.#(==nonsense)", True),  # what is no number is 0
        ({"n": [1]}, "n.#(a.b", True),  # a query that does not end asks for nothing
        ({"n": [{"a": 1}]}, "n.#(a.b", False),
        ({"a": {"b": [1]}, "aa": {"b": [1, 2]}}, "a*.b.1", True),  # the next key that fits is tried
        ({"a": [{"b": [{"c": 1}]}]}, "a.#.b.#.c|0|0", True),
        ([[1], [2, 3]], "@flatten|#", True),
        ([[1], [2, [3]]], '@flatten:{"deep":true}|2', True),
        ([[1], [2, [3]]], "@flatten|3", False),
        ({"x": [1, 2], "y": [3, 4]}, "@group.1.y", True),
        ({"x": [1, 2]}, "@group.2", False),
        ([{"a": 1}, {"b": 2}], "@join.b", True),
        ({"s": '{"id":7}'}, "s.@fromstr.id", True),
        ({"s": "no json"}, "s.@fromstr", False),
    ],
)
def test_existence(document: Any, path: str, there: bool) -> None:
    assert exists(document, path) is there


@pytest.mark.parametrize(
    ("text", "pattern", "fits"),
    [
        ("", "", True),
        ("", "*", True),
        ("", "?", False),
        ("abc", "a*c", True),
        ("abc", "a?c", True),
        ("abc", "a*b", False),
        ("ab*", "ab\\*", True),
        ("abc", "ab\\*", False),
        ("äöü", "ä?ü", True),
        ("aab", "*ab", True),
        ("ababac", "*ab*ac", True),
        ("a\\", "a\\\\", True),
    ],
)
def test_patterns(text: str, pattern: str, fits: bool) -> None:
    assert matches(text, pattern) is fits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10.0),
        ("-1.5e3", -1500.0),
        (".5", 0.5),
        ("1_000", 0.0),
        ("", 0.0),
        ("x", 0.0),
        (" 1", 0.0),
        ("Inf", float("inf")),
    ],
)
def test_numbers(text: str, value: float) -> None:
    assert number(text) == value


def test_an_integer_of_any_size_is_compared() -> None:
    assert exists([10**400], "#(>5)")
    assert not exists([-(10**400)], "#(>5)")


@pytest.mark.parametrize(
    "path",
    [
        "a" * (MAX_PATH + 1),
        "@this|" * 600 + "a",
        "#(" * 1000 + ")" * 1000,
    ],
)
def test_work_is_bounded(path: str) -> None:
    assert find({"a": {"b": [[1]] * 50}}, path) is MISSING


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ([[1]] * 1000, "#.0"),
        ([1] * 1000, "#(==2)#"),
        ([{"a": 1}] * 400, "#(a==2)"),
        ({"a": [{"b": [1] * 10}] * 100}, "@dig:x"),
        ({str(at): at for at in range(1000)}, "x*"),
        ({"a": "b" * 1000}, "@values.#(%*c)"),
        ([[1] * 1000], "@reverse"),
        ([[1]] * 50, "|".join(["[@this,@this]"] * 60) + '|@flatten:{"deep":true}'),  # doubles 60 times
    ],
)
def test_what_is_looked_at_is_paid_for(document: Any, path: str) -> None:
    with pytest.raises(TooMuch):
        gjson.find(document, path, Budget(500))


@pytest.mark.parametrize(
    ("document", "path", "cost"),
    [
        ({"a": {"b": [1] * 1000}}, "a.b.999", 1),
        ({"a": [1] * 1000}, "a.#", 1),
        ([1] * 20, "#(==2)", 21),
        ([{"a": 1}] * 20, "#(a==2)", 41),
        (["abc"] * 20, "#(%abd)", 81),
    ],
)
def test_prices(document: Any, path: str, cost: int) -> None:
    budget = Budget(1000)
    gjson.find(document, path, budget)
    assert 1000 - budget.left == cost


@pytest.mark.parametrize(
    ("pattern", "cost"), [("abc", 3), ("a" * 5000, 1000), ("*", 1000), ("*ab*", 3000), ("*a" * 50 + "*b", 2000)]
)
def test_a_match_costs_the_steps_that_it_may_take(pattern: str, cost: int) -> None:
    assert match_cost("a" * 1000, pattern) == cost
    assert matches("a" * 1000, pattern) is (pattern == "*")


def test_what_is_too_deep_to_be_written_has_no_text() -> None:
    deep: Any = 0
    for _ in range(300):
        deep = [deep]
    assert find(deep, "@tostr") is MISSING


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "a.b", "#", "@this"]), inner)
    ),
    max_leaves=12,
)
_paths = st.text(alphabet=st.sampled_from(list('ab01.#()[]{}|@*?\\"=!<>%~,: this')), max_size=30) | st.text(max_size=20)


@settings(max_examples=300, deadline=None)
@given(_json, _paths)
def test_every_text_is_a_path(document: Any, path: str) -> None:
    found = find(document, path)
    assert found is MISSING or json.dumps(found, ensure_ascii=False) is not None


@settings(max_examples=200, deadline=None)
@given(_json)
def test_this_is_the_document(document: Any) -> None:
    assert find(document, "@this") == document
    assert find(document, "[@this].0") == document
    assert find([document], "0") == document


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4))
def test_an_escaped_key_is_found(document: dict[str, int]) -> None:
    for key, value in document.items():
        assert find({"top": document}, "top." + "".join(f"\\{letter}" for letter in key)) == value
