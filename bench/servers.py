"""Every server of the comparison: how it is started, and what else its requests carry.

`launch` starts one and waits for the right answer; nothing is measured on a server that gave a wrong one.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench import environments, machine
from bench.machine import SCRATCH, Unfit
from bench.requests import Request

START_TIMEOUT = 120.0
PORTS = 3  # HTTP, gRPC, and one for metrics or an API
NO_SETTINGS: Mapping[str, str] = {}
TOKEN = "bench-token-of-one-run"


@dataclass(frozen=True)
class Batching:
    """A peer's batching: rows at most, and how long a request may wait for others."""

    size: int
    delay: float

    def __str__(self) -> str:
        return f"up to {self.size}, {self.delay * 1000:g} ms"


@dataclass(frozen=True)
class Launch:
    """One start: of which model, under which name, where.

    Attributes:
        model: the model's file or folder.
        name: the served name.
        port: of HTTP; the next is gRPC's where a server has two.
        folder: for what the server writes.
        settings: of ours, where the work asks for other than the defaults: `compile: off` is `--compile off` of a
            replica and `colonnade.dev/compile: "off"` in a manifest.
        batching: a peer's, or None for none. Ours is never set: it decides by itself.
    """

    model: Path
    name: str
    port: int
    folder: Path
    settings: Mapping[str, str]
    batching: Batching | None


@dataclass(frozen=True)
class Server:
    """One row of the tables.

    Attributes:
        title: its name in the report.
        command: argv.
        environment: the name of its environment, or None for the project's.
        python: it is a peer written in Python.
        alone: it costs something while it idles, so it runs only in its own turn.
        headers: what its requests need.
        one_port: gRPC is on HTTP's port.
    """

    title: str
    command: Callable[[Launch], list[str]]
    environment: str | None = None
    python: bool = False
    alone: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    one_port: bool = False


@dataclass
class Running:
    """A server that answers.

    Attributes:
        port: where.
        headers: what its requests need.
        cold: seconds from its start to the first right answer.
        answer_bytes: size of the right answer's body.
    """

    root: psutil.Process
    port: int
    headers: Mapping[str, str]
    cold: float
    answer_bytes: int

    def processes(self) -> list[psutil.Process]:
        return machine.tree(self.root)


@contextmanager
def launch(
    name: str,
    model: Path,
    request: Request,
    *,
    settings: Mapping[str, str] = NO_SETTINGS,
    batching: Batching | None = None,
) -> Iterator[Running]:
    """Starts a server and ends it with all its processes.

    Raises:
        Unfit: it does not start, or does not answer rightly; says why.
    """
    server = SERVERS[name]
    if server.environment is not None:
        environments.install(server.environment)
    folder = SCRATCH / f"{name}-{request.body.name}-{model.name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    ports = machine.free_ports(PORTS)
    command = server.command(Launch(model, request.model, ports[0], folder, settings, batching))
    port = ports[1] if request.grpc and not server.one_port else ports[0]
    log = folder / "server.log"
    started = time.perf_counter()
    root = machine.spawn(command, log)
    try:
        size = _first_answer(root, request, port, server.headers, log)
        cold = time.perf_counter() - started
        machine.favour(machine.tree(root))
        yield Running(root, port, server.headers, cold, size)
    finally:
        machine.stop(root)


def _first_answer(root: psutil.Process, request: Request, port: int, headers: Mapping[str, str], log: Path) -> int:
    deadline = time.monotonic() + START_TIMEOUT
    last = "nothing listens"
    while True:
        try:
            return request.ask(port, headers)
        except OSError:
            pass
        except ValueError as error:
            last = str(error)
        if not machine.alive(root) or time.monotonic() > deadline:
            tail = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise Unfit(f"gives no right answer ({last}); its log ends: {' '.join(tail)[-200:]}")
        time.sleep(0.005)


# Ours.


def _replica(given: Launch) -> list[str]:
    serve = [sys.executable, "-m", "colonnade.server", "--model-name", given.name, "--model-dir", str(given.model)]
    ports = ["--http-port", str(given.port), "--grpc-port", str(given.port + 1)]
    return [*serve, *ports, *(word for key, value in given.settings.items() for word in (f"--{key}", value))]


def _gateway(given: Launch) -> list[str]:
    state = given.folder / "state"
    state.mkdir(mode=0o700)
    token = state / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    manifest = given.folder / "isvc.yaml"
    annotations = ", ".join(f'colonnade.dev/{key}: "{value}"' for key, value in given.settings.items())
    manifest.write_text(
        f"""apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: {given.name}
  annotations: {{{annotations}}}
spec:
  predictor:
    model:
      modelFormat: {{name: {_format(given.model)}}}
      protocolVersion: v2
      storageUri: {given.model}
"""
    )
    program = Path(sys.executable).with_name("colonnade")
    ports = [str(given.port + offset) for offset in range(PORTS)]
    listen = ["--http-port", ports[0], "--grpc-port", ports[1], "--api-port", ports[2], "--require-token"]
    return [str(program), "--state-dir", str(state), "up", *listen, "-f", str(manifest)]


def _format(model: Path) -> str:
    return {".onnx": "onnx", ".joblib": "sklearn", "": "python"}[model.suffix]


# The limits and the peers.


def _loop(given: Launch) -> list[str]:
    return [sys.executable, "-m", "bench.limits.loop", "--model", str(given.model), "--port", str(given.port)]


def _batched_loop(given: Launch) -> list[str]:
    return [*_loop(given), "--batch", "64"]


def _grpc_loop(given: Launch) -> list[str]:
    return [sys.executable, "-m", "bench.limits.grpc_loop", "--model", str(given.model), "--port", str(given.port)]


def _peer(environment: str, module: str, *extra: str) -> Callable[[Launch], list[str]]:
    def command(given: Launch) -> list[str]:
        argv = [str(environments.python(environment)), "-m", f"bench.peers.{module}", "--model", str(given.model)]
        argv += ["--name", given.name, "--port", str(given.port), "--folder", str(given.folder)]
        if given.batching is not None:
            argv += ["--batch-size", str(given.batching.size), "--batch-delay", str(given.batching.delay)]
        return [*argv, *extra]

    return command


_AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}

SERVERS: dict[str, Server] = {
    "bare": Server("bare loop", _loop),
    "bare-batched": Server("bare loop, batched per turn", _batched_loop),
    "bare-grpc": Server("bare HTTP/2 loop", _grpc_loop, one_port=True),
    "replica": Server("Colonnade, replica alone", _replica),
    "gateway": Server("Colonnade, through the gateway", _gateway, headers=_AUTHORIZED),
    "compiled": Server("Colonnade, through the gateway, compiled", _gateway, headers=_AUTHORIZED),
    "kserve": Server("KServe's server", _peer("kserve", "kserve_server"), "kserve", python=True),
    "mlserver": Server(
        "MLServer, in-process", _peer("mlserver", "mlserver_start", "--workers", "0"), "mlserver", python=True
    ),
    "mlserver-parallel": Server(
        "MLServer, parallel worker", _peer("mlserver", "mlserver_start", "--workers", "1"), "mlserver", python=True
    ),
    "litserve": Server("LitServe", _peer("litserve", "litserve_server"), "litserve", python=True),
    "bentoml": Server("BentoML", _peer("bentoml", "bentoml_start"), "bentoml", python=True),
    "triton": Server("Triton, Python backend", _peer("triton", "triton_start"), "triton"),
    "ray": Server("Ray Serve", _peer("ray", "ray_server"), "ray", python=True, alone=True),
}
PYTHON_PEERS = tuple(name for name, server in SERVERS.items() if server.python)
PEERS = (*PYTHON_PEERS, "triton")
