"""A platform of its own for a measurement, and what is asked of its API."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

from bench import machine
from bench.machine import ROOT, SCRATCH, Unfit

SERVICES = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
START_TIMEOUT = 60.0


class Platform:
    """A running platform.

    Attributes:
        root: the control plane's process.
        gateway: the gateway's process.
        http: the gateway's URL.
    """

    def __init__(self, root: psutil.Process, state: Path) -> None:
        endpoints = json.loads((state / "endpoints.json").read_text())
        token = (state / "token").read_text().strip()
        self.root = root
        self.gateway = psutil.Process(json.loads((state / "gateway.json").read_text())["identity"]["pid"])
        self.http: str = endpoints["http"]
        self.api = httpx.Client(
            base_url=endpoints["api"], headers={"Authorization": f"Bearer {token}"}, verify=False, timeout=60
        )

    def declare(self, name: str, predictor: dict[str, Any], **annotations: str) -> None:
        """Creates a service."""
        manifest = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {"predictor": predictor},
        }
        self.api.post(SERVICES, json=manifest).raise_for_status()

    def ready(self) -> int:
        """How many services are Ready."""
        items = self.api.get(SERVICES).json()["items"]
        return sum(_ready(item) for item in items)

    def replicas(self, name: str) -> int:
        """How many pods a service has."""
        selector = {"labelSelector": f"serving.kserve.io/inferenceservice={name}"}
        return len(self.api.get("/api/v1/namespaces/default/pods", params=selector).json()["items"])

    def predict_url(self, name: str) -> str:
        """Where V1 predictions of a service are asked for."""
        return f"{self.http}/serving/default/{name}/v1/models/{name}:predict"


def until(condition: Callable[[], bool], what: str, seconds: float = 120.0, every: float = 0.05) -> float:
    """Waits for a condition; returns the seconds that it took.

    Raises:
        Unfit: it did not come true.
    """
    begun = time.perf_counter()
    while not condition():
        if time.perf_counter() - begun > seconds:
            raise Unfit(f"not in {seconds:g} s: {what}")
        time.sleep(every)
    return time.perf_counter() - begun


@contextmanager
def platform(name: str, *options: str) -> Iterator[Platform]:
    """Starts `colonnade up` and ends it with all that it started.

    Raises:
        Unfit: it does not start; says why.
    """
    state = SCRATCH / name
    log = SCRATCH / f"{name}.log"
    SCRATCH.mkdir(parents=True, exist_ok=True)
    command = [Path(sys.executable).with_name("colonnade"), "--state-dir", state, "up", *options]
    ports = ["--http-port", "0", "--grpc-port", "0", "--api-port", "0"]
    with log.open("wb") as output:
        started = subprocess.Popen(
            [*command, *ports],
            cwd=ROOT,
            env=machine.environment(),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    root = psutil.Process(started.pid)
    try:
        until(lambda: (state / "endpoints.json").exists() or started.poll() is not None, "it starts", START_TIMEOUT)
        if started.poll() is not None:
            raise Unfit(f"colonnade up ended: {log.read_text()[-2000:]}")
        yield Platform(root, state)
    finally:
        machine.stop(root)
        started.wait()


def _ready(item: dict[str, Any]) -> bool:
    conditions = (item.get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
