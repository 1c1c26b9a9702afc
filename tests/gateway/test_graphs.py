"""Graphs in a gateway with real services behind it: what steps get, and what comes back."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from grpc import StatusCode, aio

from colonnade.gateway.observed import Observation
from colonnade.gateway.routes import Backend, Route, Target
from colonnade.graph.plan import Node, Plan, Step
from colonnade.net import Exchange
from colonnade.wire import openinference_pb2 as oip

from .conftest import MUX, Running, Serve, Start, until
from .graph_setup import BODY, GRAPH, Silent, ask, ensemble, graph, saying, sequence, service


async def test_a_sequence_asks_one_service_after_the_other(running: Running, serve: Serve) -> None:
    running.route(
        service("a", await serve(saying("a"))),
        service("b", await serve(saying("b", 201, x_own="1"))),
        graph(sequence(ask("a"), ask("b", takes_response=True))),
    )
    answer = await running.fetch("POST", "/anything/at/all?x=1", BODY, host=GRAPH, x_request_id="me")
    assert answer.status == 201
    told = json.loads(answer.body)
    assert (told["by"], told["target"]) == ("b", "/v1/models/b:predict")
    before = json.loads(told["body"])
    assert (before["by"], before["body"]) == ("a", BODY.decode())
    assert before["headers"]["x-request-id"] == told["headers"]["x-request-id"] == "me"
    assert told["headers"]["content-type"] == "application/json"
    fields = dict(answer.headers)
    assert (fields[b"x-own"], fields[b"x-request-id"]) == (b"1", b"me")
    assert [name for name, _ in answer.headers].count(b"x-request-id") == 1


async def test_a_graph_is_reached_by_its_path(running: Running, serve: Serve) -> None:
    running.route(service("a", await serve(saying("a"))), graph(sequence(ask("a"))))
    for path in ("/serving/default/flow", "/serving/default/flow/", "/serving/default/flow/v1/models/x:predict"):
        answer = await running.fetch("POST", path, BODY, host="x")
        assert json.loads(answer.body)["by"] == "a"


async def test_an_ensemble_asks_all_at_once(running: Running, serve: Serve) -> None:
    services = [Silent() for _ in range(3)]
    routes = [service(f"s{at}", await serve(one)) for at, one in enumerate(services)]
    running.route(*routes, graph(ensemble(ask("s0"), ask("s1", name="mid"), ask("s2"))))
    asking = asyncio.ensure_future(running.fetch("POST", "/", BODY, host=GRAPH))
    await until(lambda: all(one.exchanges for one in services))
    for at in (2, 0, 1):
        services[at].exchanges[0].reply(200, b'{"from": %d}' % at)
    answer = await asking
    assert (answer.status, answer.body) == (200, b'{"0":{"from": 0},"mid":{"from": 1},"2":{"from": 2}}')
    assert dict(answer.headers)[b"content-type"] == b"application/json"


async def test_a_splitter_keeps_its_shares_exactly(running: Running, serve: Serve) -> None:
    steps = (ask("a", weight=20), ask("b", weight=80))
    routes = [service(name, await serve(saying(name))) for name in "ab"]
    running.route(*routes, graph(Plan({"root": Node("Splitter", steps)})))
    answers = await asyncio.gather(*(running.fetch("POST", "/", BODY, host=GRAPH) for _ in range(100)))
    assert Counter(json.loads(answer.body)["by"] for answer in answers) == {"a": 20, "b": 80}


async def test_a_switch_without_a_match_is_404(running: Running, serve: Serve) -> None:
    steps = (ask("a", condition="kind.#(==x)"),)
    running.route(service("a", await serve(saying("a"))), graph(Plan({"root": Node("Switch", steps)})))
    for body in (BODY, b"no json", b""):
        answer = await running.fetch("POST", "/", body, host=GRAPH)
        cause = "None of the routes matched with the switch condition"
        assert (answer.status, json.loads(answer.body)) == (404, {"error": "Failed to process request", "cause": cause})


async def test_headers_are_passed_on_by_pattern(start: Start, serve: Serve) -> None:
    running = await start(token="secret", require_token=True, grace=0.3)
    plan = sequence(ask("a"), headers=("^X-Tenant-", "Authorization", "(unfinished", "content-type", "host"))
    running.route(service("a", await serve(saying("a"))), graph(plan))
    sent = {
        "authorization": "Bearer secret",  # the gateway's own: for nobody else
        "x_tenant_id": "7",
        "x_other": "1",
        "traceparent": "00-1-2-01",
        "content_type": "application/x-own",
        "x_colonnade_graph_hops": "0",
    }
    answer = await running.fetch("POST", "/", BODY, host=GRAPH, **sent)
    seen = json.loads(answer.body)["headers"]
    assert {
        key: seen.get(key) for key in ("x-tenant-id", "x-other", "authorization", "traceparent", "content-type")
    } == {
        "x-tenant-id": "7",
        "x-other": None,
        "authorization": None,
        "traceparent": "00-1-2-01",
        "content-type": "application/x-own",
    }
    assert seen.get("host") != GRAPH
    assert seen["x-colonnade-graph-hops"] == "1"


async def test_a_foreign_authorization_may_be_passed_on(running: Running, serve: Serve) -> None:
    running.route(service("a", await serve(saying("a"))), graph(sequence(ask("a"), headers=("authorization",))))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH, authorization="Bearer theirs")
    assert json.loads(answer.body)["headers"]["authorization"] == "Bearer theirs"


@pytest.mark.parametrize("http2", [False, True])
async def test_a_stream_of_the_last_step_flows(running: Running, serve: Serve, http2: bool) -> None:
    silent = Silent()
    plan = Plan({"root": Node("Sequence", (ask("a"), Step(node="in"))), "in": Node("Sequence", (ask("b"),))})
    running.route(service("a", await serve(saying("a"))), service("b", await serve(silent)), graph(plan))
    async with httpx.AsyncClient(http1=not http2, http2=http2, trust_env=False) as client:
        url = f"http://{running.host}:{running.port}/"
        request = client.build_request("POST", url, headers={"host": GRAPH}, content=BODY)
        sending = asyncio.ensure_future(client.send(request, stream=True))
        await until(lambda: bool(silent.exchanges))
        exchange = silent.exchanges[0]
        exchange.start(200, content_type=b"text/event-stream")
        exchange.write(b"data: 0\n\n")
        answer = await sending
        assert answer.headers["content-type"] == "text/event-stream"
        parts = answer.aiter_raw()
        for at in range(3):
            assert await anext(parts) == b"data: %d\n\n" % at  # the next one is written when this one was read
            exchange.write(b"data: %d\n\n" % (at + 1))
        exchange.finish()
        assert [part async for part in parts] == [b"data: 3\n\n"]


async def test_a_stream_in_the_middle_is_collected(running: Running, serve: Serve) -> None:
    def parts(exchange: Exchange) -> None:
        def done(body: bytes) -> None:
            exchange.start(200)
            for at in range(50):
                exchange.write(b"%d" % (at % 10) * 3000)
            exchange.finish()

        exchange.collect(done)

    plan = sequence(ask("a"), ask("b", takes_response=True))
    running.route(service("a", await serve(parts)), service("b", await serve(saying("b"))), graph(plan))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert len(json.loads(answer.body)["body"]) == 150_000


async def test_a_stream_that_breaks_off_cuts_the_client(running: Running, serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        exchange.start(200)
        exchange.write(b"x")
        asyncio.get_running_loop().call_later(0.01, exchange.abort)

    running.route(service("a", await serve(app)), graph(sequence(ask("a", retries=3))))
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(f"http://{running.host}:{running.port}/", headers={"host": GRAPH}, content=BODY)


async def test_a_slow_reader_slows_down_the_replica(running: Running, serve: Serve) -> None:
    total = 64 << 20
    sent: list[int] = []

    def app(exchange: Exchange) -> None:
        async def pour() -> None:
            exchange.start(200)
            while sum(sent) < total and not exchange.closed:
                exchange.write(b"x" * 65536)
                sent.append(65536)
                await exchange.drain()
            exchange.finish()

        tasks.append(asyncio.ensure_future(pour()))

    tasks: list[asyncio.Future[None]] = []
    running.route(service("a", await serve(app)), graph(sequence(ask("a"))))
    reader, writer = await running.connect()
    writer.write(b"POST / HTTP/1.1\r\nhost: %b\r\ncontent-length: 2\r\n\r\n{}" % GRAPH.encode())
    await reader.readuntil(b"\r\n\r\n")
    counts: list[int] = []
    async with asyncio.timeout(10):
        while len(counts) < 20 or counts[-1] != counts[-20]:  # it has come to a halt
            counts.append(sum(sent))
            await asyncio.sleep(0.02)
    assert counts[-1] < total / 2
    writer.transport.abort()
    await until(lambda: tasks[0].done())


async def test_a_client_that_leaves_cancels_every_step(running: Running, serve: Serve) -> None:
    one, other = Silent(), Silent()
    running.route(service("a", await serve(one)), service("b", await serve(other)), graph(ensemble(ask("a"), ask("b"))))
    asking = asyncio.ensure_future(running.fetch("POST", "/", BODY, host=GRAPH))
    await until(lambda: bool(one.exchanges and other.exchanges))
    asking.cancel()
    await until(lambda: (one.left, other.left) == (1, 1))
    await until(lambda: running.gateway._proxy.in_flight == 0)
    for each in running.gateway.fleet.services:
        assert each.revisions
        assert all(revision.guard.in_flight == 0 for revision in each.revisions.values())


async def test_a_decided_ensemble_cancels_the_rest(running: Running, serve: Serve) -> None:
    silent = Silent()
    plan = ensemble(ask("bad", hard=True), ask("b"))
    running.route(service("bad", await serve(saying("bad", 404))), service("b", await serve(silent)), graph(plan))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert (answer.status, json.loads(answer.body)["by"]) == (404, "bad")
    await until(lambda: silent.left == len(silent.exchanges))


async def test_a_url_of_a_service_here_never_leaves_the_process(running: Running, serve: Serve) -> None:
    url = "http://a-default.example.com:1/some/path?q=1"  # nothing listens there
    running.route(service("a", await serve(saying("a"))), graph(sequence(Step(url=url))))
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert json.loads(answer.body)["target"] == "/some/path?q=1"


async def test_a_url_elsewhere_is_asked(running: Running, serve: Serve) -> None:
    address = await serve(saying("far"))
    origin = Route(
        "default", "flow", "", (), (Target("far", backends=(Backend("far", address, mux=address.endswith(MUX)),)),),
        ready=True, component="http://far.example.net:80", entry=False,
    )  # fmt: skip
    running.route(graph(sequence(Step(url="http://far.example.net/v1/models/iris:predict"))), origin)
    told = json.loads((await running.fetch("POST", "/", BODY, host=GRAPH)).body)
    assert (told["by"], told["target"], told["headers"]["host"]) == (
        "far",
        "/v1/models/iris:predict",
        "far.example.net",
    )


async def test_a_graph_may_ask_another_graph(running: Running, serve: Serve) -> None:
    inner = graph(ensemble(ask("a", name="x")), "inner")
    outer = graph(sequence(Step(url="http://inner-default.example.com/")))
    running.route(service("a", await serve(saying("a"))), inner, outer)
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    told = json.loads(answer.body)["x"]
    assert (answer.status, told["by"], told["headers"]["x-colonnade-graph-hops"]) == (200, "a", "2")


async def test_other_methods_and_readiness(running: Running) -> None:
    running.route(graph(sequence(ask("a"))), graph(sequence(ask("a")), "stopped", ready=False, reason="it is stopped"))
    answer = await running.fetch("GET", "/", host=GRAPH)
    assert (answer.status, dict(answer.headers)[b"allow"]) == (405, b"POST")
    assert (await running.fetch("GET", "/readyz", host=GRAPH)).status == 200
    assert (await running.fetch("GET", "/serving/default/flow/readyz", host="x")).status == 200
    stopped = "stopped-default.example.com"
    assert (await running.fetch("GET", "/readyz", host=stopped)).status == 503
    answer = await running.fetch("POST", "/", BODY, host=stopped)
    assert (answer.status, "it is stopped" in json.loads(answer.body)["error"]) == (503, True)


async def test_a_thousand_at_once_get_their_own_answers(running: Running, serve: Serve) -> None:
    def doubling(exchange: Exchange) -> None:
        def done(body: bytes) -> None:
            number = json.loads(body)["n"]
            later = asyncio.get_running_loop().call_later
            later((number * 7 % 13) / 1000, exchange.reply, 200, json.dumps({"n": number * 2}).encode())

        exchange.collect(done)

    address = await serve(doubling)
    plan = Plan(
        {
            "root": Node("Sequence", (ask("a"), Step(node="both", takes_response=True))),
            "both": Node("Ensemble", (ask("a", name="x"), ask("a", name="y"))),
        }
    )
    running.route(service("a", address), graph(plan))
    answers = await asyncio.gather(
        *(running.fetch("POST", "/", json.dumps({"n": at}).encode(), host=GRAPH) for at in range(1000))
    )
    for at, answer in enumerate(answers):
        assert (answer.status, json.loads(answer.body)) == (200, {"x": {"n": at * 4}, "y": {"n": at * 4}})


async def test_a_swap_under_load_loses_nothing(running: Running, serve: Serve) -> None:
    routes = [service(name, await serve(saying(name))) for name in "ab"]
    running.route(*routes, graph(sequence(ask("a"), ask("b"))))
    asking = [asyncio.ensure_future(running.fetch("POST", "/", BODY, host=GRAPH)) for _ in range(200)]
    for version in range(2, 12):
        running.route(*routes, graph(sequence(ask("b"), ask("a"))), version=version)
        await asyncio.sleep(0)
    assert {answer.status for answer in await asyncio.gather(*asking)} == {200}


async def test_a_graph_speaks_no_grpc(start: Start) -> None:
    running = await start(grpc=True, grace=0.3)
    running.route(graph(sequence(ask("a"))))
    assert running.gateway.grpc_address is not None
    options = (("grpc.default_authority", GRAPH),)
    async with aio.insecure_channel(running.gateway.grpc_address, options=options) as channel:
        call: Callable[..., Any] = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=oip.ModelInferRequest.SerializeToString,
            response_deserializer=oip.ModelInferResponse.FromString,
        )
        with pytest.raises(aio.AioRpcError) as refused:
            await call(oip.ModelInferRequest(model_name="flow"))
    assert refused.value.code() is StatusCode.UNIMPLEMENTED
    assert "over HTTP" in (refused.value.details() or "")


async def test_counts(running: Running, serve: Serve) -> None:
    running.route(service("a", await serve(saying("a"))), graph(sequence(ask("a"))))
    await running.fetch("POST", "/", BODY, host=GRAPH)
    counted = [name for name, value in (await running.metrics()).items() if "requests_total" in name and value == 1]
    assert any('service="flow"' in name for name in counted)
    assert any('service="a"' in name for name in counted)


async def test_observers_of_a_service_see_the_requests_of_steps(running: Running, serve: Serve) -> None:
    class Watcher:
        def wants(self, exchange: Exchange) -> bool:
            return True

        def saw(self, observation: Observation) -> None:
            seen.append(observation)

    seen: list[Observation] = []
    running.route(service("a", await serve(saying("a"))), graph(sequence(ask("a"))))
    running.gateway.fleet.services[0].observers = (Watcher(),)
    answer = await running.fetch("POST", "/", BODY, host=GRAPH)
    assert [(one.body, one.reply and one.reply.body) for one in seen] == [(BODY, answer.body)]
