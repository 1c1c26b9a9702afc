"""KServe's table of what a graph answers, row by row, and what holds while answers are still to come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade import defaults
from colonnade.graph.conditions import TOO_MUCH
from colonnade.graph.execution import INVALID_RESPONSE, NO_MATCH
from colonnade.graph.outcome import Answer, Failure
from colonnade.graph.plan import Node, Plan, Step

from .stage import Question, Reply, Stage, ensemble, graph, run, sequence, splitter, step, switch, told

INPUT = {"instances": [1, 2]}
REFUSED = "connection refused"


def error(cause: str) -> dict[str, str]:
    return {"error": "Failed to process request", "cause": cause}


GOOD, OTHER, BAD = {"predictions": [1]}, {"predictions": [2]}, {"error": "bad"}

ROWS: list[tuple[str, Plan, dict[str, Reply], int, Any, list[str]]] = [
    # what, graph, answers, status, body, services asked
    (
        "sequence: the last body and status",
        graph(sequence(step("a"), step("b"))),
        {"a": (200, GOOD), "b": (201, OTHER)},
        201,
        OTHER,
        ["a", "b"],
    ),
    (
        "sequence: a soft failure goes on",
        graph(sequence(step("a"), step("b"))),
        {"a": (500, BAD), "b": (200, OTHER)},
        200,
        OTHER,
        ["a", "b"],
    ),
    (
        "sequence: a soft failure at the end is told",
        graph(sequence(step("a"), step("b"))),
        {"a": (200, GOOD), "b": (404, BAD)},
        404,
        BAD,
        ["a", "b"],
    ),
    (
        "sequence: a hard failure stops",
        graph(sequence(step("a", hard=True), step("b"))),
        {"a": (404, BAD), "b": (200, OTHER)},
        404,
        BAD,
        ["a"],
    ),
    (
        "sequence: a hard success goes on",
        graph(sequence(step("a", hard=True), step("b"))),
        {"a": (299, GOOD), "b": (200, OTHER)},
        200,
        OTHER,
        ["a", "b"],
    ),
    (
        "sequence: no answer is an error even for a soft step",
        graph(sequence(step("a"), step("b"))),
        {"a": REFUSED, "b": (200, OTHER)},
        500,
        error(REFUSED),
        ["a"],
    ),
    (
        "sequence: the answer need not be JSON",
        graph(sequence(step("a"))),
        {"a": (200, b"plain text")},
        200,
        b"plain text",
        ["a"],
    ),
    (
        "sequence: a condition that holds for the answer before",
        graph(sequence(step("a"), step("b", condition="predictions.#(==1)"))),
        {"a": (200, GOOD), "b": (200, OTHER)},
        200,
        OTHER,
        ["a", "b"],
    ),
    (
        "sequence: a condition that does not hold stops with the answer before, and 200",
        graph(sequence(step("a"), step("b", condition="predictions.#(==7)"))),
        {"a": (404, GOOD), "b": (200, OTHER)},
        200,
        GOOD,
        ["a"],
    ),
    (
        "sequence: a condition on what is no JSON",
        graph(sequence(step("a"), step("b", condition="x"))),
        {"a": (200, b"plain text")},
        500,
        error(INVALID_RESPONSE),
        ["a"],
    ),
    (
        "sequence: a condition on the first step has no answer to hold for",
        graph(sequence(step("a", condition="instances"))),
        {},
        500,
        error(INVALID_RESPONSE),
        [],
    ),
    (
        "switch: the first condition that holds",
        graph(switch(step("a", condition="nope"), step("b", condition="instances"), step("c", condition="@this"))),
        {"b": (200, OTHER)},
        200,
        OTHER,
        ["b"],
    ),
    (
        "switch: its step's failure is told",
        graph(switch(step("a", condition="instances", hard=True))),
        {"a": (503, BAD)},
        503,
        BAD,
        ["a"],
    ),
    ("switch: no condition holds", graph(switch(step("a", condition="nope"))), {}, 404, error(NO_MATCH), []),
    (
        "switch: no answer",
        graph(switch(step("a", condition="instances"))),
        {"a": REFUSED},
        500,
        error(REFUSED),
        ["a"],
    ),
    (
        "switch: in another node, no condition holds",
        graph(sequence(step(node="inner")), inner=switch(step("a", condition="nope"))),
        {},
        500,
        error(NO_MATCH),
        [],
    ),
    (
        "ensemble: all answers by name or place",
        graph(ensemble(step("a", name="one"), step("b"))),
        {"a": (200, GOOD), "b": (200, OTHER)},
        200,
        {"one": GOOD, "1": OTHER},
        ["a", "b"],
    ),
    (
        "ensemble: a soft failure's body is among them",
        graph(ensemble(step("a"), step("b"))),
        {"a": (500, BAD), "b": (200, OTHER)},
        200,
        {"0": BAD, "1": OTHER},
        ["a", "b"],
    ),
    (
        "ensemble: a hard failure's body and status",
        graph(ensemble(step("a"), step("b", hard=True), step("c", hard=True))),
        {"a": (200, GOOD), "b": (404, BAD), "c": (500, OTHER)},
        404,
        BAD,
        ["a", "b"],  # both have answered when the third would be asked
    ),
    (
        "ensemble: no answer is an error even for a soft step",
        graph(ensemble(step("a"), step("b"))),
        {"a": REFUSED, "b": (200, OTHER)},
        500,
        error(REFUSED),
        ["a"],
    ),
    (
        "ensemble: a body that is no JSON object is an error even for a soft step",
        graph(ensemble(step("a", name="one"), step("b"))),
        {"a": (200, [1]), "b": (200, OTHER)},
        500,
        error("the answer of step root/one is not a JSON object, which an Ensemble needs"),
        ["a"],
    ),
    (
        "ensemble: a body that is no JSON at all",
        graph(ensemble(step("a"))),
        {"a": (200, b"")},
        500,
        error("the answer of step root/0 is not a JSON object, which an Ensemble needs"),
        ["a"],
    ),
    ("ensemble: null is taken", graph(ensemble(step("a"))), {"a": (200, None)}, 200, {"0": None}, ["a"]),
    (
        "nested: an ensemble in a sequence, its map for the next step",
        graph(
            sequence(step(node="both"), step("c", takes_response=True)), both=ensemble(step("a"), step("b", name="x"))
        ),
        {"a": (200, GOOD), "b": (200, OTHER), "c": (200, {"ok": True})},
        200,
        {"ok": True},
        ["a", "b", "c"],
    ),
    (
        "nested: a hard failure inside is a failure of its node",
        graph(sequence(step(node="inner", hard=True), step("c")), inner=sequence(step("a", hard=True), step("b"))),
        {"a": (404, BAD)},
        404,
        BAD,
        ["a"],
    ),
    (
        "nested: a soft failure inside",
        graph(sequence(step(node="inner"), step("c")), inner=sequence(step("a", hard=True))),
        {"a": (404, BAD), "c": (200, GOOD)},
        200,
        GOOD,
        ["a", "c"],
    ),
    (
        "url: a step that asks a URL",
        graph(sequence(Step(url="http://x/y"))),
        {"http://x/y": (200, GOOD)},
        200,
        GOOD,
        ["http://x/y"],
    ),
]


@pytest.mark.parametrize(("what", "plan", "replies", "status", "body", "asked"), ROWS, ids=[row[0] for row in ROWS])
def test_table(what: str, plan: Plan, replies: dict[str, Reply], status: int, body: object, asked: list[str]) -> None:
    stage = Stage(replies)
    _, result = run(plan, stage, INPUT)
    assert told(result()) == (status, body)
    assert stage.names == asked


@pytest.mark.parametrize(("what", "plan", "replies", "status", "body", "asked"), ROWS, ids=[row[0] for row in ROWS])
def test_the_table_is_the_same_for_bodies_that_are_tested_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    plan: Plan,
    replies: dict[str, Reply],
    status: int,
    body: object,
    asked: list[str],
) -> None:
    monkeypatch.setattr(defaults, "GRAPH_QUICK_BYTES", -1)
    stage = Stage(replies)
    _, result = run(plan, stage, INPUT)
    stage.answer_tests()
    assert told(result()) == (status, body)
    assert stage.names == asked


LARGE = {"instances": [1] * 40_000}
MANY = {"instances": [{"a": 1}] * 400}


@pytest.mark.parametrize(
    ("body", "condition", "elsewhere"),
    [
        (INPUT, "instances.#(>1)", False),
        (INPUT, "nope", False),
        (LARGE, "instances", True),  # many bytes
        (MANY, "instances.0.a", False),
        (MANY, "instances.#(a==1)", False),
        (MANY, "instances.#(a>1)", True),  # many values
    ],
)
@pytest.mark.parametrize("kind", [switch, sequence])
def test_what_takes_long_is_tested_elsewhere(
    kind: Callable[..., Node], body: Any, condition: str, elsewhere: bool
) -> None:
    stage = Stage({"a": (200, body), "b": (200, GOOD)})
    last = step("b", condition=condition)
    _, result = run(graph(kind(last) if kind is switch else kind(step("a"), last)), stage, body)
    assert bool(stage.tests) is elsewhere
    stage.answer_tests()
    assert result().status in (200, 404)
    assert ("b" in stage.names) is (condition not in ("nope", "instances.#(a>1)"))


def test_all_conditions_of_a_request_share_what_they_may_look_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, "GRAPH_CONDITION_VALUES", 2000)
    nodes = {"root": ensemble(*[step(node="inner")] * 3), "inner": switch(step("a", condition="instances.#(a>1)#"))}
    stage = Stage({"a": (200, GOOD)})
    _, result = run(Plan(nodes), stage, MANY)
    assert len(stage.tests) == 3
    stage.answer_tests()
    assert result() == TOO_MUCH._replace(status=500)


@pytest.mark.parametrize(("wide", "elsewhere"), [(400, 8), (40, 2), (10, 0)])
def test_a_request_has_one_quick_budget(wide: int, elsewhere: int) -> None:
    body = {"instances": [{"a": 1}] * wide}
    nodes = {"root": ensemble(*[step(node="inner")] * 8), "inner": switch(step("a", condition="instances.#(a>1)#"))}
    stage = Stage({"a": (200, GOOD)})
    run(Plan(nodes), stage, body)
    assert len(stage.tests) == elsewhere


def test_a_request_that_is_given_up_leaves_its_test() -> None:
    for plan in (graph(switch(step("a", condition="instances"))), graph(sequence(step("a"), step("b", condition="x")))):
        stage = Stage({"a": (200, LARGE)})
        started, result = run(plan, stage, LARGE)
        assert [test.cancelled for test in stage.tests] == [False]
        started.cancel()
        assert [test.cancelled for test in stage.tests] == [True]
        with pytest.raises(ValueError, match="not enough values"):
            result()


@pytest.mark.parametrize("index", [0, 1])
def test_a_splitter_asks_the_step_it_is_told(index: int) -> None:
    stage = Stage({"a": (200, GOOD), "b": (418, BAD)}, shares=[index])
    _, result = run(graph(splitter(step("a", weight=20), step("b", weight=80))), stage, INPUT)
    assert told(result()) == ((200, GOOD), (418, BAD))[index]
    assert stage.names == ["ab"[index]]


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [(False, False, False), (True, True, True)],
    ids=["request", "response"],
)
def test_what_a_step_is_asked_with(first: bool, second: bool, third: bool) -> None:
    stage = Stage({"a": (200, GOOD), "b": (200, OTHER), "c": (200, {})})
    steps = [step(name, takes_response=takes) for name, takes in zip("abc", (first, second, third), strict=True)]
    run(graph(sequence(*steps)), stage, INPUT)
    bodies = [asked.body for asked in stage.asked]
    given_body = b'{"instances": [1, 2]}'
    expected = [given_body, b'{"predictions": [1]}', b'{"predictions": [2]}'] if first else [given_body] * 3
    assert bodies == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"predictions": [1, 2.50]}', b'{"instances":[1, 2.50]}'),  # digit for digit
        (b'{"predictions": [], "instances": [3]}', b'{"predictions": [], "instances": [3]}'),
        (b'{"predictions": 5}', b'{"predictions": 5}'),
        (b'{"predictions": null}', b'{"predictions": null}'),
        (b'{"outputs": []}', b'{"outputs": []}'),
        (b"[1]", b"[1]"),
        (b"no json", b"no json"),
        (b"[" * 5000, b"[" * 5000),
    ],
)
def test_predictions_become_instances(before: bytes, after: bytes) -> None:
    stage = Stage({"a": (200, before), "b": (200, {})})
    run(graph(sequence(step("a"), step("b", takes_response=True, maps_predictions=True))), stage, INPUT)
    assert stage.of("b").body == after


def test_an_ensemble_rounds_no_number() -> None:
    stage = Stage({"a": (200, b' {"id": 12345678901234567890, "x": 1.0} '), "b": (200, {})})
    _, result = run(graph(ensemble(step("a", name='quo"te'), step("b"))), stage, INPUT)
    outcome = result()
    assert isinstance(outcome, Answer)
    assert outcome.body == b'{"quo\\"te":{"id": 12345678901234567890, "x": 1.0},"1":{}}'


def test_an_ensemble_asks_all_at_once_and_keeps_the_order_of_its_list() -> None:
    stage = Stage()
    _, result = run(graph(ensemble(step("a"), step("b"), step("c"))), stage, INPUT)
    assert stage.names == ["a", "b", "c"]
    for name in "cab":
        stage.of(name).answer((200, {"is": name}))
    assert told(result()) == (200, {"0": {"is": "a"}, "1": {"is": "b"}, "2": {"is": "c"}})


def test_the_first_hard_failure_of_the_list_decides_whichever_comes_first() -> None:
    stage = Stage()
    _, result = run(graph(ensemble(step("a"), step("b", hard=True), step("c", hard=True))), stage, INPUT)
    stage.of("c").answer((500, {"from": "c"}))
    stage.of("b").answer((404, {"from": "b"}))
    stage.of("a").answer((200, GOOD))
    assert told(result()) == (404, {"from": "b"})


def test_what_is_still_under_way_is_cancelled_when_an_ensemble_is_decided() -> None:
    stage = Stage()
    _, result = run(graph(ensemble(step("a", hard=True), step("b"), step("c"))), stage, INPUT)
    stage.of("b").answer((200, GOOD))
    stage.of("a").answer((404, BAD))
    assert told(result()) == (404, BAD)
    assert [asked.cancelled for asked in stage.asked] == [False, False, True]
    stage.of("c").answer((200, GOOD))  # too late, and harmless
    assert told(result()) == (404, BAD)


def test_cancelling_reaches_every_step_under_way_and_nothing_is_told() -> None:
    stage = Stage({"first": (200, GOOD)})
    plan = graph(
        sequence(step("first"), step(node="both"), step("never")),
        both=ensemble(step("a"), step(node="deep")),
        deep=sequence(step("b"), step("c")),
    )
    started, result = run(plan, stage, INPUT)
    assert stage.names == ["first", "a", "b"]
    started.cancel()
    assert [asked.cancelled for asked in stage.asked] == [False, True, True]
    for asked in stage.asked[1:]:
        asked.answer((200, GOOD))
    assert stage.names == ["first", "a", "b"]
    with pytest.raises(ValueError, match="not enough values"):
        result()


@pytest.mark.parametrize(
    ("plan", "last"),
    [
        (graph(sequence(step("a"), step("b"))), {"a": False, "b": True}),
        (graph(switch(step("a", condition="instances"))), {"a": True}),
        (graph(ensemble(step("a"), step("b"))), {"a": False, "b": False}),
        (
            graph(sequence(step("a"), step(node="n")), n=sequence(step("b"), step("c"))),
            {"a": False, "b": False, "c": True},
        ),
        (graph(ensemble(step(node="n")), n=sequence(step("a"))), {"a": False}),
        (
            graph(sequence(step(node="n"), step("b")), n=switch(step("a", condition="instances"))),
            {"a": False, "b": True},
        ),
    ],
)
def test_which_answers_may_be_passed_on_as_they_come(plan: Plan, last: dict[str, bool]) -> None:
    stage = Stage(dict.fromkeys("abc", (200, GOOD)))
    run(plan, stage, INPUT)
    assert {asked.service: asked.last for asked in stage.asked} == last


def test_a_long_sequence_of_prompt_answers_needs_no_stack() -> None:
    stage = Stage({"a": (200, GOOD)})
    _, result = run(graph(sequence(*[step("a")] * 5000)), stage, INPUT)
    assert told(result()) == (200, GOOD)


_steps = st.builds(
    Step,
    service=st.sampled_from(["good", "bad", "text", "dead", "later"]),
    takes_response=st.booleans(),
    hard=st.booleans(),
    maps_predictions=st.booleans(),
    condition=st.sampled_from(["", "instances", "predictions", "@this", "nope"]),
)
_nested = st.builds(Step, node=st.just("inner"), hard=st.booleans(), takes_response=st.booleans())
_node = st.builds(
    Node,
    st.sampled_from(["Sequence", "Ensemble", "Switch", "Splitter"]),
    st.lists(_steps | _nested, min_size=1, max_size=4).map(tuple),
)
_inner = st.builds(
    Node,
    st.sampled_from(["Sequence", "Ensemble", "Switch", "Splitter"]),
    st.lists(_steps, min_size=1, max_size=4).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(_node, _inner, st.binary(max_size=10) | st.just(b'{"instances":[1]}'), st.randoms(use_true_random=False))
def test_every_graph_ends_once_whatever_its_steps_do(root: Node, inner: Node, body: bytes, random: Any) -> None:
    replies: dict[str, Reply] = {"good": (200, GOOD), "bad": (500, BAD), "text": (200, b"x"), "dead": REFUSED}
    stage = Stage(replies, shares=[0] * 50)
    with pytest.MonkeyPatch.context() as patch:
        if random.random() < 0.5:
            patch.setattr(defaults, "GRAPH_QUICK_BYTES", -1)
        _, result = run(Plan({"root": root, "inner": inner}), stage, body)
        while waiting := [asked for asked in stage.waiting if isinstance(asked, Question) or asked.service == "later"]:
            asked = random.choice(waiting)
            asked.cancelled = True
            if isinstance(asked, Question):
                asked.answer()
            else:
                asked.answer(random.choice(list(replies.values())))
    outcome = result()
    assert isinstance(outcome, Answer | Failure)
    assert 200 <= outcome.status <= 599
