"""The payload log as a sink sees it, over real sockets: attributes, modes, protocols, and sinks that fail."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from colonnade import defaults
from colonnade.gateway.payloads.settings import Logging
from colonnade.gateway.payloads.tap import Tap
from colonnade.net import App, Exchange

from ..conftest import LABELS, REVISION, Running, Serve, iris, until
from .conftest import Sink

PREDICT = "/v1/models/iris:predict"
BODY = b'{"instances":[[1,2]]}'
ANSWER = b'{"predictions":[1]}'


def answering(body: bytes = ANSWER, status: int = 200, content_type: bytes = b"application/json") -> App:
    def app(exchange: Exchange) -> None:
        exchange.collect(lambda _: exchange.reply(status, body, content_type))

    return app


def logged(running: Running) -> dict[str, int]:
    return running.revision.counts.payloads()


async def one(running: Running, sink: Sink, serve: Serve, app: App | None = None, **changes: Any) -> None:
    running.route(iris(await serve(app or answering()), logging=Logging(url=sink.url, **changes)))


async def test_both_events_have_the_attributes_of_kserve(running: Running, serve: Serve, sink: Sink) -> None:
    await one(
        running,
        sink,
        serve,
        answering(content_type=b"application/vnd.own+json"),
        headers=("x-tenant",),
        annotations=(("team", "a b"),),
        endpoint="blue",
    )
    answer = await running.fetch(
        "POST", f"{PREDICT}?key=hidden", BODY, content_type="application/json", x_tenant="Zoë", x_request_id="r-1"
    )
    assert answer.status == 200
    await until(lambda: len(sink.got) == 2)
    (request,), (response,) = sink.of("request"), sink.of("response")
    assert (request.body, response.body) == (BODY, ANSWER)
    assert request.headers["content-type"] == "application/json"
    assert response.headers["content-type"] == "application/vnd.own+json"  # its own, not that of the request
    for event in (request, response):
        found = event.headers
        assert found["ce-specversion"] == "1.0"
        assert found["ce-source"] == "iris-0"
        assert found["ce-inferenceservicename"] == "iris"
        assert found["ce-namespace"] == "default"
        assert found["ce-component"] == "predictor"
        assert found["ce-endpoint"] == "blue"
        assert found["ce-revision"] == REVISION
        assert found["ce-time"].endswith("Z")
        assert found["ce-recordedtime"] >= found["ce-time"]
        assert found["ce-metadata"] == '{"X-Tenant":["Zo%C3%AB"]}'
        assert found["ce-annotations"] == '{"team":"a b"}'
        assert "hidden" not in str(found)
    assert request.headers["ce-id"] == response.headers["ce-id"]
    assert request.headers["ce-requestid"] == response.headers["ce-requestid"] == "r-1"
    assert response.headers["ce-status"] == "200"
    assert "ce-status" not in request.headers
    await until(lambda: logged(running) == {"written": 1})
    assert (await running.metrics())[f'colonnade_gateway_payloads_total{{{LABELS},result="written"}}'] == 1


async def test_the_identity_is_that_of_the_caller_or_a_new_one_each_time(
    running: Running, serve: Serve, sink: Sink
) -> None:
    await one(running, sink, serve)
    await running.fetch("POST", PREDICT, BODY, ce_id="mine")
    await running.fetch("POST", PREDICT, BODY, x_request_id="same")
    await running.fetch("POST", PREDICT, BODY, x_request_id="same")
    await until(lambda: len(sink.got) == 6)
    found = [event.headers["ce-id"] for event in sink.got]
    assert found.count("mine") == 2
    assert len(set(found)) == 3


@pytest.mark.parametrize(("mode", "kinds"), [("all", 2), ("request", 1), ("response", 1)])
async def test_modes(running: Running, plain: Serve, sink: Sink, mode: Any, kinds: int) -> None:
    await one(running, sink, plain, mode=mode)
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(running) == {"written": 1})
    assert len(sink.got) == kinds
    assert mode == "all" or len(sink.of(mode)) == 1


@pytest.mark.parametrize("failures", [False, True])
async def test_responses_that_are_no_success(running: Running, serve: Serve, sink: Sink, failures: bool) -> None:
    """KServe logs their requests alone; an annotation asks for more, and the status is told then."""
    await one(running, sink, serve, answering(b'{"error":"no"}', 400), failures=failures)
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(running) == {"written": 1})
    assert len(sink.of("request")) == 1
    assert [event.headers["ce-status"] for event in sink.of("response")] == ["400"] * failures


async def test_a_request_that_no_replica_answers_is_logged(running: Running, sink: Sink) -> None:
    running.route(iris("unix:/nowhere/s", logging=Logging(url=sink.url)))
    assert (await running.fetch("POST", PREDICT, BODY)).status == 503
    await until(lambda: len(sink.got) == 1)
    assert sink.got[0].headers["ce-source"] == REVISION
    assert sink.got[0].body == BODY


async def test_a_caller_that_leaves_is_logged(running: Running, serve: Serve, sink: Sink) -> None:
    came: list[Exchange] = []
    await one(running, sink, serve, came.append)
    _, writer = await running.connect()
    writer.write(b"POST %b HTTP/1.1\r\nhost: iris-default.example.com\r\n" % PREDICT.encode())
    writer.write(b"content-length: %d\r\n\r\n%b" % (len(BODY), BODY))
    await until(lambda: len(came) == 1)
    writer.close()
    await until(lambda: len(sink.got) == 1)
    assert sink.of("request")[0].body == BODY


async def test_probes_and_other_requests_without_payloads_are_not_logged(
    running: Running, serve: Serve, sink: Sink
) -> None:
    await one(running, sink, serve)
    for path in ("/v2/models/iris/ready", "/v1/models/iris", "/v2/health/ready"):
        await running.fetch("GET", path)
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(running) == {"written": 1})
    assert len(sink.got) == 2


async def test_credentials_are_never_logged_and_headers_match_in_any_spelling(
    running: Running, serve: Serve, sink: Sink
) -> None:
    await one(running, sink, serve, headers=("AUTHORIZATION", "Cookie", "x-API-key", "x-trace-ID"), redact=("x-user",))
    await running.fetch("POST", PREDICT, BODY, authorization="Bearer s3cret", cookie="s3cret", x_trace_id="7")
    await until(lambda: len(sink.got) == 2)
    assert json.loads(sink.got[0].headers["ce-metadata"]) == {"X-Trace-Id": ["7"]}
    assert "s3cret" not in str(sink.got)


async def test_redaction(running: Running, serve: Serve, sink: Sink) -> None:
    rules = ("$..name", "/[0-9]{16}/", "x-user")
    await one(running, sink, serve, answering(b"name=Ada, no JSON"), headers=("x-user",), redact=rules)
    body = b'{"instances":[{"name":"Ada","card":"1234567812345678","age":36}]}'
    await running.fetch("POST", PREDICT, body, x_user="Ada")
    await until(lambda: len(sink.got) == 2)
    (request,), (response,) = sink.of("request"), sink.of("response")
    assert json.loads(request.body) == {"instances": [{"name": "[REDACTED]", "card": "[REDACTED]", "age": 36}]}
    assert json.loads(request.headers["ce-metadata"]) == {"X-User": ["[REDACTED]"]}
    assert response.body == b""  # it cannot be looked through
    assert response.headers["ce-withheld"] == "true"


async def test_sampling(running: Running, serve: Serve, sink: Sink) -> None:
    await one(running, sink, serve, sample=0.2, mode="request")
    for _ in range(400):
        await running.fetch("POST", PREDICT, BODY)
    (tap,) = running.gateway.fleet.services[0].observers
    assert isinstance(tap, Tap)
    await until(lambda: tap.under_way == 0)
    assert 30 < len(sink.got) < 150
    assert logged(running) == {"written": len(sink.got)}


@pytest.mark.parametrize("size", [400_000, 3_000_000])
async def test_of_a_large_payload_the_beginning_is_logged(
    running: Running, serve: Serve, sink: Sink, size: int
) -> None:
    body = bytes(range(250)) * (size // 250)
    await one(running, sink, serve, answering(body[::-1]), limit=1000)
    answer = await running.fetch("POST", PREDICT, body)
    assert answer.body == body[::-1]
    await until(lambda: len(sink.got) == 2)
    (request,), (response,) = sink.of("request"), sink.of("response")
    assert (request.body, response.body) == (body[:1000], body[::-1][:1000])
    assert {event.headers["ce-truncated"] for event in sink.got} == {"true"}
    assert {event.headers["ce-size"] for event in sink.got} == {str(size)}


@pytest.mark.parametrize("serving", ["plain", "serve"])
async def test_a_stream_is_passed_on_part_by_part_and_logged_whole(
    running: Running, sink: Sink, serving: str, plain: Serve, serve: Serve
) -> None:
    """KServe's logger kept the parts back in its time, and keeps the whole of an endless answer in memory."""
    streaming: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        exchange.start(200, (), b"text/event-stream")
        exchange.write(b"data: 1\n\n")
        streaming.append(exchange)

    await one(running, sink, {"plain": plain, "serve": serve}[serving], app, limit=20)
    reader, writer = await running.connect()
    writer.write(b"POST %b HTTP/1.1\r\nhost: iris-default.example.com\r\n" % PREDICT.encode())
    writer.write(b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
    async with asyncio.timeout(5):
        await reader.readuntil(b"data: 1\n\n")  # the replica has not ended, nor has the request
        writer.write(b"3\r\ndef\r\n0\r\n\r\n")
        for _ in range(10):
            streaming[0].write(b"data: 2\n\n")
        streaming[0].finish()
        await reader.readuntil(b"0\r\n\r\n")
    await until(lambda: len(sink.got) == 2)
    assert sink.of("request")[0].body == b"abcdef"
    response = sink.of("response")[0]
    assert response.body == (b"data: 1\n\n" + b"data: 2\n\n" * 10)[:20]
    assert response.headers["ce-size"] == "99"
    writer.close()


async def test_a_batch_is_one_post(running: Running, serve: Serve, sink: Sink) -> None:
    await one(running, sink, serve, batch=6, interval=20.0)
    for _ in range(3):
        await running.fetch("POST", PREDICT, BODY, content_type="application/json")
    await until(lambda: logged(running).get("written") == 3 or bool(sink.got), 10)
    total = [event for posted in sink.got for event in json.loads(posted.body)]
    assert sink.got[0].headers["content-type"] == "application/cloudevents-batch+json"
    assert {event["specversion"] for event in total} == {"1.0"}
    assert total[0]["data"] == json.loads(BODY)


async def test_a_sink_that_fails_for_now_gets_the_events_later(running: Running, serve: Serve, sink: Sink) -> None:
    sink.answer = lambda number: 503 if number <= 3 else 202
    await one(running, sink, serve)
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: len(sink.got) == 2, 10)
    await until(lambda: logged(running) == {"written": 1})
    assert sink.asked == 5


async def test_an_event_that_a_sink_refuses_is_counted_and_not_sent_again(
    running: Running, serve: Serve, sink: Sink
) -> None:
    sink.answer = lambda number: 400
    await one(running, sink, serve)
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(running) == {"failed": 1})
    assert sink.asked == 2


@pytest.mark.parametrize("kind", ["hangs", "is gone"])
async def test_a_dead_sink_slows_no_request_and_bounds_memory(
    running: Running, serve: Serve, sink: Sink, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(defaults, "LOG_QUEUE", 20)
    monkeypatch.setattr(defaults, "LOG_FLUSH", 0.1)
    url = sink.url
    if kind == "hangs":
        sink.hang.clear()
    else:
        url = "http://127.0.0.1:1/"
    running.route(iris(await serve(answering()), logging=Logging(url=url)))
    answers = await asyncio.gather(*(running.fetch("POST", PREDICT, BODY) for _ in range(200)))
    assert {answer.status for answer in answers} == {200}
    assert logged(running)["dropped"] == 180
    sink.hang.set()
    if kind == "hangs":
        await until(lambda: logged(running).get("written") == 20)
    await running.end()


async def test_the_bytes_under_way_are_bounded_too(
    running: Running, serve: Serve, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(defaults, "LOG_QUEUE_BYTES", 250_000)
    sink.hang.clear()
    await one(running, sink, serve)
    for _ in range(5):
        await running.fetch("POST", PREDICT, b"x" * 100_000)
    assert logged(running) == {"dropped": 3}
    sink.hang.set()
    await until(lambda: logged(running) == {"dropped": 3, "written": 2})
    await running.fetch("POST", PREDICT, b"x" * 100_000)
    await until(lambda: logged(running) == {"dropped": 3, "written": 3})


async def test_a_log_that_hangs_holds_up_no_other(running: Running, serve: Serve, sink: Sink) -> None:
    good = Sink()
    address = await serve(answering())
    sink.hang.clear()
    other = iris(address, logging=Logging(url=good.url), component="transformer", hosts=("t.x",), entry=False)
    running.route(iris(address, logging=Logging(url=sink.url)), other)
    for _ in range(50):
        await running.fetch("POST", PREDICT, BODY)
        await running.fetch("POST", PREDICT, BODY, host="t.x")
    await until(lambda: len(good.got) == 100)
    assert good.got[0].headers["ce-component"] == "transformer"
    sink.hang.set()
    good.server.shutdown()
    good.server.server_close()


async def test_a_writer_that_is_killed_is_started_again(running: Running, serve: Serve, sink: Sink) -> None:
    await one(running, sink, serve)
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(running) == {"written": 1})
    channel = running.gateway._payloads
    assert channel._child is not None
    sink.hang.clear()
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: sink.asked == 3)
    channel._child.kill()
    await until(lambda: logged(running) == {"written": 1, "lost": 1})
    sink.hang.set()
    await running.fetch("POST", PREDICT, BODY)
    await until(lambda: logged(running) == {"written": 2, "lost": 1}, 10)


async def test_what_is_under_way_is_written_when_the_gateway_ends(running: Running, serve: Serve, sink: Sink) -> None:
    await one(running, sink, serve)
    for _ in range(50):
        await running.fetch("POST", PREDICT, BODY)
    await running.end()
    assert len(sink.got) == 100


async def test_settings_that_change_begin_another_log_and_none_costs_nothing(
    running: Running, serve: Serve, sink: Sink
) -> None:
    address = await serve(answering())
    running.route(iris(address))
    await running.fetch("POST", PREDICT, BODY)
    assert running.gateway._payloads._task is None  # no process without a log
    running.route(iris(address, logging=Logging(url=sink.url)))
    (service,) = running.gateway.fleet.services
    tap = service.observers
    running.route(iris(address, logging=Logging(url=sink.url)), version=2)
    assert service.observers == tap
    await running.fetch("POST", PREDICT, BODY)
    running.route(iris(address, logging=Logging(url=sink.url, mode="request")))
    await running.fetch("POST", PREDICT, BODY)
    running.route(iris(address))
    await running.fetch("POST", PREDICT, BODY)
    assert service.observers == ()
    await until(lambda: logged(running) == {"written": 2})
    assert len(sink.got) == 3
