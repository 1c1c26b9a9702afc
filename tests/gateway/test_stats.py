"""What a gateway tells of the work of its revisions."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from colonnade.gateway.guard import Guard
from colonnade.gateway.routes import Hold
from colonnade.gateway.shares import Shares
from colonnade.gateway.stats import Sampler
from colonnade.net import Exchange
from colonnade.observe import latency

from .conftest import HOST, REVISION, Running, Serve, iris, until
from .test_revisions import named, target

PREDICT = "/v1/models/iris:predict"


@asynccontextmanager
async def listening(running: Running) -> AsyncIterator[list[dict[str, Any]]]:
    """The lines of `GET /stats` as they come."""
    reader, writer = await asyncio.open_unix_connection(str(running.admin))
    writer.write(b"GET /stats HTTP/1.1\r\nhost: x\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"application/x-ndjson" in head
    lines: list[dict[str, Any]] = []

    async def read() -> None:
        while True:
            size = int(await reader.readline(), 16)
            chunk = await reader.readexactly(size + 2)
            lines.extend(json.loads(line) for line in chunk.splitlines() if line)

    task = asyncio.create_task(read())
    try:
        yield lines
    finally:
        task.cancel()
        writer.close()


def of(lines: list[dict[str, Any]], revision: str = REVISION) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("revision") == revision]


async def test_a_reader_hears_at_once_and_each_second(running: Running) -> None:
    async with listening(running) as lines:
        await until(lambda: lines == [{}])
        await until(lambda: lines == [{}, {}])


async def test_a_line_tells_the_work_and_one_more_its_end(running: Running, serve: Serve) -> None:
    held: list[Exchange] = []
    good, bad = await serve(named("ok")), await serve(held.append)
    running.route(iris(targets=(target("one", 100, good), target("two", 0, bad, hosts=("two.example.com",)))))
    async with listening(running) as lines:
        await until(lambda: lines == [{}])
        for _ in range(5):
            await running.fetch("POST", PREDICT, b"{}")
        waiting = asyncio.create_task(running.fetch("POST", PREDICT, b"{}", host="two.example.com"))
        await until(lambda: len(of(lines, "two")) == 1)
        (first,) = of(lines, "one")
        assert (first["namespace"], first["service"], first["component"]) == ("default", "iris", "predictor")
        assert (first["requests"], first["answers"], first["errors"], first["held"]) == (5, 5, 0, 0)
        assert first["replicas"] == 1
        assert len(first["latencies"]) == len(latency.BOUNDS)
        assert sum(first["latencies"]) == 5
        assert 0 < first["concurrency"] < 1
        assert first["seconds"] == pytest.approx(1, abs=0.5)
        busy = of(lines, "two")[0]
        assert (busy["requests"], busy["answers"]) == (1, 0)
        assert 0 < busy["concurrency"] <= 1.01
        held[0].reply(500)
        await waiting
        await until(lambda: len(of(lines, "two")) == 3)
        over = of(lines, "two")[-1]
        assert (over["requests"], over["answers"], over["errors"], over["concurrency"]) == (0, 1, 1, 0.0)
        assert over["epoch"] == busy["epoch"]
        until_idle = len(lines)
        await until(lambda: len(lines) > until_idle)
        assert lines[-1] == {}, "idle revisions are silent"


async def test_a_request_that_begins_to_wait_is_told_at_once(running: Running, serve: Serve) -> None:
    running.route(iris(hold=Hold()))
    async with listening(running) as lines:
        await until(lambda: lines == [{}])
        begun = time.monotonic()
        waiting = [asyncio.create_task(running.fetch("POST", PREDICT, b"{}")) for _ in range(3)]
        await until(lambda: bool(of(lines)))
        assert len(lines) == 2, "without waiting for the next turn"
        assert of(lines)[0]["held"] >= 1
        assert of(lines)[0]["replicas"] == 0
        await until(lambda: len(of(lines)) >= 3)
        told = of(lines)
        assert told[-1]["held"] == 3
        assert sum(line["requests"] for line in told) == 3
        assert sum(line["seconds"] for line in told) <= time.monotonic() - begun + 1.5
        async with listening(running) as late:
            await until(lambda: bool(of(late)))
            assert of(late)[0]["held"] == 3, "who comes later hears of it, too"
        running.route(iris(await serve(named("ok"))))
        await asyncio.gather(*waiting)
        await until(lambda: of(lines)[-1]["held"] == 0)


async def test_refusals_of_the_gateway_are_no_answers_of_a_revision(running: Running) -> None:
    running.route(iris(hold=Hold(requests=1)))
    waiting = asyncio.create_task(running.fetch("POST", PREDICT, b"{}"))
    await until(lambda: len(running.revision.waiting) == 1)
    assert (await running.fetch("POST", PREDICT, b"{}")).status == 503
    assert running.revision.counts.ended() == (0, 0)
    running.route(iris(ready=False))
    assert (await waiting).status == 503
    assert running.revision.counts.ended() == (1, 1)


async def test_a_reader_that_leaves_is_forgotten(running: Running) -> None:
    async with listening(running) as lines:
        await until(lambda: lines == [{}])
    stats = running.gateway._stats
    await until(lambda: not stats._readers)
    assert (await running.fetch("GET", "/x", host=HOST)).status == 404


def test_concurrency_is_the_mean_over_time() -> None:
    guard = Guard(Shares(100).share(), 0.0)
    guard.begin(10.0)
    assert guard.spent(10.5) == pytest.approx(0.5)
    guard.begin(10.5)
    assert guard.spent(11.0) == pytest.approx(1.5)
    guard.end(10.0, 1.0)
    assert guard.spent(12.0) == pytest.approx(2.5)
    guard.end(10.5, 2.0)
    assert guard.spent(20.0) == pytest.approx(3.0)
    assert guard.arrivals == 2


async def test_a_revision_that_comes_later_is_told_from_its_beginning(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(named("ok"))))
    await running.fetch("POST", PREDICT, b"{}")
    now = time.perf_counter()
    (line,) = Sampler([], now - 1.0).lines([running.revision], now)
    assert (line.requests, line.seconds) == (1, pytest.approx(1.0))
    assert Sampler([running.revision], now).lines([running.revision], now + 1.0) == []


def test_what_is_under_way_for_long_is_told_by_its_age() -> None:
    guard = Guard(Shares(100).share(), 0.0)
    for started in (10.2, 10.9, 17.5, 19.9):
        guard.begin(started)
    assert guard.late(11.5) == []
    late = guard.late(20.0)
    assert (sum(late), late[latency.bucket(9.0)], late[latency.bucket(2.0)]) == (3, 2, 1)
    for started in (10.2, 10.9, 17.5, 19.9):
        guard.end(started, 20.0 - started)
    assert guard.late(1000.0) == []


async def test_a_request_that_hangs_is_told_each_second_with_its_age(running: Running, serve: Serve) -> None:
    held: list[Exchange] = []
    running.route(iris(await serve(held.append)))
    async with listening(running) as lines:
        await until(lambda: lines == [{}])
        waiting = asyncio.create_task(running.fetch("POST", PREDICT, b"{}"))
        await until(lambda: any(sum(line["late"]) == 1 for line in of(lines)))
        assert of(lines)[0]["late"] == []
        held[0].reply(200)
        await waiting
        await until(lambda: of(lines)[-1]["late"] == [] and of(lines)[-1]["answers"] == 1)
