"""Several components of one service: which requests reach which, by host, path, model name and port."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest
from grpc import aio

from colonnade.gateway.matching import Match, Matcher
from colonnade.gateway.routes import Route, RouteTable, Target
from colonnade.net import Address, Exchange, FetchedResponse, Upstream

from .conftest import HOST, Running, Serve, Start, iris, until
from .test_revisions import named, target

PREDICTOR, TRANSFORMER, EXPLAINER, OTHER = range(4)

TABLE = RouteTable(
    1,
    (
        Route("default", "iris", "iris", ("iris-predictor.default.x",), entry=False, port=4001),
        Route("default", "iris", "iris", ("iris.default.x",), component="transformer"),
        Route(
            "default", "iris", "iris", ("iris-explainer.default.x",), component="explainer", entry=False, explains=True
        ),
        Route("other", "iris", "wine", ("iris.other.x",), targets=(Target("b", 0, (), ("latest-iris.other.x",)),)),
    ),
)


@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        (b"iris.default.x", b"/v1/models/iris:predict", Match(TRANSFORMER, b"/v1/models/iris:predict")),
        (b"iris.default.x", b"/v1/models/iris:explain", Match(EXPLAINER, b"/v1/models/iris:explain")),
        (b"iris.default.x", b"/v2/models/iris/infer", Match(TRANSFORMER, b"/v2/models/iris/infer")),
        (b"iris.default.x", b"/v1/models/iris", Match(TRANSFORMER, b"/v1/models/iris")),
        (b"iris.default.x", b"/v1/models/a/b:explain", Match(TRANSFORMER, b"/v1/models/a/b:explain")),
        # A component's own host means it alone.
        (b"iris-predictor.default.x", b"/v1/models/iris:explain", Match(PREDICTOR, b"/v1/models/iris:explain")),
        (b"iris-explainer.default.x", b"/v1/models/iris:predict", Match(EXPLAINER, b"/v1/models/iris:predict")),
        # By path and by model name.
        (b"x", b"/serving/default/iris/v1/models/iris:explain", Match(EXPLAINER, b"/v1/models/iris:explain")),
        (b"x", b"/serving/default/iris/v1/models/iris:predict", Match(TRANSFORMER, b"/v1/models/iris:predict")),
        (b"x", b"/v1/models/iris:predict", Match(TRANSFORMER, b"/v1/models/iris:predict")),
        (b"x", b"/v1/models/iris:explain", Match(EXPLAINER, b"/v1/models/iris:explain")),
        # Without an explainer the entry takes it all.
        (b"iris.other.x", b"/v1/models/wine:explain", Match(OTHER, b"/v1/models/wine:explain")),
        (b"latest-iris.other.x", b"/v2", Match(OTHER, b"/v2", revision="b")),
    ],
)
def test_which_component(host: bytes, path: bytes, expected: Match) -> None:
    assert Matcher(TABLE).match(host, path) == expected


def test_the_port_of_a_route_decides_alone() -> None:
    matcher = Matcher(TABLE)
    assert matcher.at(("default", "iris", "predictor"), b"/v1/models/x:explain") == Match(
        PREDICTOR, b"/v1/models/x:explain"
    )
    assert matcher.at(("default", "gone", "predictor"), b"/") is None


def test_a_service_is_told_once() -> None:
    message = Matcher(TABLE).refuse(b"/v1/models/zz:predict").message
    assert message.count("default/iris") == 1


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def fetched(port: int, path: str, host: bytes = b"127.0.0.1") -> FetchedResponse:
    client = Upstream(Address(host="127.0.0.1", port=port))
    try:
        return await client.fetch("POST", path, [(b"host", host)], b"{}", timeout=5)
    finally:
        client.close()


async def listening(port: int) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return


async def closed(port: int) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                return
            writer.close()
            await asyncio.sleep(0.01)


async def test_a_transformer_reaches_its_predictor_through_the_gateway(start: Start, serve: Serve) -> None:
    running = await start(token="secret", require_token=True, grace=0.3)
    port = free_port()
    predictor = await serve(named("predicted"))

    def transform(exchange: Exchange) -> None:
        async def ask(body: bytes) -> None:
            inner = await fetched(port, "/v1/models/iris:predict", b"iris.default.x")
            exchange.reply(inner.status, b"transformed " + inner.body)

        exchange.collect(lambda body: tasks.append(asyncio.get_running_loop().create_task(ask(body))))

    tasks: list[asyncio.Task[None]] = []
    transformer = await serve(transform)
    running.route(
        iris(predictor, hosts=("iris-predictor.default.x",), entry=False, port=port),
        iris(transformer, component="transformer"),
    )
    await listening(port)
    answer = await running.fetch("POST", "/v1/models/iris:predict", b"{}", authorization="Bearer secret")
    assert (answer.status, answer.body) == (200, b"transformed predicted")
    assert (await running.fetch("POST", "/v1/models/iris:predict", b"{}")).status == 401
    assert (await fetched(port, "/")).body == b"predicted", "every path of the port is the route's"
    running.route(iris(transformer, component="transformer"))
    await closed(port)


async def test_a_port_that_is_taken_is_opened_when_it_is_free(running: Running, serve: Serve) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        running.route(iris(await serve(named("ok")), port=port))
        await until(lambda: not running.gateway._loopback._changed.is_set())
        assert (await running.fetch("POST", "/", b"{}")).body == b"ok", "the route serves all the same"
    await listening(port)
    assert (await fetched(port, "/v1/models/any:predict")).body == b"ok"


async def test_requests_on_a_port_are_refused_and_held_like_others(running: Running, serve: Serve) -> None:
    port = free_port()
    running.route(iris(ready=False, reason="it loads", port=port))
    await listening(port)
    answer = await fetched(port, "/v1/models/iris:predict")
    assert answer.status == 503
    assert "it loads" in json.loads(answer.body)["error"]
    assert (await fetched(port, "/v2/repository/models/iris/load")).status == 405


async def test_grpc_by_prior_knowledge_on_a_port(running: Running, serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        exchange.collect(
            lambda body: exchange.reply(200, b"\0\0\0\0\x02ok", b"application/grpc", trailers=[(b"grpc-status", b"0")])
        )

    port = free_port()
    route = iris(targets=(target("one", 1, await serve(app)),), port=port)
    if not route.backends[0].mux:
        pytest.skip("HTTP/1.1 upstreams speak no gRPC")
    running.route(route)
    await listening(port)
    async with aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert await channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"") == b"ok"
    assert (await fetched(port, "/x", HOST.encode())).status == 200
