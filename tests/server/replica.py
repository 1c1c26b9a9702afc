"""A replica as a process, and how tests wait for it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx

DEADLINE = 60.0
HEAVY_DEADLINE = 300.0  # with the libraries of another environment, whose import alone takes long on a busy machine
KSERVE = Path(__file__).resolve().parents[3] / "shared" / "kserve"

_pace = threading.Event()  # never set


def until(condition: Callable[[], Any], what: str, deadline: float = DEADLINE) -> Any:
    """Waits for a condition and returns its value; fails after the deadline."""
    end = time.monotonic() + deadline
    while not (value := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {deadline} s"
        _pace.wait(0.01)
    return value


class Replica:
    """A running `python -m colonnade.server`, on Unix sockets; with `tcp` its HTTP is on a free port instead.

    `python` runs it, which may be of an environment with other libraries.
    """

    def __init__(
        self,
        folder: Path,
        argv: Sequence[str],
        *,
        program: Sequence[str] = ("-m", "colonnade.server"),
        tcp: bool = False,
        python: Path = Path(sys.executable),
    ) -> None:
        self.folder = folder
        self.deadline = DEADLINE if python == Path(sys.executable) else HEAVY_DEADLINE
        self.socket = str(folder / "http")
        self.grpc = f"unix:{folder / 'grpc'}"
        self.stderr = folder / "stderr"
        address = ("--http-port", "0") if tcp else ("--socket", self.socket)
        command = [str(python), *program, *address, "--grpc-socket", str(folder / "grpc"), *argv]
        with self.stderr.open("wb") as stderr:
            env = {**os.environ, "XDG_CACHE_HOME": str(folder)}
            self.process = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL, env=env)
        transport = httpx.HTTPTransport(uds=None if tcp else self.socket)
        self.http = httpx.Client(transport=transport, base_url="http://replica", timeout=DEADLINE)
        if tcp:
            self.http.base_url = httpx.URL(f"http://{self.listening().authority}")

    def async_client(self, **options: Any) -> httpx.AsyncClient:
        """A new asynchronous client of the HTTP socket."""
        transport = httpx.AsyncHTTPTransport(uds=self.socket)
        return httpx.AsyncClient(transport=transport, base_url="http://replica", timeout=DEADLINE, **options)

    @property
    def authority(self) -> str:
        """Where its HTTP port is, as `host:port`."""
        listening = self.logged("listening")
        assert listening is not None, self.stderr.read_text()
        return str(listening["http"])

    def log(self) -> list[dict[str, Any]]:
        """The log lines so far."""
        lines = self.stderr.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def logged(self, message: str) -> dict[str, Any] | None:
        """The first log line with this message."""
        return next((line for line in self.log() if line["message"] == message), None)

    def listening(self) -> Replica:
        """Waits until the sockets are open."""
        until(lambda: self.logged("listening") or self.process.poll() is not None, "listening", self.deadline)
        return self

    def ready(self) -> Replica:
        """Waits until the model answers."""
        self.listening()

        def asked() -> bool:
            assert self.process.poll() is None, self.stderr.read_text()
            return self.http.get("/v2/health/ready").status_code == 200

        until(asked, "ready", self.deadline)
        return self

    def metric(self, sample: str) -> float:
        """A sample of `/metrics` by its full name with labels; 0 if there is none."""
        for line in self.http.get("/metrics").text.splitlines():
            if line.startswith(f"{sample} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def signal(self, number: int = signal.SIGTERM) -> None:
        """Sends a signal."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Waits for the end and returns the exit code."""
        return self.process.wait(self.deadline)

    def close(self) -> None:
        """Ends it, however it is."""
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(DEADLINE)


Start = Callable[..., Replica]


def payload(folder: Path, name: str) -> Any:
    """One of KServe's request bodies."""
    return json.loads((folder / "payloads" / name).read_text())
