"""What the gateway does for services whose replicas fail, hang or are flooded."""

from __future__ import annotations

import asyncio
import json

import pytest

from colonnade import defaults
from colonnade.gateway.guard import Policy
from colonnade.net import App, Exchange, deadlines

from .conftest import HOST, LABELS, Running, Serve, Start, iris, until


def ok(exchange: Exchange) -> None:
    exchange.reply(200, b"ok")


def unwell(exchange: Exchange) -> None:
    exchange.reply(503, b"unwell")


async def test_a_service_that_answers_nothing_is_refused_at_once_and_tried_again(
    running: Running, serve: Serve
) -> None:
    well = False
    asked = 0

    def app(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        exchange.reply(200 if well else 503, b"")

    running.route(iris(await serve(app), policy=Policy(breaker_after=3)))
    for _ in range(3):
        assert (await running.fetch("POST", "/x")).status == 503
    assert asked == 3
    refused = await running.fetch("POST", "/x")
    assert (refused.status, asked) == (503, 3)
    assert int(dict(refused.headers)[b"retry-after"]) >= 1
    assert "no replica of it has answered" in json.loads(refused.body)["error"]
    metrics = await running.metrics()
    assert metrics[f"colonnade_gateway_breaker_state{{{LABELS}}}"] == 2
    assert metrics[f'colonnade_gateway_shed_total{{{LABELS},reason="breaker"}}'] == 1
    well = True

    async def back() -> bool:
        return (await running.fetch("POST", "/x")).status == 200

    async with asyncio.timeout(10):
        while not await back():
            await asyncio.sleep(0.02)
    metrics = await running.metrics()
    assert metrics[f"colonnade_gateway_breaker_state{{{LABELS}}}"] == 0
    assert metrics[f"colonnade_gateway_breaker_trips_total{{{LABELS}}}"] == 1


async def test_new_replicas_close_an_open_breaker(running: Running, serve: Serve) -> None:
    policy = Policy(breaker_after=1)
    running.route(iris(await serve(unwell), policy=policy))
    await running.fetch("POST", "/x")
    assert (await running.metrics())[f"colonnade_gateway_breaker_state{{{LABELS}}}"] == 2
    running.route(iris(await serve(ok), policy=policy))
    assert (await running.fetch("POST", "/x")).status == 200


async def test_a_replica_that_fails_again_and_again_gets_no_requests(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(unwell), await serve(ok)))
    statuses = [(await running.fetch("POST", "/x")).status for _ in range(30)]
    assert statuses.count(503) == defaults.EJECT_AFTER_FAILURES
    assert statuses[-10:] == [200] * 10
    metrics = await running.metrics()
    assert metrics[f"colonnade_gateway_ejections_total{{{LABELS}}}"] == 1
    assert metrics[f"colonnade_gateway_ejected_replicas{{{LABELS}}}"] == 1


async def test_a_lone_replica_is_never_ejected(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(unwell), policy=Policy(breaker_after=0)))
    assert [(await running.fetch("POST", "/x")).status for _ in range(20)] == [503] * 20
    assert (await running.metrics())[f"colonnade_gateway_ejections_total{{{LABELS}}}"] == 0


async def test_a_flooded_service_leaves_places_for_the_others(start: Start, serve: Serve) -> None:
    running = await start(max_in_flight=20, grace=0.3)
    held: list[Exchange] = []
    other = iris(await serve(ok), name="other", model="other", hosts=("other.example.com",))
    running.route(iris(await serve(held.append)), other)
    flood = [asyncio.create_task(running.fetch("POST", "/x")) for _ in range(40)]
    await until(lambda: sum(task.done() for task in flood) == 24)
    refused = [task.result() for task in flood if task.done()]
    assert {answer.status for answer in refused} == {503}
    assert all(b"retry-after" in dict(answer.headers) for answer in refused)
    await until(lambda: len(held) == 16)
    assert (await running.fetch("POST", "/x", host="other.example.com")).status == 200
    for exchange in held:
        exchange.reply(200, b"")
    assert sorted(answer.status for answer in await asyncio.gather(*flood)) == [200] * 16 + [503] * 24
    metrics = await running.metrics()
    assert metrics[f'colonnade_gateway_shed_total{{{LABELS},reason="share"}}'] == 24
    assert metrics[f"colonnade_gateway_service_in_flight{{{LABELS}}}"] == 0


async def test_retries_end_with_their_budget(running: Running, serve: Serve) -> None:
    def cut(exchange: Exchange) -> None:
        exchange.abort()

    policy = Policy(retry_percent=0, eject_after=0)
    running.route(iris(await serve(cut), await serve(ok), policy=policy))
    statuses = [(await running.fetch("GET", "/x")).status for _ in range(20)]
    assert statuses.count(502) == 10
    metrics = await running.metrics()
    assert metrics[f"colonnade_gateway_retries_total{{{LABELS}}}"] == 0
    assert metrics[f"colonnade_gateway_retries_refused_total{{{LABELS}}}"] == 10


@pytest.mark.parametrize(
    ("route", "request_fields", "passed"),
    [
        (None, {}, None),
        (2.0, {}, b"2000"),
        (2.0, {"x_envoy_expected_rq_timeout_ms": "1500"}, b"1500"),
        (2.0, {"x_envoy_upstream_rq_timeout_ms": "9000"}, b"2000"),
        (None, {"grpc_timeout": "3S"}, b"3000"),
    ],
)
async def test_what_is_left_of_the_time_is_passed_on(
    running: Running, serve: Serve, route: float | None, request_fields: dict[str, str], passed: bytes | None
) -> None:
    seen: list[list[bytes]] = []

    def app(exchange: Exchange) -> None:
        seen.append([value for name, value in exchange.raw_headers if name == b"x-envoy-expected-rq-timeout-ms"])
        exchange.reply(200)

    running.route(iris(await serve(app), timeout=route))
    for _ in range(2):  # decided anew, and remembered
        assert (await running.fetch("GET", "/x", **request_fields)).status == 200
    assert seen == [[] if passed is None else [passed]] * 2


async def test_the_callers_time_ends_a_request_and_says_nothing_of_the_replica(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(lambda exchange: None), timeout=60.0, policy=Policy(breaker_after=1)))
    for _ in range(3):
        answer = await running.fetch("POST", "/x", x_envoy_upstream_rq_timeout_ms="50")
        assert answer.status == 504
        assert "0.05 s, the caller's limit" in json.loads(answer.body)["error"]
    assert (await running.metrics())[f"colonnade_gateway_breaker_state{{{LABELS}}}"] == 0


async def test_a_time_that_cannot_be_read_or_has_passed_is_answered_at_once(running: Running, serve: Serve) -> None:
    asked: list[Exchange] = []
    running.route(iris(await serve(asked.append)))
    wrong = await running.fetch("POST", "/x", grpc_timeout="soon")
    assert wrong.status == 400
    assert "grpc-timeout" in json.loads(wrong.body)["error"]
    assert (await running.fetch("POST", "/x", x_envoy_expected_rq_timeout_ms="0")).status == 504
    assert not asked


async def test_a_replica_that_joins_another_starts_slowly(running: Running, serve: Serve) -> None:
    counts = {"old": 0, "new": 0}

    def counted(name: str) -> App:
        def app(exchange: Exchange) -> None:
            counts[name] += 1
            exchange.reply(200)

        return app

    old, new = await serve(counted("old")), await serve(counted("new"))
    policy = Policy(slow_start=3600.0)
    running.route(iris(old, policy=policy))
    running.route(iris(old, new, policy=policy))
    for _ in range(50):
        await running.fetch("GET", "/x")
    assert counts == {"old": 50, "new": 0}


EXPECTED = b"x-envoy-expected-rq-timeout-ms"


@pytest.mark.parametrize("field", ["x_envoy_expected_rq_timeout_ms", "grpc_timeout"])
async def test_a_retry_says_what_is_left(running: Running, serve: Serve, field: str) -> None:
    seen: list[dict[bytes, bytes]] = []

    def app(exchange: Exchange) -> None:
        seen.append(dict(exchange.raw_headers))
        if len(seen) == 1:
            asyncio.get_running_loop().call_later(0.1, exchange.abort)
        else:
            exchange.reply(200)

    running.route(iris(await serve(app), await serve(app), timeout=20.0))
    value = "5000m" if field == "grpc_timeout" else "5000"
    for _ in range(2):  # the last one with the head that is kept
        assert (await running.fetch("GET", "/x", **{field: value})).status == 200
    first, again, other = seen
    assert first[EXPECTED] == other[EXPECTED] == b"5000"
    assert 3000 < int(again[EXPECTED]) <= 4900
    if field == "grpc_timeout":
        assert first[b"grpc-timeout"] == other[b"grpc-timeout"] == b"5000m"
        assert again[b"grpc-timeout"] == again[EXPECTED] + b"m"


async def test_a_slow_upload_leaves_less(running: Running, serve: Serve) -> None:
    seen: list[int] = []

    def app(exchange: Exchange) -> None:
        seen.append(int(exchange.headers[EXPECTED]))
        exchange.collect(lambda body: exchange.reply(200, body))

    running.route(iris(await serve(app), timeout=5.0))
    reader, writer = await running.connect()
    head = f"POST /x HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: 2\r\n\r\n".encode()
    for parts in ([b"a", b"b"], [b"ab"]):
        writer.write(head + parts[0])
        for part in parts[1:]:
            await until(lambda: running.revision.guard.in_flight == 1)
            await asyncio.sleep(0.11)  # the timer may be a millisecond early
            writer.write(part)
        async with asyncio.timeout(5):
            await reader.readuntil(b"\r\n\r\nab")
    writer.close()
    assert 3000 < seen[0] <= 4900
    assert seen[1] == 5000


def test_a_positive_rest_is_never_told_as_none() -> None:
    assert deadlines.passed_on(0.0004) == (EXPECTED, b"1")
    assert deadlines.passed_on(0.0) == (EXPECTED, b"0")
