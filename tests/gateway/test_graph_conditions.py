"""Conditions on large bodies: tested beside the gateway, bounded, and gone with whoever asked."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from colonnade import defaults
from colonnade.gateway.graph_conditions import Conditions
from colonnade.graph.conditions import TOO_LARGE, TOO_MUCH, Choice
from colonnade.graph.gjson import Budget
from colonnade.graph.outcome import Failure
from colonnade.graph.plan import Node, Plan, Step

from .conftest import Running, Serve, until
from .graph_setup import GRAPH, ask, graph, saying, sequence, service

LARGE = json.dumps({"instances": [[1, 2, 3, 4]] * 30_000, "last": list(range(10_000))}).encode()
SLOW = "@dig:x"  # looks at everything


async def found(conditions: Conditions, body: bytes, *paths: str, values: int = 1_000_000) -> Choice | Failure:
    future: asyncio.Future[Choice | Failure] = asyncio.get_running_loop().create_future()
    conditions.test(body, paths, Budget(values), future.set_result)
    async with asyncio.timeout(20):
        return await future


@pytest.fixture
async def conditions() -> AsyncIterator[Conditions]:
    made = Conditions()
    yield made
    made.close()


@pytest.mark.parametrize(
    ("body", "paths", "result"),
    [
        (LARGE, ("nope", "last.9999", "instances"), Choice(1)),
        (LARGE, ("nope",), Choice(None)),
        (LARGE, ("instances.#(x==1)",), TOO_MUCH),
        (b"{", ("a",), Choice(None, valid=False)),
        (b"", (), Choice(None, valid=False)),
        (b"\xff" * 100_000, ("@this",), Choice(None, valid=False)),
        (b"[" * 100_000, ("@this",), Choice(None, valid=False)),
        ('{"ä":1}'.encode(), ("ö", "ä"), Choice(1)),
    ],
)
async def test_what_comes_of_a_test(
    conditions: Conditions, body: bytes, paths: Sequence[str], result: Choice | Failure
) -> None:
    assert await found(conditions, body, *paths, values=20_000) == result


async def test_tests_of_a_request_are_paid_from_one_budget(conditions: Conditions) -> None:
    budget = Budget(25_000)
    heard: list[Choice | Failure] = []
    for _ in range(3):
        conditions.test(LARGE, ("last.#(>-1)#",), budget, heard.append)
    await until(lambda: len(heard) == 3)
    assert heard == [Choice(0), Choice(0), TOO_MUCH]


async def test_bodies_have_a_limit_and_so_have_those_that_wait(
    conditions: Conditions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "GRAPH_CONDITION_BYTES", len(LARGE))
    monkeypatch.setattr(defaults, "GRAPH_CONDITION_WAITING", 2 * len(LARGE))
    assert await found(conditions, LARGE + b" ", "a") == TOO_LARGE
    *first, last = await asyncio.gather(*(found(conditions, LARGE, "last") for _ in range(3)))
    assert first == [Choice(0)] * 2
    assert isinstance(last, Failure)
    assert last.status == 503
    assert await found(conditions, LARGE, "last") == Choice(0)


async def test_a_process_that_dies_is_replaced(conditions: Conditions) -> None:
    assert await found(conditions, LARGE, "last") == Choice(0)
    for _ in range(2):  # between two questions, and in the middle of one
        (pid,) = children()
        asking = asyncio.ensure_future(found(conditions, LARGE, SLOW))
        os.kill(pid, signal.SIGKILL)
        assert await asking == Choice(0)
        assert children() != [pid]


async def test_a_process_that_answers_nothing_is_ended(conditions: Conditions, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await found(conditions, LARGE, "last") == Choice(0)
    (pid,) = children()
    monkeypatch.setattr(defaults, "GRAPH_CONDITION_TIME", 0.2)
    os.kill(pid, signal.SIGSTOP)
    failed = await found(conditions, LARGE, "last")
    assert isinstance(failed, Failure)
    assert failed.status == 500
    monkeypatch.setattr(defaults, "GRAPH_CONDITION_TIME", 10.0)
    assert await found(conditions, LARGE, "last") == Choice(0)
    assert children() != [pid]


async def test_who_leaves_is_not_told_and_holds_nobody_up(conditions: Conditions) -> None:
    heard: list[Choice | Failure] = []
    leaves = [conditions.test(LARGE, (SLOW,), Budget(1_000_000), heard.append) for _ in range(50)]
    for leave in leaves:
        leave()
    assert await found(conditions, LARGE, "last") == Choice(0)
    assert heard == []


async def test_the_process_ends_with_its_questions(conditions: Conditions) -> None:
    assert await found(conditions, LARGE, "last") == Choice(0)
    (pid,) = children()
    conditions.close()
    await until(lambda: pid not in children())


async def test_a_large_body_holds_up_nobody_else(running: Running, serve: Serve) -> None:
    """Others are answered while a test runs that takes long: many times in the middle of it."""
    plan = Plan({"root": Node("Switch", (ask("a", condition=SLOW + "|0"), ask("a")))})
    running.route(service("a", await serve(saying("a"))), graph(plan))
    body = json.dumps({"a": list(range(300_000))}).encode()
    asking = asyncio.ensure_future(running.fetch("POST", "/", body, host=GRAPH))
    answers = 0
    while not asking.done():
        answer = await running.fetch("POST", "/v1/models/a:predict", b"{}", host="a-default.example.com")
        assert answer.status == 200
        answers += 1
    answer = await asking
    assert (answer.status, "None of the routes" in json.loads(answer.body)["cause"]) == (404, True)
    assert answers > 20


async def test_a_sequence_goes_on_after_a_test_of_a_large_answer(running: Running, serve: Serve) -> None:
    steps: list[Step] = [ask("a"), ask("b", condition="body.#", takes_response=False), ask("b", condition="by")]
    running.route(
        service("a", await serve(saying("a"))), service("b", await serve(saying("b"))), graph(sequence(*steps))
    )
    large = b'{"x":"%b"}' % (b"y" * defaults.GRAPH_QUICK_BYTES)
    answer = await running.fetch("POST", "/", large, host=GRAPH)
    assert (answer.status, json.loads(answer.body)["by"]) == (200, "a")  # a string has no length
    small = await running.fetch("POST", "/", b"{}", host=GRAPH)
    assert (small.status, json.loads(small.body)["by"]) == (200, "a")


async def test_a_caller_who_leaves_ends_the_request(running: Running, serve: Serve) -> None:
    running.route(service("a", await serve(saying("a"))), graph(sequence(ask("a"), ask("a", condition="@dig:x|0"))))
    body = json.dumps({"a": list(range(200_000))}).encode()
    asking = asyncio.ensure_future(running.fetch("POST", "/", body, host=GRAPH))
    conditions = running.gateway._proxy.graphs.conditions
    await until(lambda: conditions._task is not None)
    asking.cancel()
    await until(lambda: running.gateway._proxy.in_flight == 0)


def children() -> list[int]:
    """The processes that this one has started in which conditions are tested."""
    folder = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    pids = [int(pid) for pid in folder.read_text().split()]
    return [pid for pid in pids if b"graph_condition_worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]
