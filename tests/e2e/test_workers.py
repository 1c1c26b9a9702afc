"""Several processes of the gateway on the same ports, and services that are reached without it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .load import Load
from .product import Product, service, until

CLIENTS = 8
BODY: dict[str, object] = {"instances": [[6.8, 2.8, 4.8, 1.4]]}


@pytest.fixture
def three(tmp_path: Path, iris_model: Path) -> Iterator[Product]:
    """A platform whose gateway has three processes."""
    product = Product(tmp_path / "state", "--gateway-workers", "3").start()
    product.apply(service("iris", {"sklearn": {"storageUri": str(iris_model)}}))
    yield product
    assert product.stop() == 0
    assert not product.processes()


def gateways(product: Product) -> set[int]:
    return {process.pid for process in product.processes("colonnade.gateway")}


def numbers(product: Product) -> dict[str, float]:
    lines = httpx.get(f"{product.http}/metrics").text.splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def answered(product: Product) -> float:
    begin, end = 'colonnade_gateway_requests_total{namespace="default",service="iris",', 'protocol="http",code="2xx"}'
    return sum(value for name, value in numbers(product).items() if name.startswith(begin) and name.endswith(end))


def test_each_process_serves_and_metrics_are_of_all(three: Product) -> None:
    assert len(gateways(three)) == 3
    url = f"{three.http}/v1/models/iris:predict"
    for _ in range(60):  # a connection each: the kernel spreads them
        assert httpx.post(url, json=BODY).status_code == 200
    assert {answered(three) for _ in range(10)} == {60.0}
    assert numbers(three)["colonnade_gateway_processes"] == 3


def test_a_killed_process_takes_only_its_own_connections(three: Product) -> None:
    before = gateways(three)
    with Load(f"{three.http}/v1/models/iris:predict", BODY, CLIENTS) as load:
        until(lambda: load.answered > 100, "answers")
        victim = sorted(before)[1]
        os.kill(victim, signal.SIGKILL)
        until(lambda: len(gateways(three) - {victim}) == 3, "the process is started again")
        goal = load.answered + 200
        until(lambda: load.answered >= goal, f"further answers; so far {load.outcomes}")
    print(f"\none of three gateways killed: {load.answered} answered, failed {load.failed}")
    assert sum(load.failed.values()) <= CLIENTS
    assert before - {victim} <= gateways(three)


def test_a_restarted_control_plane_adopts_all_and_pushes_to_all(three: Product, iris_model: Path) -> None:
    before = gateways(three)
    three.kill_control_plane()
    three.start()
    assert gateways(three) == before
    three.apply(service("second", {"sklearn": {"storageUri": str(iris_model)}}))
    url = f"{three.http}/v1/models/second:predict"
    assert {httpx.post(url, json=BODY).status_code for _ in range(40)} == {200}


def test_another_number_of_processes_after_a_restart(three: Product) -> None:
    three.kill_control_plane()
    three.options = ("--gateway-workers", "1")
    three.start()
    assert len(gateways(three)) == 1
    assert httpx.post(f"{three.http}/v1/models/iris:predict", json=BODY).status_code == 200
    assert numbers(three)["colonnade_gateway_processes"] == 1


def direct_url(product: Product, name: str) -> str:
    status = json.loads(product.colonnade("get", "isvc", name, "-o", "json"))["status"]
    return str(status["annotations"]["colonnade.dev/direct-url"])


def replica_of(product: Product) -> int:
    (pid,) = product.replica_pids()
    return pid


def test_a_port_of_its_own_follows_the_replicas_and_outlives_the_control_plane(
    tmp_path: Path, iris_model: Path
) -> None:
    product = Product(tmp_path / "state").start()
    try:
        manifest = service("iris", {"sklearn": {"storageUri": str(iris_model)}})
        manifest["metadata"]["annotations"] = {"colonnade.dev/direct": "true"}
        product.apply(manifest)
        url = direct_url(product, "iris")
        predict = f"{url}/v1/models/iris:predict"
        assert httpx.post(predict, json=BODY).status_code == 200
        assert product.ask("iris", "v1", BODY).status_code == 200  # the gateway still reaches it
        assert url not in (product.http, product.endpoints["api"])

        def answers() -> bool:
            try:
                return httpx.post(predict, json=BODY).status_code == 200
            except httpx.TransportError:
                return False

        old = replica_of(product)
        os.kill(old, signal.SIGKILL)
        until(lambda: product.replica_pids() not in ([old], []) and answers(), "the next replica has the port")

        product.kill_control_plane()
        assert answers()
        product.start()
        assert direct_url(product, "iris") == url
        old = replica_of(product)
        os.kill(old, signal.SIGKILL)
        until(lambda: product.replica_pids() not in ([old], []) and answers(), "the next replica has the port again")

        manifest["metadata"]["annotations"] = {"colonnade.dev/direct": "false"}
        product.apply(manifest)
        until(lambda: not answers(), "without the annotation there is no such port")
        assert product.ask("iris", "v1", BODY).status_code == 200
    finally:
        product.stop()
