"""What goes on while a model computes: health answers, the queue fills, clients leave."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.grpc import SERVICE

from .replica import DEADLINE, Replica, Start, until

# `predict` notes that it has begun, and waits until the file that the request names is there.
CODE = """
    import time
    from pathlib import Path
    from colonnade import Model

    class Gated(Model):
        def predict(self, payload):
            gate = Path(payload["gate"])
            with gate.with_suffix(".begun").open("a") as begun:
                begun.write("x")
            while not gate.exists():
                time.sleep(0.005)
            return {"predictions": [1]}
"""
ASYNC_CODE = """
    import asyncio
    from pathlib import Path
    from colonnade import Model

    class Waiting(Model):
        async def predict(self, payload):
            gate = Path(payload["gate"])
            gate.with_suffix(".begun").touch()
            try:
                while not gate.exists():
                    await asyncio.sleep(0.005)
            except asyncio.CancelledError:
                gate.with_suffix(".cancelled").touch()
                raise
            return {"predictions": [2]}
"""
SLEEPER = """
    import time
    from colonnade import Model

    class Sleeper(Model):
        inline = True  # an untrue promise, which is not believed

        def predict(self, payload):
            time.sleep(3)
            return {"predictions": [3]}
"""


class Gate:
    """A file that lets predictions end."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / name
        self.body = json.dumps({"gate": str(self.path)}).encode()

    @property
    def begun(self) -> int:
        """How many predictions have begun."""
        file = self.path.with_suffix(".begun")
        return len(file.read_text()) if file.exists() else 0

    def open(self) -> None:
        """Lets them end."""
        self.path.touch()


@pytest.fixture(scope="module")
def replica(start: Start) -> Replica:
    return start("--model-name", "m", "--max-queue", "2", code=CODE).ready()


def _client_of(replica: Replica) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE)
    client.connect(replica.socket)
    return client


def _ask(replica: Replica, body: bytes) -> socket.socket:
    """Sends a prediction and returns the connection without reading the answer."""
    client = _client_of(replica)
    client.sendall(b"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    return client


def _in_flight(replica: Replica, count: int) -> bool:
    return replica.metric('requests_in_flight{model_name="m"}') == count


async def test_health_metadata_and_metrics_answer_while_a_prediction_sleeps(start: Start) -> None:
    replica = start("--model-name", "m", code=SLEEPER).ready()
    async with replica.async_client() as client, grpc.aio.insecure_channel(replica.grpc) as channel:
        live = channel.unary_unary(
            f"/{SERVICE}/ServerLive",
            request_serializer=pb.ServerLiveRequest.SerializeToString,
            response_deserializer=pb.ServerLiveResponse.FromString,
        )
        await live(pb.ServerLiveRequest())
        began = time.monotonic()
        slow = asyncio.create_task(client.post("/v1/models/m:predict", json={}))
        await asyncio.to_thread(until, lambda: _in_flight(replica, 1), "the prediction")
        slowest = 0.0
        while not slow.done() and time.monotonic() - began < 2.0:
            for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/m", "/v2/models/m/ready", "/metrics"):
                asked = time.monotonic()
                assert (await client.get(path)).status_code == 200
                slowest = max(slowest, time.monotonic() - asked)
            asked = time.monotonic()
            assert (await live(pb.ServerLiveRequest())).live
            slowest = max(slowest, time.monotonic() - asked)
        assert not slow.done()
        assert slowest < 0.5
        assert (await slow).json() == {"predictions": [3]}
        assert time.monotonic() - began >= 3.0


async def test_a_full_queue_answers_429_at_once(replica: Replica, tmp_path: Path) -> None:
    gate = Gate(tmp_path, "full")
    async with replica.async_client(headers={"connection": "close"}) as client:
        asked = [asyncio.create_task(client.post("/v1/models/m:predict", content=gate.body)) for _ in range(3)]
        await asyncio.to_thread(until, lambda: _in_flight(replica, 3) and gate.begun, "three requests")
        refused = await client.post("/v1/models/m:predict", content=gate.body)
        assert refused.status_code == 429
        assert refused.headers["retry-after"] == "1"
        assert "2 requests wait for this model" in refused.json()["error"]
        gate.open()
        assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 3
    assert gate.begun == 3


async def test_a_client_that_leaves_takes_its_queued_request_along(replica: Replica, tmp_path: Path) -> None:
    gate, other = Gate(tmp_path, "first"), Gate(tmp_path, "left")
    other.open()
    left = replica.metric('request_total{model_name="m",protocol="v1",code="499"}')
    async with replica.async_client() as client:
        first = asyncio.create_task(client.post("/v1/models/m:predict", content=gate.body))
        await asyncio.to_thread(until, lambda: gate.begun, "the first prediction")
        leaving = [_ask(replica, other.body) for _ in range(2)]
        await asyncio.to_thread(until, lambda: _in_flight(replica, 3), "two more requests")
        for connection in leaving:
            connection.close()
        await asyncio.to_thread(until, lambda: _in_flight(replica, 1), "their end")
        gate.open()
        assert (await first).status_code == 200
        assert (await client.post("/v1/models/m:predict", content=gate.body)).status_code == 200
    assert other.begun == 0
    assert replica.metric('request_total{model_name="m",protocol="v1",code="499"}') == left + 2


async def test_a_grpc_client_that_leaves_does_so_too(replica: Replica, tmp_path: Path) -> None:
    gate = Gate(tmp_path, "grpc")
    async with replica.async_client() as client, grpc.aio.insecure_channel(replica.grpc) as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )
        first = asyncio.create_task(client.post("/v1/models/m:predict", content=gate.body))
        await asyncio.to_thread(until, lambda: gate.begun, "the first prediction")
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await infer(pb.ModelInferRequest(model_name="m"), timeout=0.2)
        assert failure.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.to_thread(until, lambda: _in_flight(replica, 1), "its end")
        assert replica.metric('requests_queued{model_name="m"}') == 1
        gate.open()
        assert (await first).status_code == 200


async def test_an_async_prediction_is_cancelled_when_its_client_leaves(start: Start, tmp_path: Path) -> None:
    replica = start("--model-name", "m", code=ASYNC_CODE).ready()
    gate, second = Gate(tmp_path, "a"), Gate(tmp_path, "b")
    connection = _ask(replica, gate.body)
    await asyncio.to_thread(until, gate.path.with_suffix(".begun").exists, "the prediction")
    connection.close()
    await asyncio.to_thread(until, gate.path.with_suffix(".cancelled").exists, "its cancellation")
    second.open()
    assert replica.http.post("/v1/models/m:predict", content=second.body).json() == {"predictions": [2]}


async def test_sigterm_ends_the_replica_after_its_last_answer(start: Start, tmp_path: Path) -> None:
    replica = start("--model-name", "m", code=CODE).ready()
    gate = Gate(tmp_path, "gate")
    keep_alive = replica.http
    async with replica.async_client() as client, grpc.aio.insecure_channel(replica.grpc) as channel:
        infer = channel.unary_unary(
            f"/{SERVICE}/ServerReady",
            request_serializer=pb.ServerReadyRequest.SerializeToString,
            response_deserializer=pb.ServerReadyResponse.FromString,
        )
        assert (await infer(pb.ServerReadyRequest())).ready
        asked = asyncio.create_task(client.post("/v1/models/m:predict", content=gate.body))
        await asyncio.to_thread(until, lambda: gate.begun, "the prediction")
        replica.signal(signal.SIGTERM)
        await asyncio.to_thread(until, lambda: not _is_ready(keep_alive), "not ready")
        assert replica.process.poll() is None
        gate.open()
        assert (await asked).json() == {"predictions": [1]}
    assert await asyncio.to_thread(replica.wait) == 0


def _is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/v2/health/ready").status_code == 200
    except httpx.TransportError:
        return False


async def test_what_does_not_end_within_the_grace_period_is_cut(start: Start, tmp_path: Path) -> None:
    replica = start("--model-name", "m", "--grace", "0.2", code=CODE).ready()
    gate = Gate(tmp_path, "gate")
    connection: Any = _ask(replica, gate.body)
    await asyncio.to_thread(until, lambda: gate.begun, "the prediction")
    replica.signal(signal.SIGTERM)
    assert await asyncio.to_thread(replica.wait) == 0
    connection.close()


async def test_a_second_signal_ends_it_at_once(start: Start, tmp_path: Path) -> None:
    replica = start("--model-name", "m", code=CODE).ready()
    gate = Gate(tmp_path, "gate")
    connection = _ask(replica, gate.body)
    await asyncio.to_thread(until, lambda: gate.begun, "the prediction")
    replica.signal(signal.SIGTERM)
    await asyncio.to_thread(until, lambda: replica.logged("stopping"), "the first signal")
    replica.signal(signal.SIGTERM)
    assert await asyncio.to_thread(replica.wait) == 128 + signal.SIGTERM
    connection.close()
