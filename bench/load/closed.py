"""Closed loop: so many requests are in flight, and each answer brings the next request. wrk for HTTP, h2load for gRPC.

h2load counts a failed call as a success, as gRPC says how a call ended in its trailers. A failed call brings no
message, so the bytes of messages that came tell how many calls were answered.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.machine import SCRATCH, Unfit
from bench.requests import Request

HERE = Path(__file__).parent
STREAMS = 16  # calls in flight on each HTTP/2 connection
TIMEOUT = 20  # seconds


@dataclass(frozen=True)
class Load:
    """What a load brought: answers, seconds, and the latencies in seconds."""

    answers: int
    seconds: float
    p50: float
    p99: float


def run(request: Request, port: int, headers: Mapping[str, str], in_flight: int, seconds: float, answer: int) -> Load:
    """Loads a server.

    Args:
        request: what is asked.
        port: where.
        headers: what goes with the request's own.
        in_flight: requests that are in flight at any time.
        seconds: how long.
        answer: bytes of the right answer's body.

    Raises:
        Unfit: answers failed, so there is no figure.
    """
    fields = {**request.headers, **headers}
    if request.grpc:
        return _h2load(request, port, fields, in_flight, seconds, answer)
    return _wrk(request, port, fields, in_flight, seconds)


def _wrk(request: Request, port: int, headers: Mapping[str, str], in_flight: int, seconds: float) -> Load:
    command = ["wrk", "-t1", f"-c{in_flight}", f"-d{max(1, round(seconds))}s", "--timeout", f"{TIMEOUT}s"]
    ran = subprocess.run(
        [*command, "-s", str(HERE / "wrk.lua"), f"http://127.0.0.1:{port}{request.path}"],
        env={
            **os.environ,
            "BODY": str(request.body),
            "HEADERS": "\n".join(f"{name}: {value}" for name, value in headers.items()),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"@(\{.*\})", ran.stdout)
    if found is None:
        raise Unfit(f"wrk printed no result: {(ran.stdout + ran.stderr)[-200:]}")
    line = json.loads(found[1])
    if not line["requests"]:
        raise Unfit(f"no request was answered in {line['us'] / 1e6:.0f} s")
    if line["bad"]:
        raise Unfit(f"{line['bad']} of {line['requests']} requests failed")
    return Load(line["requests"], line["us"] / 1e6, line["p50"] / 1e6, line["p99"] / 1e6)


def _h2load(
    request: Request, port: int, headers: Mapping[str, str], in_flight: int, seconds: float, answer: int
) -> Load:
    streams = min(STREAMS, in_flight)
    log = SCRATCH / "h2load.log"
    log.unlink(missing_ok=True)
    command = ["h2load", "-c", str(in_flight // streams), "-m", str(streams), "-D", str(max(1, round(seconds)))]
    command += ["-d", str(request.body), "--log-file", str(log), "-w", "24", "-W", "26"]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    ran = subprocess.run(
        [*command, f"http://127.0.0.1:{port}{request.path}"], capture_output=True, text=True, check=False
    )
    counts = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", ran.stdout)
    data = re.search(r"\((\d+)\) data", ran.stdout)
    if counts is None or data is None:
        raise Unfit(f"h2load printed no result: {(ran.stdout + ran.stderr)[-200:]}")
    succeeded, *failures = map(int, counts.groups())
    answered = int(data[1]) // answer
    bad = sum(failures) + max(0, succeeded - answered)
    if bad > in_flight or not succeeded:  # what is in flight at the end counts as neither
        raise Unfit(f"{bad} of {succeeded + bad} calls failed")
    took = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    p50, p99 = statistics.median(took), took[int(len(took) * 0.99)]
    return Load(min(succeeded, answered), round(seconds), p50 / 1e6, p99 / 1e6)
