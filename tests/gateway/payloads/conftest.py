"""Sinks that events are posted to, as a user would run one."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import pytest

from ..conftest import MUX, Serve, running, serving, start

__all__ = ["running", "start"]


class Posted(NamedTuple):
    headers: dict[str, str]
    body: bytes


class Sink:
    """An HTTP server that keeps what is posted to it. `answer` decides the status by the number of the request."""

    def __init__(self) -> None:
        self.got: list[Posted] = []
        self.asked = 0
        self.answer: Callable[[int], int] = lambda number: 202
        self.hang = threading.Event()
        self.hang.set()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                sink.asked += 1
                number = sink.asked
                sink.hang.wait(30)
                status = sink.answer(number)
                if 200 <= status < 300:
                    sink.got.append(Posted({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/events"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def of(self, kind: str) -> list[Posted]:
        """The events of a kind, `request` or `response`."""
        return [one for one in self.got if one.headers["ce-type"] == f"org.kubeflow.serving.inference.{kind}"]


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    yield made
    made.hang.set()
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts upstreams that are spoken to in frames."""
    async with serving(MUX) as starter:
        yield starter


@pytest.fixture
async def plain() -> AsyncIterator[Serve]:
    """Starts upstreams that speak HTTP/1.1."""
    async with serving("") as starter:
        yield starter
