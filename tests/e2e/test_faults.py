"""kill -9 of each part under load. What fails is counted and printed (`pytest -s`); what may fail is bounded."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from .load import Load
from .product import Product, service, until

CLIENTS = 8
BODY: dict[str, object] = {"instances": [[6.8, 2.8, 4.8, 1.4]]}


@pytest.fixture
def pair(tmp_path: Path, iris_model: Path) -> Iterator[Product]:
    """A platform with one service of two replicas."""
    product = Product(tmp_path / "state").start()
    product.apply(service("iris", {"minReplicas": 2, "sklearn": {"storageUri": str(iris_model)}}))
    until(lambda: len(product.replica_pids()) == 2 and ready_replicas(product) == 2, "two replicas are ready")
    yield product
    product.stop()


def ready_replicas(product: Product) -> int:
    rows = product.colonnade("get", "pods").splitlines()[1:]
    return sum("1/1" in row and "Running" in row for row in rows)


def under_load(product: Product) -> Load:
    return Load(f"{product.http}/v1/models/iris:predict", BODY, CLIENTS)


def more(load: Load, count: int = 200) -> None:
    """Waits for that many further good answers."""
    goal = load.answered + count
    until(lambda: load.answered >= goal, f"{count} further answers; so far {load.outcomes}")


def test_a_killed_replica_costs_only_what_it_had_in_flight(pair: Product) -> None:
    with under_load(pair) as load:
        more(load)
        victim = pair.replica_pids()[0]
        os.kill(victim, signal.SIGKILL)
        more(load)
        until(lambda: victim not in pair.replica_pids() and ready_replicas(pair) == 2, "the replica is replaced")
        more(load)
    print(f"\nreplica killed: {load.answered} answered, failed {load.failed}")
    assert sum(load.failed.values()) <= CLIENTS
    assert set(load.failed) <= {"502"}
    events = pair.colonnade("get", "events")
    assert "BackOff" in events or "Killed" in events or "Restart" in events, events


def test_safe_methods_are_retried_on_the_other_replica(pair: Product) -> None:
    url = f"{pair.http}/v2/models/iris/ready"
    os.kill(pair.replica_pids()[0], signal.SIGKILL)
    answers = [httpx.get(url).status_code for _ in range(200)]
    assert answers == [200] * 200


def test_a_killed_control_plane_costs_nothing_and_adopts_what_runs(pair: Product) -> None:
    replicas, gateway = pair.replica_pids(), pair.gateway_pid()
    with under_load(pair) as load:
        more(load)
        pair.kill_control_plane()
        more(load, 500)
        pair.start()
        more(load, 500)
        until(lambda: ready_replicas(pair) == 2, "the adopted replicas are ready")
        more(load)
    print(f"\ncontrol plane killed and restarted: {load.answered} answered, failed {load.failed}")
    assert not load.failed
    assert pair.replica_pids() == replicas
    assert pair.gateway_pid() == gateway


def test_a_killed_gateway_costs_only_what_it_had_in_flight(pair: Product) -> None:
    with under_load(pair) as load:
        more(load)
        victim = pair.gateway_pid()
        os.kill(victim, signal.SIGKILL)
        more(load)
    print(f"\ngateway killed: {load.answered} answered, failed {load.failed}")
    assert sum(load.failed.values()) <= CLIENTS
    assert pair.gateway_pid() != victim


def test_a_gateway_killed_after_adoption_comes_back_on_its_port(pair: Product) -> None:
    pair.kill_control_plane()
    pair.start()
    victim = pair.gateway_pid()
    with under_load(pair) as load:
        more(load)
        os.kill(victim, signal.SIGKILL)
        more(load)
    assert sum(load.failed.values()) <= CLIENTS


def test_a_replica_that_dies_while_the_control_plane_is_down_is_replaced(pair: Product) -> None:
    replicas = pair.replica_pids()
    pair.kill_control_plane()
    os.kill(replicas[0], signal.SIGKILL)
    until(lambda: replicas[0] not in pair.replica_pids(), "it has ended, and no request is sent to what is just ending")
    answers = {httpx.post(f"{pair.http}/v1/models/iris:predict", json=BODY).status_code for _ in range(100)}
    assert answers == {200}  # the gateway turns to the replica that lives
    pair.start()
    until(lambda: len(pair.replica_pids()) == 2 and ready_replicas(pair) == 2, "the dead replica is replaced")
    assert replicas[1] in pair.replica_pids()


def test_stop_loses_no_request_in_flight(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(
        "import time\nimport numpy as np\nimport colonnade\n\n\nclass Slow(colonnade.Model):\n"
        "    def predict(self, x: np.ndarray) -> np.ndarray:\n        time.sleep(1)\n        return x\n"
    )
    product = Product(tmp_path / "state").start()
    try:
        product.apply(service("slow", {"model": {"modelFormat": {"name": "python"}, "storageUri": str(tmp_path)}}))
        load = Load(f"{product.http}/v1/models/slow:predict", {"instances": [1]}, clients=1)
        with load:
            until(lambda: in_flight(product), "a request is in flight")
            assert product.process is not None
            product.process.terminate()
            load.end()
        assert product.process.wait(timeout=60) == 0
        assert load.outcomes == {"200": load.answered}
        assert load.answered >= 1
        assert not product.processes()
    finally:
        product.stop()


def test_stop_under_load_loses_no_request(pair: Product) -> None:
    url = f"{pair.http}/v1/models/iris:predict"
    assert pair.process is not None
    with Load(url, BODY, clients=16) as load:
        more(load, 1000)
        pair.process.terminate()
        assert pair.process.wait(timeout=60) == 0
    print(f"\nstopped: {load.answered} answered, failed {load.failed}")
    assert set(load.failed) <= {"ConnectError"}  # who comes when nobody listens any more
    assert not pair.processes()


def in_flight(product: Product) -> str:
    """The lines of the gateway's metrics that show a request in flight."""
    lines = httpx.get(f"{product.http}/metrics").text.splitlines()
    return "\n".join(
        line for line in lines if "in_flight" in line and not line.startswith("#") and not line.endswith(" 0")
    )


@pytest.mark.parametrize(
    ("sent", "code", "reason"),
    [
        (b"POST /apis HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n", 413, "RequestEntityTooLarge"),
        (b"BROKEN\r\n\r\n", 400, "BadRequest"),
    ],
)
def test_what_the_api_refuses_before_it_reads_it_is_a_status(
    pair: Product, sent: bytes, code: int, reason: str
) -> None:
    port = int(pair.endpoints["api"].rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(sent)
        head, _, body = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % code)
    status = json.loads(body)
    assert (status["kind"], status["code"], status["reason"]) == ("Status", code, reason)


def test_a_second_up_on_the_same_state_is_refused_with_the_pid(pair: Product) -> None:
    assert pair.process is not None
    said = pair.colonnade("up", "--http-port", "0", "--grpc-port", "0", "--api-port", "0", code=1)
    assert str(pair.process.pid) in said
    assert httpx.post(f"{pair.http}/v1/models/iris:predict", json=BODY).status_code == 200
