"""One turn of one server: what is done to it, and the figures that come of it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import machine
from bench.load import closed as closed_load
from bench.machine import SERVER_CORE, Unfit
from bench.requests import Request
from bench.results import Figures
from bench.servers import Running

SETTLE = 2.0  # seconds from the first answer until a server counts as idle
CALM = 5.0  # seconds of a load that can be served, after an overload
OVERLOAD = 3.0  # times the capacity
RELIEF = 0.5  # times the capacity
TARGET = 0.1  # seconds: how long a request shall wait at most when too many come


@dataclass(frozen=True)
class Turn:
    """What a measure is made on.

    Attributes:
        running: the server.
        model: the model's file.
        request: what is asked of it.
        in_flight: how many at a time, for each load.
        seconds: of each load.
        overload_seconds: of an overload.
    """

    running: Running
    model: Path
    request: Request
    in_flight: tuple[int, ...]
    seconds: float
    overload_seconds: float


def closed(turn: Turn) -> Figures:
    """Requests per second, latencies in ms and CPU µs a request, each at so many in flight."""
    figures: Figures = {"cold.s": turn.running.cold}
    _load(turn, 16, 1)  # warm
    for in_flight in turn.in_flight:
        processes = turn.running.processes()
        before = machine.cpu_seconds(processes)
        load = _load(turn, in_flight, turn.seconds)
        spent = machine.cpu_seconds(processes) - before
        figures |= {
            f"{in_flight}.rps": load.answers / load.seconds,
            f"{in_flight}.p50": load.p50 * 1e3,
            f"{in_flight}.p99": load.p99 * 1e3,
            f"{in_flight}.cpu_us": spent / load.answers * 1e6,
        }
    return figures


def overload(turn: Turn) -> Figures:
    """The capacity in a closed loop, then three times that in an open one, then half of it.

    The closed loop has just enough in flight that the model never waits, so that nothing is refused yet.
    """
    running = turn.running
    _load(turn, turn.in_flight[0], 1)
    load = _load(turn, turn.in_flight[0], max(turn.seconds, 3))
    capacity = load.answers / load.seconds
    command = [sys.executable, "-m", "bench.load.open", "--port", str(running.port), "--path", turn.request.path]
    command += ["--body", str(turn.request.body), "--late", str(2 * TARGET)]
    command += ["--rate", str(OVERLOAD * capacity), "--seconds", str(turn.overload_seconds)]
    command += ["--after-rate", str(RELIEF * capacity), "--after", str(CALM)]
    for name, value in {**turn.request.headers, **running.headers}.items():
        command += ["--header", f"{name}: {value}"]
    ran = subprocess.run(
        command, cwd=machine.ROOT, env=machine.environment(), capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise Unfit(f"the open loop failed: {ran.stderr.strip()[-200:]}")
    found = json.loads(ran.stdout)
    return {
        "capacity.rps": capacity,
        "offered.rps": found["offered"],
        "sent.rps": found["sent"],
        "goodput.rps": found["goodput"],
        "goodput": found["goodput"] / capacity,
        "p99": found["p99"] * 1e3,
        "p99.targets": found["p99"] / TARGET,
        "recovery.s": found["recovery"],
        "refused": found["refused"],
        "failed": found["failed"],
    }


def idle(turn: Turn) -> Figures:
    """Memory in MB by role, and the share of a core, while nothing is asked."""
    time.sleep(SETTLE)
    processes = turn.running.processes()
    before, start = machine.awake_seconds(processes), time.perf_counter()
    time.sleep(max(5 * turn.seconds, 5))
    core = (machine.awake_seconds(processes) - before) / (time.perf_counter() - start)
    figures: Figures = {"core": core * 100, "pss": 0.0, "processes": len(processes), "cold.s": turn.running.cold}
    for process in processes:
        size = machine.pss_mb(process)
        role = f"{_role(process)}.pss"
        figures["pss"] += size
        figures[role] = figures.get(role, 0.0) + size
    return figures


def cold(turn: Turn) -> Figures:
    """Seconds to the first answer, and those that importing and loading the model take by themselves."""
    code = f"from bench import work; work.load({str(turn.model)!r})"
    start = time.perf_counter()
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-c", code]
    subprocess.run(command, cwd=machine.ROOT, env=machine.environment(), check=True)
    alone = time.perf_counter() - start
    return {"cold.s": turn.running.cold, "load.s": alone, "cold.loads": turn.running.cold / alone}


def _load(turn: Turn, in_flight: int, seconds: float) -> closed_load.Load:
    running = turn.running
    return closed_load.run(turn.request, running.port, running.headers, in_flight, seconds, running.answer_bytes)


def _role(process: psutil.Process) -> str:
    try:
        argv = process.cmdline()
    except psutil.NoSuchProcess:
        argv = []
    for module, role in (("colonnade.gateway", "gateway"), ("colonnade.server", "replica")):
        if module in argv:
            return role
    return "rest"
