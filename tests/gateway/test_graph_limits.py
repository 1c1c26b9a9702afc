"""Graphs whose steps fail, take too long, or want too much."""

from __future__ import annotations

import asyncio
import json

import pytest

from colonnade import defaults
from colonnade.gateway.guard import Policy
from colonnade.graph.plan import Step
from colonnade.net import Exchange

from .conftest import Running, Serve, Start, until
from .graph_setup import BODY, GRAPH, Silent, ask, ensemble, graph, saying, sequence, service


async def test_a_step_whose_service_is_dead(running: Running, serve: Serve) -> None:
    dead = service("dead", "unix:/nowhere/at/all")
    running.route(dead, service("a", await serve(saying("a"))), graph(sequence(ask("dead"), ask("a"))))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    told = json.loads(answer.body)
    assert (answer.status, told["error"]) == (500, "Failed to process request")
    assert told["cause"].startswith("step root/0: No replica of service default/dead could be reached.")


async def test_a_step_whose_service_is_not_ready_has_its_answer(running: Running, serve: Serve) -> None:
    waiting = service("a", ready=False, reason="its replicas are starting")
    running.route(waiting, service("b", await serve(saying("b"))), graph(ensemble(ask("a"), ask("b", name="b"))))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    told = json.loads(answer.body)
    assert (answer.status, told["b"]["by"]) == (200, "b")
    assert told["0"] == {"error": "Service default/a is not ready: its replicas are starting"}


@pytest.mark.parametrize("name", ["nope", "a/v1", "../default/a", "a?x", "ä"])
async def test_a_step_whose_service_does_not_exist(running: Running, serve: Serve, name: str) -> None:
    running.route(service("a", await serve(saying("a"))), graph(sequence(Step(service=name))))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    cause = f"step root/0: InferenceService default/{name} does not exist"
    assert (answer.status, json.loads(answer.body)["cause"]) == (500, cause)


async def test_a_soft_step_may_take_too_long(running: Running, serve: Serve) -> None:
    silent = Silent()
    plan = sequence(ask("slow", timeout=0.05), ask("b"))
    running.route(service("slow", await serve(silent)), service("b", await serve(saying("b"))), graph(plan))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert (answer.status, json.loads(answer.body)["by"]) == (200, "b")
    await until(lambda: silent.left == 1)


@pytest.mark.parametrize("hard", [False, True])
async def test_a_last_step_that_takes_too_long_is_504(running: Running, serve: Serve, hard: bool) -> None:
    running.route(service("slow", await serve(Silent())), graph(sequence(ask("slow", timeout=0.05, hard=hard))))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert (answer.status, "0.05 s" in json.loads(answer.body)["error"]) == (504, True)


async def test_the_limit_for_each_call_is_no_answer(running: Running, serve: Serve) -> None:
    plan = sequence(ask("slow", timeout=5.0), ask("slow"), service_timeout=0.05)
    running.route(service("slow", await serve(Silent())), graph(plan))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert (answer.status, json.loads(answer.body)["error"]) == (500, "Failed to process request")


async def test_the_graphs_limit_is_over_all_steps(running: Running, serve: Serve) -> None:
    silent = Silent()
    running.route(service("slow", await serve(silent)), graph(sequence(ask("slow"), ask("slow")), timeout=0.1))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert answer.status == 504
    await until(lambda: silent.left == len(silent.exchanges) == 1)


async def test_what_is_left_of_the_time_is_told_to_the_steps(running: Running, serve: Serve) -> None:
    running.route(service("a", await serve(saying("a"))), graph(sequence(ask("a")), timeout=30.0))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH, x_envoy_upstream_rq_timeout_ms="2000")
    left = int(json.loads(answer.body)["headers"]["x-envoy-expected-rq-timeout-ms"])
    assert 1000 < left <= 2000


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_step_is_tried_again(running: Running, serve: Serve, status: int) -> None:
    asked: list[int] = []

    def flaky(exchange: Exchange) -> None:
        asked.append(1)
        exchange.reply(200 if len(asked) > 2 else status, b'{"n":%d}' % len(asked))

    running.route(service("a", await serve(flaky)), graph(sequence(ask("a", retries=2))))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert (answer.status, answer.body) == (200, b'{"n":3}')


@pytest.mark.parametrize(
    ("status", "retries", "attempts"), [(503, 1, 2), (503, 0, 1), (500, 3, 1), (429, 3, 1), (404, 3, 1)]
)
async def test_how_often_a_step_is_tried(
    running: Running, serve: Serve, status: int, retries: int, attempts: int
) -> None:
    asked: list[int] = []

    def app(exchange: Exchange) -> None:
        asked.append(1)
        exchange.reply(status, b"{}")

    running.route(service("a", await serve(app)), graph(sequence(ask("a", retries=retries))))
    assert (await running.fetch("POST", "/", BODY, host=GRAPH)).status == status
    assert len(asked) == attempts


async def test_retries_are_within_the_budget_of_the_service(running: Running, serve: Serve) -> None:
    asked: list[int] = []

    def app(exchange: Exchange) -> None:
        asked.append(1)
        exchange.reply(503, b"{}")

    policy = Policy(retry_percent=0, breaker_after=0, eject_after=0)
    running.route(service("a", await serve(app), policy=policy), graph(sequence(ask("a", retries=5))))
    assert (await running.fetch("POST", "/", BODY, host=GRAPH)).status == 503
    assert len(asked) == 1


async def test_graphs_that_ask_each_other_come_to_an_end(running: Running) -> None:
    one = graph(sequence(Step(url=f"http://{GRAPH}/")))
    running.route(one)
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert (answer.status, str(defaults.GRAPH_MAX_HOPS) in json.loads(answer.body)["error"]) == (508, True)
    await until(lambda: running.gateway._proxy.in_flight == 0)


async def test_what_the_answers_may_take_is_bounded(
    running: Running, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "GRAPH_KEPT_BYTES", 1000)

    def large(exchange: Exchange) -> None:
        exchange.reply(200, b'{"x":"%b"}' % (b"x" * 600))

    running.route(service("a", await serve(large)), graph(ensemble(ask("a"), ask("a"))))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert (answer.status, "larger than 1000 bytes" in json.loads(answer.body)["cause"]) == (500, True)


async def test_the_guard_of_a_steps_service_holds(start: Start, serve: Serve) -> None:
    silent = Silent()
    running = await start(max_in_flight=8, grace=0.3)
    running.route(service("a", await serve(silent)), graph(sequence(ask("a"))))
    asking = [asyncio.ensure_future(running.fetch("POST", "/", BODY, host=GRAPH)) for _ in range(20)]
    done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert {one.result().status for one in done} <= {503, 500}
    for one in asking:
        one.cancel()
    await until(lambda: running.gateway._proxy.in_flight == 0)
