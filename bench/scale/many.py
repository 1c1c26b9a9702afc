"""A thousand services, twenty of which run: what the platform itself costs while nobody asks."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from bench import machine
from bench.scale.cold import SLEEPY
from bench.scale.platform import platform, until

SETTLE = 10.0


def measure(model: Path, services: int, running_services: int, seconds: float) -> dict[str, float]:
    """Declares the services and looks at control plane and gateway. Memory is proportional set size in MB."""
    with platform("many") as running:
        begun = time.perf_counter()
        for number in range(services):
            awake = number < running_services
            predictor = {"minReplicas": 1 if awake else 0, "onnx": {"storageUri": str(model)}}
            running.declare(f"service-{number}", predictor, **({} if awake else SLEEPY))
        declared = time.perf_counter() - begun
        ready = until(lambda: running.ready() == services, "all are Ready", 300, every=1.0)
        time.sleep(SETTLE)
        processes = {"control plane": running.root, "gateway": running.gateway}
        before, start = {name: _awake(each) for name, each in processes.items()}, time.perf_counter()
        time.sleep(seconds)
        passed = time.perf_counter() - start
        figures = {"declare.s": declared, "ready.s": ready}
        for name, each in processes.items():
            figures[f"{name}.pss"] = machine.pss_mb(each)
            figures[f"{name}.core"] = 100 * (_awake(each) - before[name]) / passed
        return figures


def _awake(process: psutil.Process) -> float:
    return machine.awake_seconds([process])
