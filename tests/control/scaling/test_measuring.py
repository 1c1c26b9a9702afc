"""Values by which revisions are scaled, from real processes and real servers."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.autoscale.measured import Target
from colonnade.autoscale.sources import Query, Told, Usage
from colonnade.control.scaling import telling
from colonnade.control.scaling.measuring import LAST_VALUE, Measuring
from colonnade.control.scaling.metric_servers import MAX_ANSWER_BYTES, MetricServers, Unanswered
from colonnade.control.scaling.usage import Used, Uses, totals
from colonnade.control.workqueue import Key
from colonnade.net import HttpServer, asynchronous
from colonnade.net.asynchronous import Request, Response

from ...e2e.product import until

PASSWORD = "hunter2-not-to-be-seen"


class MetricServer:
    """The part of Prometheus' and Graphite's HTTP APIs that is asked."""

    def __init__(self) -> None:
        self.body: bytes = b""
        self.status = 200
        self.asked: list[Request] = []
        self.slow: asyncio.Event | None = None

    async def __call__(self, request: Request) -> Response:
        self.asked.append(request)
        if self.slow is not None:
            await self.slow.wait()
        return Response(self.status, self.body)

    def vector(self, *values: str) -> None:
        series = ",".join(f'{{"metric":{{}},"value":[1700000000,"{value}"]}}' for value in values)
        self.body = f'{{"status":"success","data":{{"resultType":"vector","result":[{series}]}}}}'.encode()


@pytest.fixture
async def server() -> AsyncIterator[tuple[MetricServer, str]]:
    handler = MetricServer()
    http = HttpServer(asynchronous(handler))
    port = await http.listen_tcp("127.0.0.1", 0)
    yield handler, f"http://127.0.0.1:{port}"
    await http.drain(0.1)


@pytest.fixture
async def servers() -> AsyncIterator[MetricServers]:
    found = MetricServers(timeout=0.5)
    yield found
    await found.close()


async def test_prometheus_is_asked_as_its_api_wants(server: Any, servers: MetricServers) -> None:
    handler, address = server
    handler.vector("42.5")
    assert await servers.ask(Query("prometheus", f"{address}/", 'sum(q{a="b"})', "tenant"), None) == 42.5
    (request,) = handler.asked
    assert request.path == "/api/v1/query"
    assert parse_qs(request.query) == {"query": ['sum(q{a="b"})'], "namespace": ["tenant"]}


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"status":"success","data":{"resultType":"vector","result":[]}}', 0.0),
        (b'{"status":"success","data":{"resultType":"scalar","result":[1,"7"]}}', 7.0),
    ],
)
async def test_other_answers_with_one_number(server: Any, servers: MetricServers, body: bytes, value: float) -> None:
    handler, address = server
    handler.body = body
    assert await servers.ask(Query("prometheus", address, "q"), None) == value


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        (b"", 503, "answers 503"),
        (b"<html>", 200, "not answer JSON"),
        (b"[]", 200, "no value"),
        (b'{"status":"error","error":"bad"}', 200, "no value"),
        (b'{"status":"success","data":{"resultType":"vector","result":[1]}}', 200, "no value"),
        (
            b'{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"1"]},{"value":[1,"2"]}]}}',
            200,
            "2 series",
        ),
        (b'{"status":"success","data":{"resultType":"scalar","result":[1,"NaN"]}}', 200, "nan"),
        (b'{"status":"success","data":{"resultType":"scalar","result":[1,"x"]}}', 200, "no number"),
        (b"[" + b" " * (MAX_ANSWER_BYTES + 1), 200, "more than"),
    ],
)  # fmt: skip
async def test_what_is_no_number_is_told(
    server: Any, servers: MetricServers, body: bytes, status: int, told: str
) -> None:
    handler, address = server
    handler.body, handler.status = body, status
    with pytest.raises(Unanswered, match=told):
        await servers.ask(Query("prometheus", address, "q"), None)


async def test_a_server_that_hangs_or_is_not_there_has_a_time(server: Any, servers: MetricServers) -> None:
    handler, address = server
    handler.slow = asyncio.Event()
    with pytest.raises(Unanswered, match="ReadTimeout"):
        await servers.ask(Query("prometheus", address, "q"), None)
    handler.slow.set()
    for nowhere in ("http://127.0.0.1:1", "no address", "http://[", ""):
        with pytest.raises(Unanswered, match="cannot be asked"):
            await servers.ask(Query("prometheus", nowhere, "q"), None)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'[{"target":"q","datapoints":[[1.0,10],[3.5,20],[null,30]]}]', 3.5),
        (b"[]", 0.0),
        (b'[{"target":"q","datapoints":[[null,10]]}]', 0.0),
    ],
)
async def test_graphite(server: Any, servers: MetricServers, body: bytes, value: float) -> None:
    handler, address = server
    handler.body = body
    assert await servers.ask(Query("graphite", address, "sumSeries(a.*)"), None) == value
    assert handler.asked[0].path == "/render"
    assert parse_qs(handler.asked[0].query)["target"] == ["sumSeries(a.*)"]


@pytest.mark.parametrize(
    ("modes", "credentials", "header", "shown"),
    [
        ("bearer", {"bearerToken": PASSWORD}, b"authorization", f"Bearer {PASSWORD}"),
        ("", {"bearerToken": PASSWORD}, b"authorization", f"Bearer {PASSWORD}"),
        (
            "basic",
            {"username": "me", "password": PASSWORD},
            b"authorization",
            f"Basic {base64.b64encode(f'me:{PASSWORD}'.encode()).decode()}",
        ),
        ("custom", {"customAuthHeader": "X-Key", "customAuthValue": PASSWORD}, b"x-key", PASSWORD),
    ],
)
async def test_credentials_are_shown(
    server: Any, servers: MetricServers, modes: str, credentials: Any, header: bytes, shown: str
) -> None:
    handler, address = server
    handler.vector("1")
    await servers.ask(Query("prometheus", address, "q", secret="s", modes=modes), credentials)
    assert handler.asked[0].headers[header] == shown.encode()


@pytest.mark.parametrize(
    ("modes", "credentials", "told"),
    [
        ("bearer", None, "not found"),
        ("bearer", {"password": PASSWORD}, "has no bearerToken"),
        ("tls", {"password": PASSWORD}, "cannot be used"),
        ("bearer", {"bearerToken": f"{PASSWORD}\nX: y"}, "cannot be asked"),
        ("custom", {"customAuthHeader": f"a b {PASSWORD}", "customAuthValue": "v"}, "cannot be asked"),
    ],
)
async def test_credentials_that_do_not_fit_are_told_and_never_quoted(
    server: Any, servers: MetricServers, modes: str, credentials: Any, told: str
) -> None:
    with pytest.raises(Unanswered, match=told) as refused:
        await servers.ask(Query("prometheus", server[1], "q", secret="s", modes=modes), credentials)
    assert PASSWORD not in str(refused.value)


# What replicas tell.

METRICS = """# HELP busy Requests.
# TYPE busy gauge
busy{model="a"} 3
busy{model="b",other="x,y}"} 4.5 1700000000000
busy_total 100
busy{model="c"} NaN
garbage
"""


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("busy", 7.5),
        ('busy{model="a"}', 3.0),
        ('busy{model="b", other="x,y}"}', 4.5),
        ('busy{model="z"}', None),
        ("busy_total", 100.0),
        ("absent", None),
        ("rate(busy[1m])", None),
        ("", None),
    ],
)
def test_the_sum_of_what_replicas_tell(query: str, value: float | None) -> None:
    assert telling.total(METRICS, query) == value


@given(st.text(), st.text(max_size=40))
def test_any_text_has_a_sum_or_none(text: str, query: str) -> None:
    telling.total(text, query)


@pytest.mark.parametrize(
    ("operation", "value"),
    [("last_one", 9.0), ("avg", 5.0), ("max", 9.0), ("min", 1.0), ("count", 3.0), ("rate", 0.4), ("other", 9.0)],
)
def test_operations_over_time(operation: str, value: float) -> None:
    assert telling.over_time([(0.0, 1.0), (10.0, 5.0), (20.0, 9.0)], operation) == pytest.approx(value)


# What processes use.


@pytest.fixture
def worker() -> Any:
    """Starts programs in process groups of their own, with a child in each."""
    started: list[subprocess.Popen[bytes]] = []

    def start(program: str) -> int:
        code = f"import subprocess,sys; p=subprocess.Popen([sys.executable,'-c',{program!r}],stdout=1); p.wait()"
        process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        return process.pid

    yield start
    for process in started:
        os.killpg(process.pid, 9)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def test_what_a_group_uses_counts_its_children(worker: Callable[[str], int]) -> None:
    busy = worker("print('up',flush=True)\nx=bytearray(200<<20)\nwhile True: pass")
    idle = worker("import signal; print('up',flush=True); signal.pause()")
    uses = Uses()
    assert uses.of(busy) is None  # of one look nothing follows

    def at_work() -> Used | None:
        seen = uses.of(busy)
        return seen if seen and seen.cpu > 0.1 and seen.memory > 200 << 20 else None

    found = until(at_work, "the busy group's child is counted")
    other = uses.of(idle)
    assert other is not None
    assert other.cpu < found.cpu
    assert uses.of(1 << 30) is None


def test_every_group_is_looked_at_in_one_pass() -> None:
    assert totals()[os.getpgrp()].memory > 0


# All of it together.


def pod(name: str, requests: dict[str, str] | None = None) -> dict[str, Any]:
    container = {"name": "kserve-container", "resources": {"requests": requests} if requests else {}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [container]}}


async def test_the_values_of_targets(server: Any, servers: MetricServers) -> None:
    handler, address = server
    handler.vector("30")
    now = 0.0
    secrets: list[tuple[str, str]] = []

    async def tell(key: Key) -> str | None:
        return METRICS if key.name != "silent" else None

    def credentials(namespace: str, name: str) -> dict[str, str]:
        secrets.append((namespace, name))
        return {"bearerToken": PASSWORD}

    used = {Key("default", "a"): Used(0.5, 1 << 30), Key("default", "b"): Used(0.25, 3 << 30)}
    measuring = Measuring(used.get, tell, credentials, servers=servers, clock=lambda: now)

    async def values(pods: list[Any], *targets: Target) -> tuple[float | None, ...]:
        return await measuring.values("default", targets, pods)

    cpu = Target("cpu", "utilization", 80.0, Usage("cpu"))
    memory = Target("memory", "utilization", 80.0, Usage("memory"))
    amount = Target("memory", "average", 1e9, Usage("memory", percent=False))
    two = [pod("a", {"cpu": "500m"}), pod("b")]
    assert await values(two, cpu, memory, amount) == (62.5, 100.0, float(4 << 30))
    assert await values([*two, pod("new")], cpu, amount) == (62.5, float(6 << 30))
    assert await values([], cpu, Target("busy", "average", 1.0, Told("busy"))) == (None, None)
    assert await values([pod("a"), pod("b"), pod("silent")], Target("busy", "average", 1.0, Told("busy"))) == (15.0,)

    queue = Target("q", "average", 10.0, Query("prometheus", address, "q", secret="s"))
    assert await values([], queue) == (30.0,)
    assert secrets == [("default", "s")]
    handler.status = 500
    now = LAST_VALUE - 1.0
    assert await values([], queue) == (30.0,)  # the last value, for a while
    now = LAST_VALUE
    assert await values([], queue) == (None,)
