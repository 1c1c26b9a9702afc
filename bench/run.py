"""The comparison: every server in turn, round after round, ratios inside a round, one report.

`make bench` runs it whole. A round of a server: start it pinned to CPU 0, ask until the answer is right, warm up, load
it from CPU 1 at each concurrency, read the CPU time of its process tree, stop it.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import platform
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from servers import MODELS, SERVERS, V2, WORK, Server, install

HERE = Path(__file__).parent
PORT = 18480
CONNECTIONS = (1, 16, 64)
START_TIMEOUT = 90.0
REQUEST = {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}]}

Cells = dict[int, dict[str, float]]  # by number of connections


def main() -> int:
    options = arguments()
    prepare()
    chosen = options.only.split(",") if options.only else list(SERVERS)
    for name in chosen:
        install(SERVERS[name])
    results: dict[str, dict[str, list[Cells]]] = {}
    for model in options.models.split(","):
        rounds: dict[str, list[Cells]] = defaultdict(list)
        for number in range(options.rounds):
            for name in chosen:
                cells = measure(SERVERS[name], next(MODELS.glob(f"iris.{model}")), options.seconds)
                rounds[name].append(cells)
                shown = {c: f"{cell['rps']:.0f} rps, p50 {cell['p50']:.2f} ms" for c, cell in cells.items()}
                print(f"{model} round {number + 1} {name}: {shown}", flush=True)
        results[model] = rounds
    text = report(results, options)
    print(text)
    if not options.only:
        (HERE / "RESULTS.md").write_text(text)
    return 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of load per cell")
    parser.add_argument("--models", default="onnx,joblib")
    parser.add_argument("--only", default="", help="names of servers, with commas; no report is written then")
    return parser.parse_args()


def prepare() -> None:
    """The load generator, the models, the request."""
    if shutil.which("wrk") is None:
        if os.geteuid() != 0:
            raise SystemExit("wrk is not installed: install Debian's package `wrk` and run again")
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(["apt-get", "install", "-y", "-q", "wrk"], check=True, stdout=subprocess.DEVNULL)
    if not (MODELS / "iris.onnx").exists():
        subprocess.run([sys.executable, str(HERE / "models.py"), str(MODELS)], check=True)
    (WORK / "request.json").write_text(json.dumps(REQUEST))


def measure(server: Server, model: Path, seconds: int) -> Cells:
    """One round of one server."""
    if answers():
        raise SystemExit(f"something already listens on port {PORT}: stop it first")
    settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    log = (WORK / "server.log").open("wb")
    process = subprocess.Popen(
        ["taskset", "-c", "0", *server.command(model, PORT)],
        cwd=HERE,
        env={**os.environ, **settings},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + START_TIMEOUT
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{server.title} does not answer; its log is {WORK / 'server.log'}")
            time.sleep(0.05)
        load(16, 1)
        return {count: load_and_weigh(process.pid, count, seconds) for count in CONNECTIONS}
    finally:
        stop(process)
        log.close()


def answers() -> bool:
    """Whether the port gives the right answer to the request."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        connection.request("POST", V2, json.dumps(REQUEST), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return answer.status == 200 and json.loads(body)["outputs"][0]["data"] == [0]


def load(connections: int, seconds: int) -> dict[str, float]:
    command = ["taskset", "-c", "1", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s"]
    ran = subprocess.run(
        [*command, "-s", str(HERE / "load.lua"), f"http://127.0.0.1:{PORT}{V2}"],
        env={**os.environ, "BODY": str(WORK / "request.json")},
        capture_output=True,
        text=True,
        check=True,
    )
    found = re.search(r"@(\{.*\})", ran.stdout)
    if found is None:
        raise SystemExit(f"wrk printed no result: {ran.stdout[-300:]}")
    line: dict[str, float] = json.loads(found[1])
    return line


def load_and_weigh(pid: int, connections: int, seconds: int) -> dict[str, float]:
    before = cpu_seconds(pid)
    line = load(connections, seconds)
    spent = cpu_seconds(pid) - before
    if line["bad"]:
        raise SystemExit(f"{line['bad']} of {line['requests']} requests failed: no figure is made from that")
    return {
        "rps": line["requests"] / line["us"] * 1e6,
        "p50": line["p50"] / 1e3,
        "p99": line["p99"] / 1e3,
        "cpu_us": spent / line["requests"] * 1e6,
    }


def tree(pid: int) -> list[psutil.Process]:
    """The process and all that descend from it, those in sessions of their own too."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def cpu_seconds(pid: int) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in tree(pid))


def stop(process: subprocess.Popen[bytes]) -> None:
    everyone = tree(process.pid)
    process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(everyone, timeout=10)
    for straggler in alive:
        straggler.kill()
    process.wait()


def report(results: dict[str, dict[str, list[Cells]]], options: argparse.Namespace) -> str:
    packages = ("uvloop", "httptools", "msgspec", "numpy", "onnxruntime", "scikit-learn")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    peers = ", ".join(server.packages[0].replace("==", " ") for server in SERVERS.values() if server.packages)
    lines = [
        "# Results of `make bench`",
        "",
        f"{time.strftime('%Y-%m-%d')}, {cpu_name()}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, "
        f"Python {platform.python_version()}.",
        f"Colonnade {metadata.version('colonnade')}; {versions}; {peers}.",
        "",
        f"One V2 JSON request, [1, 4] FP32. Server tree on CPU 0, wrk on CPU 1; {options.rounds} rounds of "
        f"{options.seconds} s a cell, servers interleaved. Ratios are made inside a round: median (range).",
    ]
    for model, rounds in results.items():
        lines += ["", f"## {'ONNX Runtime' if model == 'onnx' else 'scikit-learn'}", ""]
        lines += table(rounds)
    return "\n".join(lines) + "\n"


def table(rounds: dict[str, list[Cells]]) -> list[str]:
    lines = [
        "| server | RPS, 64 connections | p50 / p99 ms, 64 | CPU µs a request, 64 | p50 ms, 1 | of the bare loop, 64 "
        "| × KServe, 64 | × MLServer, 64 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, cells in rounds.items():
        busy = {key: statistics.median(cell[64][key] for cell in cells) for key in ("rps", "p50", "p99", "cpu_us")}
        single = statistics.median(cell[1]["p50"] for cell in cells)
        ratios = " | ".join(ratio(cells, rounds.get(base, [])) for base in ("bare", "kserve", "mlserver"))
        lines.append(
            f"| {SERVERS[name].title} | {busy['rps']:,.0f} | {busy['p50']:.2f} / {busy['p99']:.2f} "
            f"| {busy['cpu_us']:.1f} | {single:.3f} | {ratios} |"
        )
    return lines


def ratio(cells: list[Cells], base: list[Cells]) -> str:
    """Requests per second over the base's of the same round: median (range)."""
    each: list[Any] = [own[64]["rps"] / other[64]["rps"] for own, other in zip(cells, base, strict=False)]
    return f"{statistics.median(each):.2f} ({min(each):.2f}–{max(each):.2f})" if each else "–"


def cpu_name() -> str:
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    raise SystemExit(main())
