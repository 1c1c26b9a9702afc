"""HTTP through a gateway to real upstreams: routes, fields, bodies, refusals."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import uvicorn

from colonnade.gateway.forward import WHOLE_ANSWER, WHOLE_REQUEST
from colonnade.gateway.routes import Route
from colonnade.net import Exchange
from colonnade.version import __version__
from colonnade.wire import v2

from .conftest import HOST, LABELS, Running, Serve, Start, iris, until


def echo(exchange: Exchange) -> None:
    """Answers with the request as it arrived; the body's size instead of a large body."""

    def done(body: bytes) -> None:
        seen = {
            "method": exchange.method.decode(),
            "target": exchange.target.decode(),
            "headers": {name.decode(): value.decode() for name, value in exchange.headers.items()},
            "size": len(body),
            "body": body[:100].decode("latin-1"),
        }
        exchange.reply(200, json.dumps(seen).encode(), headers=[(b"x-replica", b"r"), (b"keep-alive", b"timeout=5")])

    exchange.collect(done)


async def test_request_reaches_the_replica_and_comes_back(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(echo)))
    answer = await running.fetch("POST", "/v1/models/iris:predict?a=1&b=%20", b'{"instances":[]}', x_own="1")
    assert answer.status == 200
    fields = dict(answer.headers)
    assert fields[b"x-replica"] == b"r"
    assert b"keep-alive" not in fields
    seen = json.loads(answer.body)
    assert seen["target"] == "/v1/models/iris:predict?a=1&b=%20"
    assert seen["body"] == '{"instances":[]}'
    headers = seen["headers"]
    assert headers["host"] == HOST
    assert headers["x-own"] == "1"
    assert headers["x-forwarded-for"] == "127.0.0.1"
    assert headers["x-forwarded-host"] == HOST
    assert headers["x-forwarded-proto"] == "http"
    assert headers["x-request-id"]
    assert headers["content-length"] == "16"


async def test_requests_with_the_same_head_differ_in_path_body_and_id_only(running: Running, serve: Serve) -> None:
    """The head to the replica is kept from one request to the next; nothing of one request may stay in it."""
    running.route(iris(await serve(echo)))
    made = set()
    for body, identity in ((b"1", "theirs-1"), (b"2", "theirs-2"), (b"3", None), (b"4", None), (b"5", "not a word")):
        fields = {} if identity is None else {"x_request_id": identity}
        seen = json.loads((await running.fetch("POST", "/v2/models/iris/infer", body, **fields)).body)
        assert seen["body"] == body.decode()
        assert identity in (None, seen["headers"]["x-request-id"])
        made.add(seen["headers"]["x-request-id"])
    assert len(made) == 5
    for host, path in ((HOST, "/serving/default/iris/x"), ("127.0.0.1", "/serving/default/iris/x")):
        seen = json.loads((await running.fetch("POST", path, b"6", host=host)).body)
        assert seen["target"] == (path if host == HOST else "/x")


async def test_a_new_table_changes_where_a_remembered_head_goes(running: Running, serve: Serve) -> None:
    port = await serve(echo)
    path = "/serving/default/iris/x"
    running.route(iris(port))
    assert json.loads((await running.fetch("POST", path, b"1")).body)["target"] == path, "the host decides"
    running.route(iris(port, hosts=()))
    assert json.loads((await running.fetch("POST", path, b"2")).body)["target"] == "/x"


async def test_path_and_model_routes(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(echo)))
    for path, target in (
        ("/serving/default/iris/v2/models/iris", "/v2/models/iris"),
        ("/serving/default/iris?x=1", "/?x=1"),
        ("/v2/models/iris/infer", "/v2/models/iris/infer"),
    ):
        answer = await running.fetch("GET", path, host="127.0.0.1")
        assert json.loads(answer.body)["target"] == target


@pytest.mark.parametrize("size", [0, 1, WHOLE_REQUEST, WHOLE_REQUEST + 1, 5 * WHOLE_REQUEST])
async def test_request_bodies_of_all_sizes(running: Running, serve: Serve, size: int) -> None:
    running.route(iris(await serve(echo)))
    answer = await running.fetch("POST", "/x", b"b" * size)
    seen = json.loads(answer.body)
    assert seen["size"] == size
    assert seen["headers"]["content-length"] == str(size), "an announced length stays announced"


@pytest.mark.parametrize("size", [0, 1, WHOLE_ANSWER, WHOLE_ANSWER + 1, 5_000_000])
@pytest.mark.parametrize("announced", [True, False])
async def test_answers_of_all_sizes(running: Running, serve: Serve, size: int, announced: bool) -> None:
    def app(exchange: Exchange) -> None:
        if announced:
            exchange.reply(201, b"a" * size, content_type=b"", headers=[(b"set-cookie", b"1"), (b"set-cookie", b"2")])
        else:
            exchange.start(201, content_type=b"text/plain")
            exchange.write(b"a" * size)
            exchange.finish()

    running.route(iris(await serve(app)))
    answer = await running.fetch("GET", "/x")
    assert answer.status == 201
    assert answer.body == b"a" * size
    fields = dict(answer.headers)
    if announced:
        assert b"content-type" not in fields
        assert [value for name, value in answer.headers if name == b"set-cookie"] == [b"1", b"2"]
    else:
        assert fields[b"content-type"] == b"text/plain"


async def test_head_and_bodiless_answers(running: Running, serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        exchange.reply(int(exchange.path[1:]), b"12345")

    running.route(iris(await serve(app)))
    answer = await running.fetch("HEAD", "/200")
    assert (answer.status, answer.body, dict(answer.headers)[b"content-length"]) == (200, b"", b"5")
    for status in (204, 304):
        answer = await running.fetch("GET", f"/{status}")
        assert (answer.status, answer.body) == (status, b"")
    assert (await running.fetch("GET", "/500")).body == b"12345"


async def test_parts_of_an_answer_arrive_before_its_end(running: Running, serve: Serve) -> None:
    held: list[Exchange] = []

    def app(exchange: Exchange) -> None:
        exchange.start(200, content_type=b"text/event-stream")
        exchange.write(b"data: 1\n\n")
        held.append(exchange)

    running.route(iris(await serve(app)))
    reader, writer = await running.connect()
    writer.write(f"GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"transfer-encoding: chunked" in head
    assert b"text/event-stream" in head
    assert await reader.readuntil(b"1\n\n\r\n") == b"9\r\ndata: 1\n\n\r\n"
    held[0].write(b"data: 2\n\n")
    assert await reader.readuntil(b"2\n\n\r\n") == b"9\r\ndata: 2\n\n\r\n"
    held[0].finish()
    assert await reader.readuntil(b"0\r\n\r\n")
    writer.close()


async def test_parts_of_a_request_arrive_before_its_end(running: Running, serve: Serve) -> None:
    parts: list[bytes] = []

    def app(exchange: Exchange) -> None:
        exchange.stream(parts.append, lambda: exchange.reply(200, b"".join(parts)))

    running.route(iris(await serve(app)))
    reader, writer = await running.connect()
    writer.write(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n".encode())
    await until(lambda: b"".join(parts) == b"abc")
    writer.write(b"2\r\nde\r\n0\r\n\r\n")
    assert (await reader.readuntil(b"abcde")).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_answer_before_the_request_is_complete(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(lambda exchange: exchange.reply(403, b"no"))))
    reader, writer = await running.connect()
    writer.write(f"POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-length: {WHOLE_REQUEST * 4}\r\n\r\nabc".encode())
    assert (await reader.readuntil(b"no")).startswith(b"HTTP/1.1 403")
    writer.close()


async def test_keep_alive_and_pipelining(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(lambda exchange: exchange.reply(200, exchange.path))))
    reader, writer = await running.connect()
    writer.write(b"".join(f"GET /p{i}. HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode() for i in range(20)))
    for i in range(20):
        assert (await reader.readuntil(b"/p%d." % i)).startswith(b"HTTP/1.1 200")
    writer.close()


async def test_unknown_and_not_ready(running: Running) -> None:
    running.route(
        Route("default", "slow", "slow", ("slow.example.com",), reason="replica slow-0 loads its model"),
        Route("a", "twin", "twin", ("twin-a.example.com",)),
        Route("b", "twin", "twin", ("twin-b.example.com",)),
    )
    answer = await running.fetch("POST", "/v1/models/zz:predict", b"{}", host="localhost")
    assert answer.status == 404
    assert json.loads(answer.body)["error"].startswith("Model with name zz does not exist. Services here: a/twin")
    answer = await running.fetch("POST", "/v1/models/slow:predict", b"{}", host="localhost")
    assert answer.status == 503
    assert dict(answer.headers)[b"retry-after"] == b"1"
    assert json.loads(answer.body)["error"] == "Service default/slow is not ready: replica slow-0 loads its model"
    answer = await running.fetch("GET", "/v2/models/twin", host="localhost")
    assert answer.status == 409
    assert (await running.fetch("GET", "/what", host="localhost")).status == 404


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", {"status": "alive"}),
        ("GET", "/healthz", {"status": "alive"}),
        ("GET", "/v2/health/live", {"live": True}),
        ("GET", "/v2/health/ready", {"ready": True}),
        ("GET", "/v1/models", {"models": ["iris", "slow"]}),
        ("GET", "/v2/models", {"models": ["iris", "slow"]}),
    ],
)
async def test_own_routes(running: Running, serve: Serve, method: str, path: str, expected: dict[str, Any]) -> None:
    running.route(iris(await serve(echo)), Route("default", "slow", "slow", reason="loads"))
    answer = await running.fetch(method, path, host="127.0.0.1")
    assert (answer.status, json.loads(answer.body)) == (200, expected)
    assert (await running.fetch("POST", path, host="127.0.0.1")).status == 405
    assert json.loads((await running.fetch(method, path)).body)["target"] == path, "a service's host goes to it"


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("*", b"GET, HEAD, POST, OPTIONS"),
        ("/", b"GET, HEAD, OPTIONS"),
        ("/v2/models", b"GET, HEAD, OPTIONS"),
        ("/metrics", b"GET, HEAD, OPTIONS"),
        ("/v2/repository/index", b"POST, OPTIONS"),
    ],
)
async def test_options(running: Running, serve: Serve, path: str, allow: bytes) -> None:
    running.route(iris(await serve(echo)))
    answer = await running.fetch("OPTIONS", path, host="x")
    assert (answer.status, answer.body, dict(answer.headers)[b"allow"]) == (204, b"", allow)
    answer = await running.fetch("OPTIONS", path)
    assert json.loads(answer.body)["method"] == "OPTIONS", "a service's host goes to it"


async def test_index_and_server_metadata(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(echo)), Route("default", "slow", "slow", reason="loads"))
    answer = await running.fetch("POST", "/v2/repository/index", host="x")
    assert json.loads(answer.body) == [
        {"name": "iris", "state": "READY", "reason": ""},
        {"name": "slow", "state": "UNAVAILABLE", "reason": "loads"},
    ]
    answer = await running.fetch("POST", "/v2/repository/index", b'{"ready":true}', host="x")
    assert [entry["name"] for entry in json.loads(answer.body)] == ["iris"]
    assert (await running.fetch("POST", "/v2/repository/index", b"[", host="x")).status == 400
    told = (await running.fetch("GET", "/v2", host="x")).body
    assert json.loads(told) == json.loads(v2.server_metadata("colonnade", __version__)), "as a replica does"


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("x", "/v2/repository/models/iris/unload"),
        (HOST, "/v2/repository/models/iris/load"),
        ("x", "/serving/default/iris/v2/repository/models/iris/unload/"),
        (HOST, "/v2/rep%6fsitory/models/iris/unlo%61d"),
    ],
)
async def test_load_and_unload_are_the_platforms(running: Running, serve: Serve, host: str, path: str) -> None:
    """An unloaded replica leaves the routes, so that no `load` would bring it back."""
    running.route(iris(await serve(echo)))
    answer = await running.fetch("POST", path, host=host)
    assert (answer.status, dict(answer.headers)[b"allow"]) == (405, b"")
    assert "change the InferenceService" in json.loads(answer.body)["error"]
    assert (await running.fetch("POST", "/v2/repository/index")).status == 200


async def test_token(start: Start, serve: Serve) -> None:
    running = await start(token="s3cret", require_token=True, grace=0.3)
    running.route(iris(await serve(echo)))
    assert (await running.fetch("GET", "/x")).status == 401
    answer = await running.fetch("GET", "/x", authorization="Bearer wrong")
    assert answer.status == 401
    assert dict(answer.headers)[b"www-authenticate"].startswith(b"Bearer")
    assert b"s3cret" not in answer.body
    answer = await running.fetch("GET", "/x", authorization="bearer s3cret")
    assert answer.status == 200
    assert "authorization" not in json.loads(answer.body)["headers"]
    for path in ("/", "/healthz", "/v2/health/live", "/v2/health/ready"):
        assert (await running.fetch("GET", path, host="x")).status == 200
    for path in ("/metrics", "/v1/models", "/v2/models/zz"):
        answer = await running.fetch("GET", path, host="x")
        assert answer.status == 401
        assert b"iris" not in answer.body


async def test_foreign_credential_passes(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(echo)))
    answer = await running.fetch("GET", "/x", authorization="Bearer theirs")
    assert json.loads(answer.body)["headers"]["authorization"] == "Bearer theirs"


async def test_timeout_of_a_route(running: Running, serve: Serve) -> None:
    left: list[str] = []

    def app(exchange: Exchange) -> None:
        exchange.on_disconnect(lambda: left.append("gone"))
        if exchange.path == b"/started":
            exchange.start(200)
            exchange.write(b"some")

    running.route(iris(await serve(app), timeout=0.1))
    answer = await running.fetch("POST", "/x", b"{}")
    assert answer.status == 504
    assert "0.1 s" in json.loads(answer.body)["error"]
    await until(lambda: left == ["gone"])
    reader, writer = await running.connect()
    writer.write(f"GET /started HTTP/1.1\r\nhost: {HOST}\r\n\r\n".encode())
    with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
        await reader.readuntil(b"0\r\n\r\n")
    writer.close()


async def test_limit_on_requests_in_flight(start: Start, serve: Serve) -> None:
    running = await start(max_in_flight=2, grace=0.3)
    held: list[Exchange] = []
    running.route(iris(await serve(held.append)))
    first = [asyncio.create_task(running.fetch("GET", "/x")) for _ in range(2)]
    await until(lambda: len(held) == 2)
    answer = await running.fetch("GET", "/x")
    assert answer.status == 503
    assert dict(answer.headers)[b"retry-after"] == b"1"
    for exchange in held:
        exchange.reply(200, b"ok")
    assert [one.status for one in await asyncio.gather(*first)] == [200, 200]


async def test_body_over_the_limit(start: Start, serve: Serve) -> None:
    running = await start(max_body=1000, grace=0.3)
    running.route(iris(await serve(echo)))
    assert (await running.fetch("POST", "/x", b"x" * 1000)).status == 200
    assert (await running.fetch("POST", "/x", b"x" * 1001)).status == 413
    assert (await running.metrics())['colonnade_gateway_in_flight{protocol="http"}'] == 0


async def test_metrics(running: Running, serve: Serve) -> None:
    running.route(iris(await serve(lambda exchange: exchange.reply(int(exchange.path[1:])))))
    for status in (200, 200, 404, 500):
        await running.fetch("GET", f"/{status}")
    numbers = await running.metrics()
    labels = f'{LABELS},protocol="http"'
    assert numbers[f'colonnade_gateway_requests_total{{{labels},code="2xx"}}'] == 2
    assert numbers[f'colonnade_gateway_requests_total{{{labels},code="4xx"}}'] == 1
    assert numbers[f'colonnade_gateway_requests_total{{{labels},code="5xx"}}'] == 1
    assert numbers[f"colonnade_gateway_request_seconds_count{{{labels}}}"] == 4
    running.route()
    assert not any("iris" in name for name in await running.metrics()), "a service that is gone is still counted"


class Foreign(BaseHTTPRequestHandler):
    """An HTTP/1.0 upstream: the answer's end is the end of the connection."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.upper())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def http10() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Foreign)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_http10_upstream(running: Running, http10: str) -> None:
    running.route(iris(http10))
    for _ in range(3):
        answer = await running.fetch("POST", "/x", b"abc" * 50_000)
        assert (answer.status, answer.body) == (200, b"ABC" * 50_000)


@pytest.fixture
async def asgi() -> AsyncIterator[str]:
    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/x")]})
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            await send({"type": "http.response.body", "body": message["body"], "more_body": more})

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


async def test_asgi_upstream_both_ways_streamed(running: Running, asgi: str) -> None:
    running.route(iris(asgi))
    body = bytes(range(256)) * 20_000
    answer = await running.fetch("POST", "/x", body)
    assert (answer.status, answer.body) == (200, body)
    assert (await running.fetch("POST", "/x", b"small")).body == b"small"
