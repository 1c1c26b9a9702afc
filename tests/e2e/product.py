"""The real product, started as a user starts it, and what the tests ask of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SHARED = ROOT.parent / "shared" / "kserve"

START_TIMEOUT = 60.0


def until(condition: Callable[[], Any], what: str, timeout: float = START_TIMEOUT) -> Any:
    """Waits until the condition holds and returns its value.

    Raises:
        AssertionError: it did not in time.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout:g} s: {what}")
        time.sleep(0.02)


class Product:
    """One platform on a state folder of its own."""

    def __init__(self, state: Path, *options: str, cwd: Path = ROOT) -> None:
        self.state = state
        self.options = options
        self.cwd = cwd
        self.log = state.parent / f"{state.name}.log"
        self.environment = {**os.environ, "COLONNADE_STATE_DIR": str(state), "KUBECONFIG": str(state / "kubeconfig")}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Product:
        """Starts `colonnade up` and returns once it says that it is ready."""
        ports = ("--http-port", "0", "--grpc-port", "0", "--api-port", "0")
        if (self.state / "ports.json").exists():  # a restart keeps the addresses, as an operator's would
            old = json.loads((self.state / "ports.json").read_text())
            ports = tuple(word for name, port in old.items() for word in (f"--{name}-port", str(port)))
        self.process = subprocess.Popen(
            [BIN / "colonnade", "up", *ports, *self.options],
            cwd=self.cwd,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=self.log.open("ab"),
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"colonnade up ended with {self.process.wait()}: {self.log.read_text()[-3000:]}"
        endpoints = self.endpoints
        ports_now = {name: int(endpoints[name].rsplit(":", 1)[1]) for name in ("http", "grpc", "api")}
        (self.state / "ports.json").write_text(json.dumps(ports_now))
        return self

    @property
    def endpoints(self) -> dict[str, str]:
        endpoints: dict[str, str] = json.loads((self.state / "endpoints.json").read_text())
        return endpoints

    @property
    def http(self) -> str:
        return self.endpoints["http"]

    def stop(self) -> int:
        """SIGTERM; the exit code. Also ends what a killed control plane left behind."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        code = self.process.wait(timeout=60)
        for process in self.processes():
            process.kill()
        return code

    def kill_control_plane(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def processes(self, module: str = "") -> list[psutil.Process]:
        """Every process of this platform but `up` itself; with `module`, only those that run it."""
        found = []
        for process in psutil.process_iter():
            try:
                command = process.cmdline()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            words = " ".join(command)
            ours = str(self.state) in words or str(self.state) in _environment(process)
            runs = not module or module in command
            if ours and f"{BIN}/colonnade up" not in words and runs and process.pid != os.getpid():
                found.append(process)
        return found

    def replica_pids(self) -> list[int]:
        return sorted(process.pid for process in self.processes("colonnade.server"))

    def gateway_pid(self) -> int:
        (process,) = self.processes("colonnade.gateway")
        return process.pid

    def colonnade(self, *words: str, code: int = 0, data: str | None = None) -> str:
        """Runs a command of the product; its stdout, after checking the exit code."""
        return self._run([str(BIN / "colonnade"), *words], code, data)

    def kubectl(self, *words: str, code: int = 0, data: str | None = None) -> str:
        return self._run(["kubectl", *words], code, data)

    def _run(self, command: list[str], code: int, data: str | None) -> str:
        ran = subprocess.run(
            command, cwd=self.cwd, env=self.environment, capture_output=True, text=True, input=data, timeout=120
        )
        assert ran.returncode == code, f"{command} gave {ran.returncode}: {ran.stdout[-2000:]}{ran.stderr[-2000:]}"
        return ran.stdout + (ran.stderr if code else "")

    def apply(self, manifest: dict[str, Any], wait: bool = True) -> None:
        words = ["apply", "-f", "-", *(["--wait", "--timeout", "60"] if wait else [])]
        self.colonnade(*words, data=json.dumps(manifest))

    def ask(self, name: str, protocol: str, body: dict[str, Any], **options: Any) -> httpx.Response:
        tail = f"v1/models/{name}:predict" if protocol == "v1" else f"v2/models/{name}/infer"
        return httpx.post(f"{self.http}/serving/default/{name}/{tail}", json=body, timeout=30, **options)


def _environment(process: psutil.Process) -> str:
    try:
        return " ".join(f"{key}={value}" for key, value in process.environ().items() if key.startswith("COLONNADE_"))
    except (psutil.Error, OSError):
        return ""


def service(name: str, predictor: dict[str, Any], **annotations: str) -> dict[str, Any]:
    """An InferenceService manifest."""
    metadata: dict[str, Any] = {"name": name}
    if annotations:
        metadata["annotations"] = {
            key.replace("__", "/").replace("_", "-"): value for key, value in annotations.items()
        }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": metadata,
        "spec": {"predictor": predictor},
    }


def signal_tree(pid: int, number: int = signal.SIGKILL) -> None:
    os.kill(pid, number)
