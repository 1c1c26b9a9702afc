"""One machine, more services than it carries: they queue, take turns, keep to limits, or are refused in numbers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .load import Load
from .product import Product, service, until

MODEL = """
import os
import colonnade
class Greedy(colonnade.Model):
    def load(self):
        self.kept = []
    def predict(self, payload: dict):
        for mebibytes in payload["instances"]:
            self.kept.append(b"x" * (mebibytes << 20))
        return {"predictions": [os.environ.get("CUDA_VISIBLE_DEVICES"), sorted(os.sched_getaffinity(0))]}
"""
Json = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("greedy")
    (folder / "model.py").write_text(MODEL)
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """A platform that may give 1 GiB of memory and two GPUs."""
    options = ("--memory", "1Gi", "--gpus", "2", "--overcommit", "cpu=1")
    running = Product(tmp_path_factory.mktemp("budget") / "state", *options).start()
    yield running
    assert running.stop() == 0
    assert not running.processes()


def manifest(name: str, folder: Path, least: int = 1, annotations: Json | None = None, **resources: Json) -> Json:
    model = {"modelFormat": {"name": "python"}, "storageUri": str(folder), "resources": resources}
    made = service(name, {"minReplicas": least, "maxReplicas": 1, "model": model})
    made["metadata"]["annotations"] = {"colonnade.dev/trust-code": "true", **(annotations or {})}
    return made


def pods(product: Product, name: str) -> list[Json]:
    found = json.loads(product.colonnade("get", "pods", "-o", "json"))["items"]
    return [pod for pod in found if pod["metadata"]["name"].startswith(f"{name}-predictor")]


def ready(product: Product, name: str) -> Json:
    conditions = json.loads(product.colonnade("get", "isvc", name, "-o", "json")).get("status", {}).get("conditions")
    return next((each for each in conditions or [] if each["type"] == "Ready"), {"status": ""})


def events(product: Product, reason: str) -> list[tuple[str, str]]:
    found = json.loads(product.colonnade("get", "events", "-o", "json"))["items"]
    return [(each["involvedObject"]["name"], each["message"]) for each in found if each["reason"] == reason]


def test_two_that_sleep_take_turns_where_there_is_room_for_one(small: Product, folder: Path) -> None:
    for name in ("first", "second", "third"):
        small.apply(manifest(name, folder, 0, requests={"memory": "500Mi"}))
    assert not pods(small, "first"), "the one that was unused for longest made room for the third"
    assert pods(small, "second"), small.colonnade("get", "events")
    assert pods(small, "third")
    ((needing, text),) = events(small, "MakingRoom")
    assert needing == "third"
    assert "Insufficient memory: requested 500Mi, free 24Mi of 1Gi" in text
    ((victim, text),) = events(small, "Evicted")
    assert victim == "first"
    assert "to make room for default/third" in text

    with Load(f"{small.http}/v1/models/third:predict", {"instances": []}, clients=1) as load:
        until(lambda: load.answered > 5, "the third is used")
        assert small.ask("first", "v1", {"instances": []}).status_code == 200, "it wakes, and the second one sleeps"
        assert not pods(small, "second")
        assert small.ask("second", "v1", {"instances": []}).status_code == 200, "and the other way round"
        assert not pods(small, "first")
    assert load.failed == {}
    assert [victim for victim, _ in events(small, "Evicted")].count("third") == 0
    for name in ("first", "second", "third"):
        small.colonnade("delete", "isvc", name)


def test_what_does_not_fit_waits_and_what_never_fits_is_refused(small: Product, folder: Path) -> None:
    small.apply(manifest("stays", folder, requests={"memory": "900Mi"}))
    small.apply(manifest("waits", folder, requests={"memory": "500Mi"}), wait=False)
    small.apply(manifest("never", folder, limits={"memory": "2Gi", "nvidia.com/gpu": 3}), wait=False)

    until(lambda: "free 124Mi of 1Gi" in ready(small, "waits").get("message", ""), "it says what is missing")
    (pod,) = pods(small, "waits")
    assert pod["status"]["phase"] == "Pending"
    assert pod["status"]["conditions"][0]["reason"] == "Unschedulable"
    until(lambda: ready(small, "never")["status"] == "False", "it is refused")
    assert "Insufficient memory: requested 2Gi, this machine has 1Gi" in ready(small, "never")["message"]
    assert "nvidia.com/gpu: requested 3, this machine has 2" in ready(small, "never")["message"]
    assert "Insufficient memory" in small.colonnade("why", "never", code=4)

    small.kill_control_plane()
    small.start()
    until(lambda: "free 124Mi of 1Gi" in ready(small, "waits").get("message", ""), "the ledger is as it was")
    small.colonnade("delete", "isvc", "stays")
    until(lambda: ready(small, "waits")["status"] == "True", "it starts when there is room")
    for name in ("waits", "never"):
        small.colonnade("delete", "isvc", name)


def test_gpus_go_to_one_replica_each_or_are_shared(small: Product, folder: Path) -> None:
    small.apply(manifest("whole", folder, limits={"nvidia.com/gpu": 1}))
    for name in ("half", "other"):
        small.apply(manifest(name, folder, annotations={"colonnade.dev/gpu-share": "0.5"}))
    seen = [small.ask(name, "v1", {"instances": []}).json()["predictions"][0] for name in ("whole", "half", "other")]
    assert seen == ["0", "1", "1"]
    nodes = small.colonnade("get", "nodes")
    assert "2/2" in nodes, nodes
    for name in ("whole", "half", "other"):
        small.colonnade("delete", "isvc", name)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core is no choice")
def test_a_replica_runs_on_as_many_cores_as_its_limit_says(small: Product, folder: Path) -> None:
    small.apply(manifest("pinned", folder, limits={"cpu": "1"}))
    cores = small.ask("pinned", "v1", {"instances": []}).json()["predictions"][1]
    assert len(cores) == 1
    small.colonnade("delete", "isvc", "pinned")


def test_one_that_takes_more_memory_than_its_limit_is_ended_and_says_so(small: Product, folder: Path) -> None:
    small.apply(manifest("greedy", folder, limits={"memory": "300Mi"}))
    small.ask("greedy", "v1", {"instances": [400]})
    ended = until(lambda: _ended(small, "greedy"), "it is ended")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    until(lambda: ready(small, "greedy")["status"] == "True", "it comes back")
    assert small.ask("greedy", "v1", {"instances": [1]}).status_code == 200


def _ended(product: Product, name: str) -> Json | None:
    for pod in pods(product, name):
        for status in pod["status"].get("containerStatuses") or []:
            ended: Json | None = (status.get("lastState") or {}).get("terminated")
            if ended:
                return ended
    return None
