"""Cold starts: a request to a service that has no replica, against what the bare process needs by itself.

The bare process imports what the model needs, loads it and computes one answer. Both are measured in turn, so that a
pair has the same noise. Several services of one model take turns, since each first has to fall asleep again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx

from bench import machine
from bench.machine import Unfit
from bench.scale.platform import Platform, platform, until

SERVICES = 5
SLEEPY = {
    "autoscaling.knative.dev/window": "6s",
    "autoscaling.knative.dev/initial-scale": "0",
    "autoscaling.knative.dev/scale-to-zero-pod-retention-period": "0s",
}
BODY = {"instances": [[5.1, 3.5, 1.4, 0.2]]}

_BARE = "import sys, numpy; from bench import work; work.load(sys.argv[1])(numpy.ones((1, 4), numpy.float32))"
_FORMATS = {".joblib": "sklearn", ".onnx": "onnx"}


def measure(model: Path, starts: int, pool: bool) -> dict[str, list[float]]:
    """Seconds of each cold start and of the bare process beside it: lists `cold` and `bare` of the same length."""
    found: dict[str, list[float]] = {"cold": [], "bare": []}
    with platform(f"cold-{model.name}-{pool}", "--pool", "auto" if pool else "off") as running:
        names = [f"cold-{number}" for number in range(SERVICES)]
        for name in names:
            running.declare(name, {"minReplicas": 0, _FORMATS[model.suffix]: {"storageUri": str(model)}}, **SLEEPY)
        until(lambda: running.ready() == SERVICES, "the services are declared")
        with httpx.Client(timeout=60) as client:
            for name in names:  # the first one fetches, scans and fills the page cache; a pool has a seed after it
                _wake(running, client, name)
            for number in range(starts):
                name = names[(number + 1) % SERVICES]
                until(lambda name=name: running.replicas(name) == 0, f"{name} sleeps")
                found["bare"].append(_bare(model))
                found["cold"].append(_wake(running, client, name))
    return found


def _wake(running: Platform, client: httpx.Client, name: str) -> float:
    begun = time.perf_counter()
    answer = client.post(running.predict_url(name), json=BODY)
    if answer.status_code != 200:
        raise Unfit(f"a cold start was answered {answer.status_code}: {answer.text[:200]}")
    return time.perf_counter() - begun


def _bare(model: Path) -> float:
    begun = time.perf_counter()
    command = [sys.executable, "-c", _BARE, str(model)]
    subprocess.run(command, cwd=machine.ROOT, env=machine.environment(), stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun
