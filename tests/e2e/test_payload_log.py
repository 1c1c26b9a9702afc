"""`logger:` of a manifest on the running product: events, files, and what happens when processes die."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from .product import Product, service, until

Event = tuple[dict[str, str], bytes]


@pytest.fixture(scope="module")
def sink() -> Iterator[tuple[str, list[Event]]]:
    got: list[Event] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", got
    server.shutdown()
    server.server_close()


ROW = [5.1, 3.5, 1.4, 0.2]


def logging(iris_model: Path, logger: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"sklearn": {"storageUri": str(iris_model)}, "logger": {"mode": "all", **logger}, **more}


def test_unbatched_requests_and_their_responses_are_logged_on_v1_and_v2(
    product: Product, iris_model: Path, sink: tuple[str, list[Event]]
) -> None:
    """With its batcher on, KServe's logger drops every response."""
    url, got = sink
    manifest = service("logged", logging(iris_model, {"url": url}, batcher={"maxBatchSize": 8, "maxLatency": 20}))
    product.apply(manifest)
    v1 = {"instances": [ROW]}
    v2 = {"inputs": [{"name": "x", "datatype": "FP64", "shape": [1, 4], "data": ROW}]}
    with ThreadPoolExecutor(16) as callers:
        answers = [
            *callers.map(lambda n: product.ask("logged", "v1" if n % 2 else "v2", v1 if n % 2 else v2), range(40))
        ]
    assert {answer.status_code for answer in answers} == {200}
    until(lambda: len(got) == 80, "both events of each request")
    kinds: dict[str, list[Event]] = {}
    for event in got:
        kinds.setdefault(event[0]["ce-type"].rpartition(".")[2], []).append(event)
    assert len(kinds["request"]) == len(kinds["response"]) == 40
    assert all(len(json.loads(body).get("instances", [ROW])) == 1 for _, body in kinds["request"])  # not joined
    assert {headers["ce-id"] for headers, _ in kinds["request"]} == {h["ce-id"] for h, _ in kinds["response"]}
    headers = kinds["response"][0][0]
    assert headers["ce-inferenceservicename"] == "logged"
    assert headers["ce-revision"].startswith("logged-predictor-")
    assert headers["ce-source"].startswith("logged-predictor-")
    got.clear()


def test_files_are_whole_though_the_gateway_is_killed(product: Product, iris_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "payloads"
    storage = {"path": str(folder), "parameters": {"format": "parquet"}}
    product.apply(service("filed", logging(iris_model, {"storage": storage})))
    for _ in range(20):
        assert product.ask("filed", "v1", {"instances": [ROW]}).status_code == 200

    def written() -> bool:
        lines = httpx.get(f"{product.http}/metrics").text.splitlines()
        return any('service="filed"' in line and 'result="written"} 20' in line for line in lines)

    until(written, "the gateway has handed all over")  # what it has not is lost with it
    gateway = next(one for one in product.processes("colonnade.gateway") if "payloads" not in " ".join(one.cmdline()))
    os.kill(gateway.pid, signal.SIGKILL)
    files = until(lambda: list(folder.glob("default/filed/predictor/date=*/*.parquet")), "a file")
    read = f"read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
    query = f"SELECT reqType, count(*), count(DISTINCT id), min(date) IS NOT NULL FROM {read} GROUP BY 1 ORDER BY 1"
    rows = duckdb.sql(query).fetchall()
    assert [(row[0].rpartition(".")[2], *row[1:]) for row in rows] == [
        ("request", 20, 20, True),
        ("response", 20, 20, True),
    ]
    assert len(files) == 1


def test_a_log_begins_when_its_volume_is_there(product: Product, iris_model: Path) -> None:
    storage = {"path": "pvc://later/logs", "parameters": {"format": "json"}}
    product.apply(service("late", logging(iris_model, {"storage": storage, "batchInterval": "1s"})))

    def condition() -> dict[str, str]:
        found = json.loads(product.colonnade("get", "isvc", "late", "-o", "json"))["status"]["conditions"]
        return next((each for each in found if each["type"] == "PayloadLogReady"), {})

    told = until(condition, "the missing log is told")
    assert told["status"] == "False"
    assert "no volume for the claim 'later'" in told["message"]
    assert "payloads are not logged" in product.colonnade("get", "events")

    folder = product.state / "volumes" / "default" / "later"
    folder.mkdir(parents=True)
    until(lambda: condition()["status"] == "True", "the volume is found")

    def logged() -> list[Path]:
        assert product.ask("late", "v1", {"instances": [ROW]}).status_code == 200
        return list((folder / "logs").glob("**/*.json"))

    until(logged, "payloads are logged")


def test_a_logger_that_makes_no_sense_is_refused(product: Product, iris_model: Path) -> None:
    manifest = service("wrong", logging(iris_model, {"url": "ftp://x"}))
    said = product.colonnade("apply", "-f", "-", data=json.dumps(manifest), code=1)
    assert "spec.predictor.logger" in said
