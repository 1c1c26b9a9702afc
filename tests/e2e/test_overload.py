"""More requests than a service takes: what is taken is answered in time, the rest is told so at once."""

from __future__ import annotations

import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from .load import Load
from .product import Product, service, until

SECONDS = 0.05  # of one call of the slow model
SLOW = f"""
import time
import numpy as np
import colonnade


class Slow(colonnade.Model):
    def predict(self, x: np.ndarray) -> np.ndarray:
        time.sleep({SECONDS})
        return x
"""
BODY: dict[str, Any] = {"instances": [1.0]}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The predictor of a slow model."""
    folder = tmp_path_factory.mktemp("slow")
    (folder / "model.py").write_text(SLOW)
    return {"model": {"modelFormat": {"name": "python"}, "storageUri": str(folder)}}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory, model: dict[str, Any]) -> Iterator[Product]:
    """A platform with a slow service and a second one of the same model."""
    product = Product(tmp_path_factory.mktemp("platform") / "state").start()
    for name in ("slow", "calm"):
        manifest = service(name, model)
        manifest["metadata"]["annotations"] = {
            "colonnade.dev/queue-target": "0.2",
            "colonnade.dev/execution": "thread",
            "colonnade.dev/max-batch-size": "1",
        }
        product.apply(manifest)
    yield product
    assert product.stop() == 0


def url(product: Product, name: str) -> str:
    return f"{product.http}/serving/default/{name}/v1/models/{name}:predict"


def flood(product: Product, requests: int, **headers: str) -> list[httpx.Response]:
    """The answers to requests that are all sent at once."""
    address = url(product, "slow")
    limits = httpx.Limits(max_connections=requests)
    with httpx.Client(timeout=60, limits=limits) as client, ThreadPoolExecutor(requests) as threads:
        start = threading.Barrier(requests)

        def ask(_: int) -> httpx.Response:
            start.wait()
            return client.post(address, json=BODY, headers=headers)

        return list(threads.map(ask, range(requests)))


def test_what_cannot_be_served_in_time_is_refused_with_a_time_to_come_again(platform: Product) -> None:
    for _ in range(3):  # its time is known then
        assert httpx.post(url(platform, "slow"), json=BODY).status_code == 200
    live = threading.Event()
    failures: list[int] = []

    def watch() -> None:
        with httpx.Client() as client:
            while not live.is_set():
                answer = client.get(f"{platform.http}/serving/default/slow/v2/health/live")
                if answer.status_code != 200:
                    failures.append(answer.status_code)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        answers = flood(platform, 60)
    finally:
        live.set()
        watching.join()
    refused = [answer for answer in answers if answer.status_code != 200]
    served = [answer for answer in answers if answer.status_code == 200]
    assert {answer.status_code for answer in refused} == {429}
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert any("would wait" in answer.json()["error"] for answer in refused)
    assert len(served) >= 4
    assert all(answer.json() == {"predictions": [1.0]} for answer in served)
    assert not failures
    until(lambda: httpx.post(url(platform, "slow"), json=BODY).status_code == 200, "it recovers")


def test_a_request_that_cannot_end_before_its_deadline_is_refused_at_once(platform: Product) -> None:
    assert httpx.post(url(platform, "slow"), json=BODY).status_code == 200
    with Load(url(platform, "slow"), BODY, clients=3) as load:
        until(lambda: load.answered >= 3, "the model is busy")
        hurried = {"x-envoy-upstream-rq-timeout-ms": str(int(SECONDS * 1000) + 5)}
        answers = [httpx.post(url(platform, "slow"), json=BODY, headers=hurried) for _ in range(5)]
    assert {answer.status_code for answer in answers} <= {429, 504}
    assert not load.failed


def test_a_flooded_service_does_not_slow_another_one(platform: Product) -> None:
    def latencies(count: int) -> list[float]:
        found = []
        with httpx.Client() as client:
            for _ in range(count):
                begun = time.perf_counter()
                assert client.post(url(platform, "calm"), json=BODY).status_code == 200
                found.append(time.perf_counter() - begun)
        return found

    alone = statistics.median(latencies(20))
    with Load(url(platform, "slow"), BODY, clients=30) as load:
        until(lambda: load.outcomes["429"] > 0, "the other one is flooded")
        beside = statistics.median(latencies(20))
    print(f"\nmedian alone {alone * 1000:.0f} ms, beside a flooded service {beside * 1000:.0f} ms")
    assert set(load.outcomes) <= {"200", "429"}
    assert load.answered > 0


def test_a_replica_that_comes_back_closes_the_breaker(platform: Product, model: dict[str, Any]) -> None:
    """A stopped process accepts connections and answers nothing: only the route's limit tells."""
    manifest = service("hung", {**model, "timeout": 1})
    manifest["metadata"]["annotations"] = {"colonnade.dev/breaker-failures": "3"}
    platform.apply(manifest)
    (hung,) = [one.pid for one in platform.processes("colonnade.server") if "hung" in one.cmdline()]
    os.kill(hung, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(3) as threads:
            asked = list(threads.map(lambda _: httpx.post(url(platform, "hung"), json=BODY, timeout=30), range(3)))
        assert {answer.status_code for answer in asked} == {504}
        refused = httpx.post(url(platform, "hung"), json=BODY)
        assert refused.status_code == 503
        assert "takes no request now" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) >= 1
    finally:
        os.kill(hung, signal.SIGCONT)
    until(lambda: httpx.post(url(platform, "hung"), json=BODY).status_code == 200, "it answers again")
