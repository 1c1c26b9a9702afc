"""Streams through the gateway to a replica of ours: gRPC, WebSocket, and server-sent events."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from colonnade.wire import openinference_pb2 as pb

from ..server.talker import CODE
from .product import Product, service, until

PATH = "/serving/default/m/v2/models/m/infer"
TIMEOUT = 30


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("talker")
    (folder / "model.py").write_text(textwrap.dedent(CODE))
    return folder


def manifest(model: Path, **env: str) -> dict[str, Any]:
    entries = [{"name": name, "value": value} for name, value in env.items()]
    predictor = {"modelFormat": {"name": "python"}, "storageUri": str(model), "env": entries}
    return service("m", {"model": predictor})


@pytest.fixture(scope="module")
def talker(product: Product, model: Path) -> Product:
    product.apply(manifest(model))
    return product


def request(*numbers: float, **fields: Any) -> str:
    tensor = {"name": "x", "shape": [1, len(numbers)], "datatype": "FP32", "data": numbers}
    return json.dumps({"inputs": [tensor], **fields})


def opened(product: Product, path: str = PATH, **options: Any) -> ClientConnection:
    return connect(f"{product.http.replace('http', 'ws', 1)}{path}", proxy=None, **options)


def answer(socket: ClientConnection) -> Any:
    return json.loads(socket.recv(timeout=TIMEOUT))


def target(product: Product) -> str:
    return product.endpoints["grpc"].removeprefix("http://").removeprefix("grpc://")


def test_tritonclient_s_stream(talker: Product) -> None:
    program = Path(__file__).parents[1] / "server" / "triton_stream.py"
    ended = subprocess.run([sys.executable, program, target(talker)], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize("path", [PATH, "/v2/models/m/infer"])
def test_a_websocket(talker: Product, path: str) -> None:
    with opened(talker, path) as socket:
        for i in range(200):
            socket.send(request(i + 1, id=str(i)))
        for i in range(200):
            assert answer(socket)["id"] == str(i)
        socket.send(request(0, 4, 5))
        assert [answer(socket)["outputs"] != [] for _ in range(3)] == [True, True, False]
        assert socket.ping().wait(TIMEOUT)
    assert socket.close_code == 1000


def test_handshakes_that_the_replica_refuses_say_why(talker: Product) -> None:
    for path, origin, status, said in (
        ("/serving/default/m/v2/models/m/versions/7/infer", None, 404, "no version 7"),
        (PATH, "https://elsewhere.example", 403, "elsewhere.example"),
    ):
        with pytest.raises(InvalidStatus) as refused:
            opened(talker, path, origin=origin)
        assert refused.value.response.status_code == status
        assert said in bytes(refused.value.response.body).decode()


def test_server_sent_events(talker: Product) -> None:
    url = f"{talker.http}{PATH}_stream"
    with httpx.stream("POST", url, content=request(0, 1, -1), timeout=TIMEOUT) as reply:
        assert reply.headers["content-type"] == "text/event-stream"
        assert json.loads(next(reply.iter_lines()).removeprefix("data: "))["outputs"][0]["data"] == [1]


def test_a_replica_that_is_killed_ends_its_streams_and_a_new_one_takes_the_next(talker: Product) -> None:
    message = pb.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([0, -1])
    with grpc.insecure_channel(target(talker)) as channel, opened(talker) as socket:
        call = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )(iter([message]), timeout=TIMEOUT)
        assert next(call).infer_response.outputs
        socket.send(request(0, -1))
        assert answer(socket)["outputs"]
        (old,) = talker.replica_pids()
        os.kill(old, signal.SIGKILL)
        with pytest.raises(grpc.RpcError) as broken:
            list(call)
        assert broken.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        with pytest.raises(ConnectionClosed):
            list(iter(lambda: answer(socket), None))
    until(lambda: talker.replica_pids() not in ([], [old]), "a new replica")

    def again() -> bool:
        try:
            with opened(talker) as socket:
                socket.send(request(2))
                return bool(answer(socket)["outputs"][0]["data"] == [4])
        except (InvalidStatus, ConnectionClosed):
            return False

    until(again, "an answer of the new replica")


def test_a_new_revision_tells_the_sockets_of_the_old_one_to_go(talker: Product, model: Path) -> None:
    with opened(talker) as socket:
        socket.send(request(1))
        assert answer(socket)["outputs"]
        talker.apply(manifest(model, WHICH="second"))
        with pytest.raises(ConnectionClosed) as closed:
            answer(socket)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001
    with opened(talker) as socket:
        socket.send(request(1))
        assert answer(socket)["outputs"]
