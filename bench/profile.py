"""How a request spends its microseconds: by part of the replica, and by what the CPU runs.

    python -m bench.profile      prints both tables, and leaves them for the report

The parts are timed in this process on transports without a socket: a turn of the event loop gives each connection one
request, and ends when all are answered. So the kernel has no share in them. `perf` sees a real server under load,
kernel and all, by shared object.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import uvloop

from bench import environments, machine, models, work
from bench.load import closed
from bench.machine import SCRATCH, WORK
from bench.requests import FLOWER, flower
from bench.results import Figures
from bench.servers import SERVERS, launch
from colonnade.net import Exchange, HttpServer
from colonnade.net.connection import Connection
from colonnade.server import arguments as command_line
from colonnade.server import loading
from colonnade.server.compiling import Compiling
from colonnade.server.metrics import ReplicaMetrics
from colonnade.server.repository import Repository
from colonnade.server.routes import Router
from colonnade.wire import v2
from colonnade.wire.tensors import InferResponse, Tensor

PROFILE = WORK / "profile.json"
SIZES = (1, 64)  # requests in a turn
SECONDS = 0.5  # of each timing
PROFILED = ("bare", "replica", "gateway")
OBJECTS = {  # shared objects that have a share worth a column, by the start of their names
    "kernel": "kernel",
    "libpython": "Python",
    "python": "Python",
    "libonnxruntime": "ONNX Runtime",
    "onnxruntime": "ONNX Runtime",
    "loop": "uvloop",
    "parser": "httptools",
    "_core": "msgspec",
    "_multiarray": "numpy",
    "libc": "libc",
}


class Profile(msgspec.Struct):
    """Both tables: µs a request by part for each size of a turn; percent of CPU time by shared object and server."""

    parts: dict[int, Figures]
    objects: dict[str, Figures]


class Transport(asyncio.Transport):
    """A socket that takes everything at once."""

    def __init__(self) -> None:
        super().__init__()
        self.answers = 0

    def write(self, data: Any) -> None:
        self.answers += 1

    def writelines(self, chunks: Any) -> None:
        self.answers += 1

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0


def parts() -> dict[int, Figures]:
    """CPU µs of a request in each part of the replica."""
    return uvloop.run(_parts())


async def _parts() -> dict[int, Figures]:
    model = models.MODELS / "iris.onnx"
    body = flower("iris").body.read_bytes()
    run = work.load(str(model))
    request = v2.decode(body, None, "iris", "1")
    labels = run(FLOWER)
    answer = InferResponse("iris", [Tensor.of("label", labels)], model_version="1", id="1")
    replica = await _replica(model)
    static = HttpServer(lambda exchange: exchange.collect(lambda _: _reply(exchange)))
    found: dict[int, Figures] = {}
    for size in SIZES:
        rows = np.repeat(FLOWER, size, axis=0)
        total = await _turns(replica, body, size)
        figures = {
            "HTTP: read, parse, write": await _turns(static, body, size),
            "decode the tensors": _calls(lambda: v2.decode(body, None, "iris", "1")),
            "the model": _calls(partial(run, rows)) / size,
            "encode the answer": _calls(lambda: v2.encode(answer, request)),
        }
        figures["route, admit, batch, count"] = total - sum(figures.values())
        found[size] = {**figures, "all": total}
    return found


def _reply(exchange: Exchange) -> None:
    exchange.reply(200, b'{"model_name":"iris","outputs":[]}', b"application/json")


async def _replica(model: Path) -> HttpServer:
    """A replica that serves the model to whoever connects by hand."""
    given = command_line.parse(["--model-name", "iris", "--model-dir", str(model)])
    compiling = Compiling(given.compile, given.compile_cache, given.compile_report)
    metrics = ReplicaMetrics()
    repository = Repository(given.policy, metrics.observer)
    router = Router(repository, metrics, given.max_body, given.max_message, compiling)
    repository.add("iris", loading.from_artefact(given, asyncio.get_running_loop(), compiling))
    await repository.load("iris")
    return HttpServer(router)


async def _turns(server: HttpServer, body: bytes, size: int) -> float:
    """CPU µs of a request, when `size` of them come in each turn of the event loop."""
    path = b"/v2/models/iris/infer"
    head = b"POST %b HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    message = head % (path, len(body)) + body
    transports = [Transport() for _ in range(size)]
    connections = [Connection(server) for _ in range(size)]
    for connection, transport in zip(connections, transports, strict=True):
        connection.connection_made(transport)

    async def turn() -> None:
        due = transports[-1].answers + 1
        for connection in connections:
            connection.data_received(message)
        while any(transport.answers < due for transport in transports):
            await asyncio.sleep(0)

    return await _timed(turn) / size


async def _timed(turn: Callable[[], Awaitable[None]]) -> float:
    """CPU µs of a turn, the median of many."""
    took = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.process_time_ns()
        await turn()
        took.append(time.process_time_ns() - start)
    return float(np.median(took)) / 1e3


def _calls(function: Callable[[], object]) -> float:
    """CPU µs of a call, the median of many hundreds."""
    took = []
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        start = time.process_time_ns()
        for _ in range(100):
            function()
        took.append(time.process_time_ns() - start)
    return float(np.median(took)) / 100 / 1e3


def objects(server: str) -> Figures:
    """Percent of a loaded server's CPU time, by shared object."""
    request = flower("iris")
    data = SCRATCH / "perf.data"
    with launch(server, models.MODELS / "iris.onnx", request) as running:
        pids = ",".join(str(process.pid) for process in running.processes())
        command = ["perf", "record", "-e", "cpu-clock", "-F", "997", "-p", pids, "-o", str(data)]
        recording = subprocess.Popen(
            [*command, "--", "sleep", "3"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        closed.run(request, running.port, running.headers, 64, 4, running.answer_bytes)
        recording.wait()
    listed = ["perf", "report", "-i", str(data), "--sort", "dso", "--stdio"]
    text = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    figures: Figures = {}
    for percent, name in re.findall(r"^\s+([\d.]+)%\s+(\S+)", text, re.MULTILINE):
        start = name.strip("[]").rpartition("/")[2]
        title = next((title for prefix, title in OBJECTS.items() if start.startswith(prefix)), "other")
        figures[title] = figures.get(title, 0.0) + float(percent)
    return figures


def measure() -> Profile:
    """Both tables, which the report reads. Without `perf` the second is empty."""
    found = Profile(parts(), {})
    if shutil.which("perf") is None:
        print("perf is not installed (Debian's linux-perf): no shares by shared object", flush=True)
    else:
        found.objects = {server: objects(server) for server in PROFILED}
    PROFILE.write_bytes(msgspec.json.encode(found))
    return found


def tables(found: Profile) -> list[str]:
    """The profile in Markdown."""
    sizes = list(found.parts)
    lines = ["| CPU µs of a request, no kernel | " + " | ".join(f"{size} in a turn" for size in sizes) + " |"]
    lines.append("|---" * (1 + len(sizes)) + "|")
    for part in found.parts[sizes[0]]:
        lines.append(f"| {part} | " + " | ".join(f"{found.parts[size][part]:.1f}" for size in sizes) + " |")
    if not found.objects:
        return lines
    titles = list(dict.fromkeys([*OBJECTS.values(), "other"]))
    lines += ["", "| % of CPU time, 64 connections | " + " | ".join(titles) + " |", "|---" * (1 + len(titles)) + "|"]
    for server, figures in found.objects.items():
        cells = " | ".join(f"{figures.get(title, 0):.0f}" for title in titles)
        lines.append(f"| {SERVERS[server].title} | {cells} |")
    return lines


def load() -> Profile | None:
    """What was measured last, if anything was."""
    return msgspec.json.decode(PROFILE.read_bytes(), type=Profile) if PROFILE.exists() else None


def main() -> None:
    environments.require_tools(["wrk"])
    models.build()
    machine.take_load_core()
    machine.prepare()
    print("\n".join(tables(measure())))


if __name__ == "__main__":
    main()
