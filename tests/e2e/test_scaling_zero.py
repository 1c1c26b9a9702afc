"""A service at zero: requests wait for it in order, through the death of the control plane too, and not too long."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .product import Product, until
from .versions import Versions

MODEL = """
import itertools
import os
import time

import colonnade


class Counter(colonnade.Model):
    def load(self):
        while not os.path.exists(os.environ["GATE"]):
            time.sleep(0.01)
        self.count = itertools.count()

    async def predict(self, payload: dict):
        return {"predictions": [next(self.count)]}
"""
BODY = '{"instances": [0]}'


class Sleeper(Versions):
    """A service with a window of six seconds, whose model is loaded when the gate is there, and counts its calls."""

    @property
    def gate(self) -> Path:
        return self.folder / "gate"

    def declare(self) -> None:
        (self.folder / "model.py").write_text(MODEL)
        self.gate.touch()
        notes = {"autoscaling.knative.dev/window": "6s", "autoscaling.knative.dev/scale-to-zero-grace-period": "0s"}
        self.apply(self.predictor("one", minReplicas=0, maxReplicas=1, env__GATE=self.gate), notes)

    def asleep(self) -> None:
        """Wait until it has no replica, and let none get ready."""
        self.gate.touch()
        until(lambda: not self.product.replica_pids(), "the service sleeps", 60)
        self.gate.unlink()

    def held(self) -> int:
        """How many requests are under way in the gateway."""
        text = httpx.get(f"{self.product.http}/metrics").text
        found = re.findall(r'^colonnade_gateway_service_in_flight\{[^}]*revision="[^"]+"[^}]*\} (\d+)', text, re.M)
        return sum(map(int, found))

    def send(self, **headers: str) -> http.client.HTTPConnection:
        """A request that is not waited for."""
        connection = http.client.HTTPConnection(self.product.http.removeprefix("http://"), timeout=60)
        connection.request("POST", f"/v1/models/{self.name}:predict", BODY, headers)
        return connection

    def begin(self, count: int) -> list[http.client.HTTPConnection]:
        """So many requests, each of which is held before the next one is sent."""
        return [self.hold() for _ in range(count)]

    def hold(self) -> http.client.HTTPConnection:
        """A request, once it is held."""
        before = self.held()
        connection = self.send()
        until(lambda: self.held() > before, "the request is held")
        return connection


@pytest.fixture(scope="module")
def sleeper(product: Product, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sleeper]:
    service = Sleeper(product, "sleeper", tmp_path_factory.mktemp("sleeper"))
    service.declare()
    yield service
    service.gate.touch()


def answers(begun: list[http.client.HTTPConnection]) -> list[tuple[int, object]]:
    """Status and prediction of each."""
    found: list[tuple[int, object]] = []
    for connection in begun:
        response = connection.getresponse()
        body = json.loads(response.read())
        found.append((response.status, body.get("predictions", [body])[0]))
        connection.close()
    return found


def test_what_waits_for_a_replica_is_answered_in_its_order(sleeper: Sleeper) -> None:
    sleeper.asleep()
    begun = sleeper.begin(20)
    ((status, _),) = answers([sleeper.send(**{"x-envoy-expected-rq-timeout-ms": "300"})])
    assert status == 504, "one that may not wait so long is told in time, while the others wait"
    gone = sleeper.hold()
    gone.close()
    until(lambda: sleeper.held() == 20, "a caller who left waits no more")
    assert sleeper.product.replica_pids(), "a request wakes the service"
    sleeper.gate.touch()
    assert answers(begun) == [(200, number) for number in range(20)]
    assert any("waiting for a first replica" in told for told in sleeper.events("SuccessfulRescale"))


def test_a_model_that_sleeps_in_memory_is_told(sleeper: Sleeper) -> None:
    sleeper.asleep()
    note = until(lambda: sleeper.object["status"].get("annotations", {}).get("colonnade.dev/parked"), "it is parked")
    text = sleeper.api.get("/metrics").raise_for_status().text
    assert f'colonnade_control_parked_bytes{{namespace="default",service="sleeper"}} {note}' in text
    labels = 'namespace="default",service="sleeper",component="predictor",revision="sleeper-predictor-00001"'
    assert f"colonnade_control_wanted_replicas{{{labels}}} 0" in text
    assert f"colonnade_control_ready_replicas{{{labels}}} 0" in text
    waiting = sleeper.hold()
    until(lambda: "colonnade.dev/parked" not in sleeper.object["status"].get("annotations", {}), "it is woken")
    sleeper.gate.touch()
    assert answers([waiting])[0][0] == 200
    until(lambda: f"ready_replicas{{{labels}}} 1" in sleeper.api.get("/metrics").text, "it is ready")


def test_what_waits_survives_the_control_plane(sleeper: Sleeper) -> None:
    sleeper.asleep()
    begun = sleeper.begin(5)
    until(sleeper.product.replica_pids, "the service is woken")
    sleeper.product.kill_control_plane()
    begun += sleeper.begin(5)
    sleeper.gate.touch()
    sleeper.product.start()
    assert answers(begun) == [(200, number) for number in range(10)]
