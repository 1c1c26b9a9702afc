"""The kubelet's part with a real store and real processes."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.events import Events
from colonnade.control.machine.budget import Budget
from colonnade.control.objects import Ref
from colonnade.control.replicas.pods import Pods
from colonnade.control.runtimes.selection import Runtimes
from colonnade.control.store import Store
from colonnade.control.templates import template
from colonnade.control.workload.ports import Ports
from colonnade.control.workload.sources import MODEL_MOUNT
from colonnade.control.workqueue import Key
from colonnade.platforms.budget import Machine
from colonnade.platforms.local import LocalPlatform

from ..kserve_objects import isvc, revision

KEY = Key("ns", "p")
REF = Ref("", "pods", *KEY)
MACHINE = Machine((0, 1), 2000, 1 << 34)


class House:
    """A store, a platform, and the reconciler between them, worked by hand."""

    def __init__(self, folder: Path, platform: LocalPlatform, **settings: Any) -> None:
        self.store = Store(folder / "db")
        self.platform = platform
        self.budget = Budget(settings.pop("machine", MACHINE), lambda key: None)
        self.pods = Pods(
            self.store, platform, Events(self.store), folder, Ports(), folder / "compiled", self.budget, **settings
        )

    def create(self, code: str, **container: Any) -> None:
        container = {"name": "c", "command": ["python", "-c", code], **container}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {}}, "spec": {"containers": [container]}}
        self.store.create(REF, pod)

    def container(self) -> dict[str, Any]:
        pod = self.store.get(REF)
        assert pod is not None
        found: dict[str, Any] = pod["status"]["containerStatuses"][0]
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        """Reconcile as a controller would, until the condition holds."""
        async with asyncio.timeout(15):
            while True:
                again = await self.pods.reconcile(KEY)
                if condition():
                    return
                await asyncio.sleep(min(again or 0.02, 0.02))

    def output(self) -> str:
        path = self.platform.log_paths(str(KEY)).current
        return path.read_text() if path.exists() else ""

    def reasons(self) -> set[str]:
        return {event["reason"] for event in self.store.list("", "events")[0]}


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(tmp_path / "state") as platform:
        yield platform
        for state in platform.list():
            await platform.stop(state.spec.key, 0.0)


async def test_one_that_never_gets_ready_is_ended_and_started_again(tmp_path: Path, platform: LocalPlatform) -> None:
    house = House(tmp_path, platform, ready_timeout=0.2)
    house.create("import time; time.sleep(60)")
    await house.until(lambda: house.container()["restartCount"] == 1)
    assert "Unhealthy" in house.reasons()
    assert house.container()["lastState"]["terminated"]["signal"] == 15
    house.store.close()


async def test_one_without_room_waits_and_starts_once_there_is_some(tmp_path: Path, platform: LocalPlatform) -> None:
    house = House(tmp_path, platform, machine=Machine((0,), 1000, 10))
    other = {"spec": {"containers": [{"resources": {"requests": {"memory": 8}}}]}, "metadata": {}}
    house.budget.admit(Key("ns", "other"), other)
    house.create("import time; time.sleep(60)", resources={"requests": {"memory": 5}})
    assert await house.pods.reconcile(KEY) is None
    assert await house.pods.reconcile(KEY) is None
    assert platform.get(str(KEY)) is None
    assert house.reasons() == {"FailedScheduling"}
    house.budget.release(Key("ns", "other"))
    await house.until(lambda: platform.get(str(KEY)) is not None)
    started = platform.get(str(KEY))
    assert started is not None
    assert started.spec.held.claim.memory == 5
    house.store.delete(REF)
    await house.until(lambda: not house.budget.held)
    assert platform.get(str(KEY)) is None, "what it held is free once its process is gone"
    house.store.close()


async def test_a_model_that_is_one_file_lies_in_a_folder_of_its_own(tmp_path: Path, platform: LocalPlatform) -> None:
    model = tmp_path / "elsewhere" / "model.joblib"
    model.parent.mkdir()
    model.write_text("weights")
    containers = [
        {"name": "c", "env": [{"name": "STORAGE_URI", "value": "/m"}], "args": ["/mnt/models/model.joblib"]}
        | {"command": ["sh", "-c", 'cat "$0"; ls "$MODEL_DIR"; sleep 60']}
    ]
    service = isvc({"containers": containers})
    plan = template.plan(service, "predictor", Runtimes())
    assert isinstance(plan, template.Plan)
    pod = template.named(template.pod(service, "predictor", plan, revision(), {MODEL_MOUNT: model}), "p")
    house = House(tmp_path, platform)
    house.store.create(REF, pod)
    await house.until(lambda: "model.joblib\n" in house.output())
    assert house.output() == "weightsmodel.joblib\n"
    house.store.delete(REF)
    await house.until(lambda: not platform.folder(str(KEY)).exists())
    assert model.exists()
    house.store.close()


async def test_what_never_started_leaves_nothing(tmp_path: Path, platform: LocalPlatform) -> None:
    house = House(tmp_path, platform)
    house.create("", command=["no-such-program"])
    await house.until(lambda: platform.folder(str(KEY)).exists())
    house.store.delete(REF)
    await house.until(lambda: not platform.folder(str(KEY)).exists())
    house.store.close()


async def test_what_was_deleted_just_before_a_stop_is_swept_at_the_next_start(
    tmp_path: Path, platform: LocalPlatform
) -> None:
    house = House(tmp_path, platform)
    house.create("import time; time.sleep(60)")
    await house.until(lambda: platform.get(str(KEY)) is not None)
    left = platform.folder("ns.gone")
    left.mkdir()
    house.pods.refresh()
    assert not left.exists()
    assert platform.folder(str(KEY)).exists()
    house.store.close()


async def test_one_that_is_stuck_is_ended_and_started_again(tmp_path: Path, platform: LocalPlatform) -> None:
    house = House(tmp_path, platform)
    probe = {"exec": {"command": ["false"]}, "failureThreshold": 1, "periodSeconds": 1}
    house.create("import time; time.sleep(60)", readinessProbe={"exec": {"command": ["true"]}}, livenessProbe=probe)
    await house.until(lambda: house.container()["restartCount"] == 1)
    assert house.container()["lastState"]["terminated"]["signal"] == 15
    messages = {event["reason"]: event["message"] for event in house.store.list("", "events")[0]}
    assert messages["Unhealthy"] == "Liveness probe failed: false exited with 1"
    assert messages["Killing"] == "Container c failed liveness probe, will be restarted"
    house.store.close()


async def test_crashes_are_counted_and_slowed_down(tmp_path: Path, platform: LocalPlatform) -> None:
    house = House(tmp_path, platform)
    house.create("raise SystemExit(4)")
    await house.until(lambda: house.container()["restartCount"] == 1)
    await house.until(lambda: "back-off 1s" in (house.container()["state"].get("waiting") or {}).get("message", ""))
    assert house.container()["lastState"]["terminated"]["exitCode"] == 4
    house.store.close()


async def test_a_secret_reaches_the_process_once_it_exists_and_nothing_else(
    tmp_path: Path, platform: LocalPlatform, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(tmp_path, platform)
    env = [{"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]
    house.create("import os, time; print(len(os.environ['WORD']), flush=True); time.sleep(60)", env=env)
    await house.until(lambda: "waiting" in house.container()["state"])
    assert house.container()["state"]["waiting"]["reason"] == "CreateContainerConfigError"
    house.store.create(Ref("", "secrets", "ns", "s"), {"data": {"k": base64.b64encode(b"hush-hush").decode()}})
    output = platform.log_paths(str(KEY)).current
    await house.until(lambda: output.exists() and output.read_text() == "9\n")
    assert "hush-hush" not in caplog.text
    assert "hush-hush" not in str(house.store.list("", "events")[0])
    house.store.close()


async def test_a_deleted_pod_leaves_no_process_and_no_folder(tmp_path: Path, platform: LocalPlatform) -> None:
    house = House(tmp_path, platform)
    house.create("import time; time.sleep(60)")
    await house.until(lambda: "running" in house.container()["state"])
    house.store.delete(REF)
    assert KEY in set(house.pods.keys())
    await house.pods.reconcile(KEY)
    assert platform.get(str(KEY)) is None
    assert not platform.folder(str(KEY)).exists()
    assert set(house.pods.keys()) == set()
    house.store.close()


SERVES = """
import os
from http.server import HTTPServer, SimpleHTTPRequestHandler
print("told", os.environ.get("COLONNADE_PREDICTOR_HOST"), flush=True)
HTTPServer(("127.0.0.1", int(os.environ["PORT"])), SimpleHTTPRequestHandler).serve_forever()
"""


def pair() -> dict[str, Any]:
    """A pod whose first process is told where the one behind it listens."""
    containers = [{"name": name, "command": ["python", "-c", SERVES]} for name in "tp"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": {}}, "spec": {"containers": containers}}


async def test_a_pod_of_two_processes_is_ready_when_both_are(tmp_path: Path, platform: LocalPlatform) -> None:
    house = House(tmp_path, platform)
    house.store.create(REF, pair())

    def statuses() -> list[dict[str, Any]]:
        found = house.store.get(REF)
        assert found is not None
        return list((found.get("status") or {}).get("containerStatuses") or [])

    def ready() -> list[bool]:
        return [each["ready"] for each in statuses()]

    await house.until(lambda: ready() == [True, True])
    behind = platform.get(f"{KEY}:p")
    first = platform.get(str(KEY))
    assert behind is not None
    assert first is not None
    assert f"told {behind.spec.http}\n" in house.output()
    assert (first.spec.container, behind.spec.container) == ("", "p")

    await platform.stop(behind.spec.key, 0.0)
    await house.until(lambda: ready() == [True, False])
    pod = house.store.get(REF)
    assert pod is not None
    conditions = {each["type"]: each for each in pod["status"]["conditions"]}
    assert conditions["Ready"]["status"] == "False"
    assert conditions["Ready"]["message"].startswith("containers with unready status: [p]")
    await house.until(lambda: ready() == [True, True])
    again = platform.get(f"{KEY}:p")
    assert again is not None
    assert again.spec.http == behind.spec.http, "where the other one was told that it is"
    assert [each["restartCount"] for each in statuses()] == [0, 1]

    house.store.delete(REF)
    await house.until(lambda: not platform.list())
    house.store.close()


async def test_one_whose_neighbour_had_to_move_is_told_again(tmp_path: Path, platform: LocalPlatform) -> None:
    house = House(tmp_path, platform)
    house.store.create(REF, pair())
    await house.until(lambda: all((state := platform.get(key)) and state.ready for key in (str(KEY), f"{KEY}:p")))
    behind = platform.get(f"{KEY}:p")
    assert behind is not None
    await platform.stop(behind.spec.key, 0.0)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", int(behind.spec.http.rpartition(":")[2])))
        taken.listen()
        await house.until(lambda: (state := platform.get(f"{KEY}:p")) is not None and state.ready)
        moved = platform.get(f"{KEY}:p")
        assert moved is not None
        assert moved.spec.http != behind.spec.http
        await house.until(lambda: f"told {moved.spec.http}\n" in house.output())
    house.store.close()
