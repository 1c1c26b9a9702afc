"""Shadow traffic over real sockets: copies, comparisons, and callers who notice nothing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from colonnade import defaults
from colonnade.gateway.breaker import State
from colonnade.gateway.routes import Hold, Shadow
from colonnade.net import App, Exchange

from .conftest import Running, Serve, iris, until
from .test_revisions import target

PREDICT = "/v1/models/iris:predict"


def predicting(value: Any, seen: list[dict[bytes, bytes]] | None = None) -> App:
    def app(exchange: Exchange) -> None:
        def done(body: bytes) -> None:
            if seen is not None:
                seen.append({**exchange.headers, b"target": exchange.target, b"body": bytes(body)})
            exchange.reply(200, json.dumps({"predictions": value}).encode())

        exchange.collect(done)

    return app


def shadowed(stable: str, shadow: str, percent: float = 100.0, **changes: Any) -> Any:
    targets = target("one", 100, stable), target("two", 0, shadow)
    return iris(targets=targets, shadow=Shadow("two", percent), **changes)


def outcomes(running: Running) -> dict[str, int]:
    (service,) = running.gateway.fleet.services
    return service.revisions["two"].counts.shadow()


async def test_a_share_of_the_requests_is_copied_and_the_answers_are_compared(running: Running, serve: Serve) -> None:
    copies: list[dict[bytes, bytes]] = []
    running.route(
        shadowed(await serve(predicting([1.0])), await serve(predicting([1.00000001], copies)), 25, timeout=5.0)
    )
    for number in range(40):
        answer = await running.fetch("POST", f"{PREDICT}?n={number}", b'{"instances":[1]}', x_own="1")
        assert json.loads(answer.body) == {"predictions": [1.0]}
    await until(lambda: outcomes(running) == {"equal": 10})
    assert len(copies) == 10
    assert copies[0][b"body"] == b'{"instances":[1]}'
    assert copies[0][b"x-own"] == b"1"
    assert copies[0][b"x-colonnade-shadow"] == b"true"
    assert copies[0][b"target"] == b"/v1/models/iris:predict?n=3"
    labels = 'namespace="default",service="iris",component="predictor",revision="two",result="equal"'
    assert (await running.metrics())[f"colonnade_gateway_shadow_total{{{labels}}}"] == 10
    assert running.gateway.fleet.services[0].revisions["two"].guard.in_flight == 0


@pytest.mark.parametrize("size", [10, 300_000])
async def test_answers_that_differ_are_counted_and_large_ones_are_not_compared(
    running: Running, serve: Serve, size: int
) -> None:
    stable, shadow = await serve(predicting("a" * size)), await serve(predicting("b" * size))
    running.route(shadowed(stable, shadow))
    answer = await running.fetch("POST", PREDICT, b"{}")
    assert len(answer.body) > size
    expected = "different" if size < defaults.SHADOW_COMPARED_BYTES else "uncompared"
    await until(lambda: outcomes(running) == {expected: 1})


@pytest.mark.parametrize("size", [500_000, 3_000_000])
async def test_large_bodies(running: Running, serve: Serve, size: int) -> None:
    """One that is collected is copied, one that is passed on in parts is not."""
    copies: list[dict[bytes, bytes]] = []
    running.route(shadowed(await serve(predicting(1)), await serve(predicting(1, copies))))
    body = bytes(range(250)) * (size // 250)
    assert (await running.fetch("POST", PREDICT, body)).status == 200
    await until(lambda: outcomes(running) == {"equal" if size < 1 << 20 else "dropped": 1})
    assert all(copy[b"body"] == body for copy in copies)


async def test_only_posts_are_copied(running: Running, serve: Serve) -> None:
    running.route(shadowed(await serve(predicting(1)), await serve(predicting(2))))
    await running.fetch("GET", "/v2/models/iris")
    await running.fetch("POST", PREDICT, b"{}")
    await until(lambda: outcomes(running) == {"different": 1})


async def test_a_shadow_that_hangs_or_is_gone_delays_nobody_and_counts_against_itself_alone(
    running: Running, serve: Serve
) -> None:
    hung: list[Exchange] = []
    stable = await serve(predicting(1))
    running.route(shadowed(stable, await serve(hung.append)))
    for _ in range(defaults.SHADOW_IN_FLIGHT + 5):
        assert (await running.fetch("POST", PREDICT, b"{}")).status == 200
    await until(lambda: outcomes(running) == {"dropped": 5})
    running.route(shadowed(stable, "unix:/nowhere/s"))
    for exchange in hung:
        exchange.abort()
    await until(lambda: outcomes(running).get("failed") == defaults.SHADOW_IN_FLIGHT)
    one, two = running.gateway.fleet.services[0].revisions.values()
    assert two.guard.state is State.OPEN
    assert one.guard.state is State.CLOSED
    assert (await running.fetch("POST", PREDICT, b"{}")).status == 200
    await until(lambda: outcomes(running).get("dropped") == 6)
    assert one.counts.ended() == (defaults.SHADOW_IN_FLIGHT + 6, 0)
    assert one.guard._share.held == 0
    running.route(iris(stable))
    assert (await running.fetch("POST", PREDICT, b"{}")).status == 200


async def test_an_answer_in_parts_is_compared_too(running: Running, serve: Serve) -> None:
    def parts(exchange: Exchange) -> None:
        exchange.start(200, (), b"application/json")
        for part in (b'{"predictions"', b": [1.0", b"]}"):
            exchange.write(part)
        exchange.finish()

    running.route(shadowed(await serve(parts), await serve(predicting([1]))))
    await running.fetch("POST", PREDICT, b"{}")
    await until(lambda: outcomes(running) == {"equal": 1})


async def test_copies_under_load_lose_no_request(running: Running, serve: Serve) -> None:
    running.route(shadowed(await serve(predicting(1)), await serve(predicting(1)), 50))
    answers = await asyncio.gather(*(running.fetch("POST", PREDICT, b"{}") for _ in range(300)))
    assert {answer.status for answer in answers} == {200}
    await until(lambda: sum(outcomes(running).values()) == 150)
    assert set(outcomes(running)) <= {"equal", "dropped"}


async def test_a_copy_is_never_sent_to_the_revision_that_answered(running: Running, serve: Serve) -> None:
    """The shadow goes while a copy waits for it: the copy must not be executed by the stable revision."""
    answered: list[dict[bytes, bytes]] = []
    stable = await serve(predicting(1, answered))
    targets = target("one", 100, stable), target("two", 0)
    running.route(iris(targets=targets, shadow=Shadow("two"), hold=Hold()))
    assert (await running.fetch("POST", PREDICT, b"{}")).status == 200
    shadow = running.gateway.fleet.services[0].revisions["two"]
    await until(lambda: len(shadow.waiting) == 1)
    running.route(iris(stable))
    await until(lambda: shadow.counts.shadow() == {"failed": 1})
    assert len(answered) == 1
    assert shadow.guard.in_flight == 0
