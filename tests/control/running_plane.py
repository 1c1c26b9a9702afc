"""A control plane as a process of its own, and what the tests ask of it.

Everything is real: store, API, gateway, replicas. The models are small Python classes, so that replicas start quickly.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

UP = """
import json, pathlib, sys, uvloop
from colonnade.control.plane import run
from colonnade.control.settings import Settings
from colonnade.errors import Error
from colonnade.observe import logs
logs.configure(sys.stderr)
ports = dict(http_port=0, grpc_port=0, api_port=0) | dict(json.loads(sys.argv[2]))
manifests = tuple(json.loads(sys.argv[3]))
settings = Settings(pathlib.Path(sys.argv[1]), grace=5.0, manifests=manifests, **ports)
try:
    uvloop.run(run(settings, ready=lambda endpoints: print("ready", flush=True)))
except Error as error:
    print(error.message, flush=True)
    sys.exit(1)
"""
MODEL = """
import os
import colonnade
class Echo(colonnade.Model):
    def load(self):
        pass
    def predict(self, payload: dict):
        return {"predictions": [os.environ.get("WORD", "none"), os.getpid()]}
"""
API = "/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices"
Json = dict[str, Any]


class Plane:
    """A running control plane and its clients."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.start()

    def start(self) -> None:
        self.errors = (self.state.parent / "up.log").open("ab")
        words = [sys.executable, "-c", UP, str(self.state), "{}", "[]"]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=self.errors)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == b"ready\n", line + (self.state.parent / "up.log").read_bytes()
        found = json.loads((self.state / "endpoints.json").read_text())
        self.http, self.grpc = found["http"], found["grpc"]
        token = (self.state / "token").read_text().strip()
        self.api = httpx.Client(base_url=found["api"], headers={"Authorization": f"Bearer {token}"}, timeout=10)

    def stop(self) -> int:
        self.api.close()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(30)
        self.close()
        return code

    def kill(self) -> None:
        self.api.close()
        self.process.kill()
        self.process.wait(10)
        self.close()

    def close(self) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.errors.close()

    def apply(self, name: str, predictor: Json, **annotations: str) -> None:
        manifest = {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": name, "namespace": "default", "annotations": annotations},
            "spec": {"predictor": predictor},
        }
        response = self.api.patch(
            f"{API}/{name}?fieldManager=test&force=true",
            content=json.dumps(manifest),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )
        assert response.status_code in (200, 201), response.text

    def status(self, name: str) -> Json:
        found: Json = self.api.get(f"{API}/{name}").json().get("status") or {}
        return found

    def condition(self, name: str, kind: str = "Ready") -> Json:
        conditions = self.status(name).get("conditions") or []
        return next((found for found in conditions if found["type"] == kind), {})

    def pods(self, name: str) -> list[Json]:
        found: list[Json] = self.api.get(
            "/api/v1/namespaces/default/pods", params={"labelSelector": f"serving.kserve.io/inferenceservice={name}"}
        ).json()["items"]
        return found

    def predict(self, name: str) -> list[Any]:
        response = httpx.post(f"{self.http}/serving/default/{name}/v1/models/{name}:predict", json={"instances": []})
        assert response.status_code == 200, response.text
        predictions: list[Any] = response.json()["predictions"]
        return predictions

    def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            assert time.monotonic() < deadline, (self.state.parent / "up.log").read_text()[-4000:]
            time.sleep(0.05)
        return found

    def ready(self, name: str) -> bool:
        return bool(self.condition(name).get("status") == "True")


def python(model: Path, word: str = "hello", **fields: Any) -> Json:
    env = [{"name": "WORD", "value": word}]
    return {"model": {"modelFormat": {"name": "python"}, "storageUri": str(model), "env": env}, **fields}


CONSENT = {"colonnade.dev/trust-code": "true"}
