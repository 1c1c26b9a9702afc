"""What is read of replicas and Secrets: from real processes, a real server and a real store."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.objects import Ref
from colonnade.control.scaling.readings import Readings
from colonnade.control.store import Store
from colonnade.control.workqueue import Key
from colonnade.net import HttpServer, asynchronous
from colonnade.net.asynchronous import Request, Response
from colonnade.platforms.base import ReplicaSpec, ReplicaState

from ...e2e.product import until

KEY = Key("default", "a")


class OneReplica:
    """A platform that runs at most one replica."""

    def __init__(self) -> None:
        self.state: ReplicaState | None = None

    def get(self, key: str) -> ReplicaState | None:
        return self.state if key == str(KEY) else None

    def list(self) -> list[ReplicaState]:
        return [] if self.state is None else [self.state]

    def run(self, pid: int | None, http: str = "127.0.0.1:1", *, ready: bool = True, running: bool = True) -> None:
        self.state = ReplicaState(ReplicaSpec("a", "default", (), http), pid, 0.0, running, ready=ready)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "store.db")
    yield found
    found.close()


@pytest.fixture
def platform() -> OneReplica:
    return OneReplica()


@pytest.fixture
def readings(store: Store, platform: Any) -> Readings:
    return Readings(store, platform)


def test_a_replicas_processes(readings: Readings, platform: OneReplica) -> None:
    assert readings.used(KEY) is None
    words = [sys.executable, "-c", "import signal; signal.pause()"]
    process = subprocess.Popen(words, start_new_session=True)
    try:
        platform.run(process.pid)
        used = until(lambda: readings.used(KEY), "two looks were had")
        assert used.memory > 1 << 20
        platform.run(process.pid, running=False)
        assert readings.used(KEY) is None
    finally:
        os.killpg(process.pid, 9)
        process.wait()


async def test_what_a_replica_tells(readings: Readings, platform: OneReplica) -> None:
    status = 200

    async def answer(request: Request) -> Response:
        return Response(status, b"busy 3\xff\n" if request.path == "/metrics" else b"")

    server = HttpServer(asynchronous(answer))
    port = await server.listen_tcp("127.0.0.1", 0)
    assert await readings.tell(KEY) is None
    platform.run(1, f"127.0.0.1:{port}", ready=False)
    assert await readings.tell(KEY) is None
    platform.run(1, f"127.0.0.1:{port}")
    assert await readings.tell(KEY) == "busy 3\ufffd\n"
    status = 404
    assert await readings.tell(KEY) is None
    await server.drain(0.1)
    assert await readings.tell(KEY) is None  # nobody listens any more


def test_the_data_of_a_secret(readings: Readings, store: Store) -> None:
    assert readings.credentials("default", "s") is None
    data = {"a": base64.b64encode(b"one").decode(), "b": base64.b64encode(b"\xff\xfe").decode(), "c": "!"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data, "stringData": {"d": "two"}}
    store.create(Ref("", "secrets", "default", "s"), secret)
    assert readings.credentials("default", "s") == {"a": "one", "d": "two"}
    assert readings.credentials("other", "s") is None
