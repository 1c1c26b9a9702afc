"""A step of the load, 1x to 8x: how long until the service keeps its objective again, and whether a request is lost.

The model takes 50 ms a request and one request at a time, so a replica answers 20 in a second. The objective: 95 of 100
answers of a second within `OBJECTIVE`. Requests leave on time whatever becomes of those before (open loop).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx

from bench.machine import Unfit
from bench.scale.models import SLOW_SECONDS
from bench.scale.platform import platform, until

OBJECTIVE = 0.5  # seconds
BASE = 5.0  # requests a second
FACTOR = 8
PREDICTOR = {"minReplicas": 1, "maxReplicas": 6, "containerConcurrency": 2, "scaleMetric": "concurrency"}


def measure(model: Path, before: float, after: float) -> dict[str, float]:
    """`recovery.s`: from the step to the first second from which on the objective holds to the end; `lost`: answers
    other than 200; `replicas`: at the end."""
    with platform("step") as running:
        predictor = {**PREDICTOR, "model": {"modelFormat": {"name": "python"}, "storageUri": str(model)}}
        annotations = {"colonnade.dev/trust-code": "true", "autoscaling.knative.dev/window": "12s"}
        running.declare("step", predictor, **annotations)
        until(lambda: running.ready() == 1, "the service is Ready")
        answers = asyncio.run(_load(running.predict_url("step"), before, after))
        replicas = running.replicas("step")
    late = {int(sent) for sent, latency, _ in answers if latency > OBJECTIVE}
    shares = _late_shares(answers)
    step = int(before)
    missed = [second for second, share in shares.items() if second >= step and share > 0.05]
    lost = sum(status != 200 for _, _, status in answers)
    if not late and lost == len(answers):
        raise Unfit("no request was answered")
    return {
        "recovery.s": float(max(missed) + 1 - step) if missed else 0.0,
        "lost": float(lost),
        "requests": float(len(answers)),
        "replicas": float(replicas),
        "service.s": SLOW_SECONDS,
    }


def _late_shares(answers: list[tuple[float, float, int]]) -> dict[int, float]:
    """The share of answers that miss the objective, by the second in which their request was sent."""
    seconds: dict[int, list[bool]] = {}
    for sent, latency, status in answers:
        seconds.setdefault(int(sent), []).append(latency > OBJECTIVE or status != 200)
    return {second: sum(late) / len(late) for second, late in seconds.items()}


async def _load(url: str, before: float, after: float) -> list[tuple[float, float, int]]:
    """(second of sending, latency, status) of each request."""
    answers: list[tuple[float, float, int]] = []
    limits = httpx.Limits(max_connections=500, max_keepalive_connections=500)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client, asyncio.TaskGroup() as group:
        begun = time.perf_counter()

        async def ask(sent: float) -> None:
            try:
                status = (await client.post(url, json={"instances": [1]})).status_code
            except httpx.HTTPError:
                status = 0
            answers.append((sent, time.perf_counter() - begun - sent, status))

        due = 0.0
        while due < before + after:
            await asyncio.sleep(max(0.0, begun + due - time.perf_counter()))
            group.create_task(ask(due))
            due += 1 / (BASE if due < before else BASE * FACTOR)
    return answers
