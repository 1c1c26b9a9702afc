"""A service that follows its load: from zero, up, down and to zero again, without a lost request."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .load import Load
from .product import BIN, Product, service, until

MODEL = """
import asyncio
import colonnade
class Slow(colonnade.Model):
    def load(self):
        pass
    async def predict(self, payload: dict):
        await asyncio.sleep(0.05)
        return {"predictions": payload["instances"]}
"""


@pytest.fixture(scope="module")
def sleeper(product: Product, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A service that scales from 0 to 3 by a window of six seconds, one request at a time for each replica."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "model.py").write_text(MODEL)
    predictor = {
        "minReplicas": 0,
        "maxReplicas": 3,
        "scaleTarget": 1,
        "model": {"modelFormat": {"name": "python"}, "storageUri": str(folder)},
    }
    manifest = service("slow", predictor)
    manifest["metadata"]["annotations"] = {
        "colonnade.dev/trust-code": "true",
        "autoscaling.knative.dev/window": "6s",
        "autoscaling.knative.dev/target-utilization-percentage": "100",
    }
    product.apply(manifest)
    return "slow"


@pytest.fixture
def recorder(product: Product) -> Iterator[subprocess.Popen[str]]:
    words = [BIN / "colonnade", "autoscale", "record", "slow"]
    process = subprocess.Popen(words, env=product.environment, stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def reasons(product: Product) -> list[str]:
    events = json.loads(product.colonnade("get", "events", "-o", "json"))["items"]
    return [event["message"] for event in events if event["reason"] == "SuccessfulRescale"]


def test_it_sleeps_wakes_and_follows_the_load(
    product: Product, sleeper: str, recorder: subprocess.Popen[str], tmp_path: Path
) -> None:
    until(lambda: not product.replica_pids(), "the service sleeps when nobody asks", 40)
    assert json.loads(product.colonnade("get", "isvc", sleeper, "-o", "json"))["status"]["conditions"]

    answer = product.ask(sleeper, "v1", {"instances": [7]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": [7]})
    assert len(product.replica_pids()) == 1
    assert any("waiting for a first replica" in reason for reason in reasons(product))

    with Load(f"{product.http}/v1/models/{sleeper}:predict", {"instances": [1]}, clients=6) as load:
        until(lambda: len(product.replica_pids()) == 3, "the load brings the most replicas", 40)
        enough = load.answered + 200
        until(lambda: load.answered > enough, "they are asked", 40)
    assert load.failed == {}

    until(lambda: not product.replica_pids(), "the service sleeps again", 60)
    assert any("New size: 3," in reason and "in panic" in reason for reason in reasons(product))

    recorder.terminate()
    trace = tmp_path / "trace.csv"
    assert recorder.stdout is not None
    trace.write_text(recorder.stdout.read())
    found = json.loads(
        product.colonnade(
            "autoscale", "simulate", str(trace), "-o", "json", "--annotation", "target=1", "--annotation", "window=6s"
        )
    )
    assert max(second["load"] for second in found["seconds"]) == pytest.approx(6.0, abs=2.5)


def test_a_restarted_control_plane_wakes_what_sleeps(product: Product, sleeper: str) -> None:
    until(lambda: not product.replica_pids(), "the service sleeps", 60)
    product.kill_control_plane()
    product.start()
    assert product.ask(sleeper, "v1", {"instances": [1]}).status_code == 200
