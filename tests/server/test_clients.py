"""The clients that people have, unmodified, against one replica: tritonclient, KServe's, gRPC health and reflection."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import joblib
import numpy as np
import pytest
import tritonclient.http as triton_http
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tritonclient.utils import InferenceServerException

from .replica import DEADLINE, Replica, Start, payload

ROWS = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]], dtype=np.float32)


@pytest.fixture(scope="module")
def replica(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Replica:
    folder = tmp_path_factory.mktemp("iris")
    joblib.dump(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), folder / "model.joblib")
    argv = ("--model-name", "iris", "--runtime", "sklearn", "--model-dir", str(folder))
    return start(*argv, "--max-message", str(1 << 20), tcp=True).ready()


def _triton_tensor(rows: np.ndarray, **options: Any) -> Any:
    tensor = triton_http.InferInput("input-0", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, **options)
    return tensor


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("coding", [None, "gzip", "deflate"])
def test_triton_http(replica: Replica, binary: bool, coding: str | None) -> None:
    with triton_http.InferenceServerClient(replica.authority) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("iris")
        assert client.is_model_ready("iris", "1")
        assert client.get_server_metadata()["name"] == "colonnade"
        assert client.get_model_metadata("iris", "1")["platform"] == "sklearn"
        assert client.get_model_repository_index()[0]["state"] == "READY"
        result = client.infer(
            "iris",
            [_triton_tensor(ROWS, binary_data=binary)],
            outputs=[triton_http.InferRequestedOutput("output-0", binary_data=binary)],
            request_id="t1",
            request_compression_algorithm=coding,
            response_compression_algorithm=coding,
        )
        assert result.as_numpy("output-0").tolist() == [1, 1]
        assert result.get_response()["id"] == "t1"
        with pytest.raises(InferenceServerException, match="Model with name zz does not exist"):
            client.infer("zz", [_triton_tensor(ROWS)])


def test_triton_http_loads_and_unloads(replica: Replica) -> None:
    with triton_http.InferenceServerClient(replica.authority) as client:
        client.unload_model("iris")
        assert not client.is_model_ready("iris")
        client.load_model("iris")
        assert client.is_model_ready("iris")


def test_triton_grpc(replica: Replica) -> None:
    program = Path(__file__).with_name("triton_grpc.py")
    ended = subprocess.run(
        [sys.executable, str(program), replica.grpc], capture_output=True, text=True, timeout=DEADLINE
    )
    assert ended.returncode == 0, ended.stderr


async def test_kserve_rest(replica: Replica, kserve: Path) -> None:
    base = f"http://{replica.authority}"
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    answer = await client.infer(base, payload(kserve, "iris_input.json"), model_name="iris")
    assert answer == {"predictions": [1, 1]}
    assert await client.is_model_ready(base, "iris")
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    assert await client.is_server_live(base)
    assert await client.is_server_ready(base)
    assert await client.is_model_ready(base, "iris")
    for name in ("iris_input_v2.json", "iris_input_v2_binary.json", "iris_input_v2_all_binary.json"):
        answer = await client.infer(base, payload(kserve, name), model_name="iris")
        assert answer.outputs[0].as_numpy().tolist() == [1, 1], name
    tensor = InferInput("input-0", [2, 4], "FP32")
    tensor.set_data_from_numpy(ROWS, binary_data=True)
    answer = await client.infer(base, InferRequest("iris", [tensor]), model_name="iris")
    assert answer.outputs[0].as_numpy().tolist() == [1, 1]


async def test_kserve_grpc(replica: Replica, kserve: Path) -> None:
    async with InferenceGRPCClient(replica.grpc, retries=0) as client:
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready("iris")
        [entry] = payload(kserve, "iris_input_v2_grpc.json")["inputs"]
        typed = InferInput(entry["name"], entry["shape"], entry["datatype"], entry["contents"]["fp32_contents"])
        raw = InferInput("input-0", [2, 4], "FP32")
        raw.set_data_from_numpy(ROWS)
        for tensor in (typed, raw):
            answer = await client.infer(InferRequest("iris", [tensor]))
            assert answer.outputs[0].as_numpy().tolist() == [1, 1]


def test_grpc_repository_and_readiness(replica: Replica) -> None:
    """Load and unload over gRPC, with what health and inference say in between."""
    serving = health_pb2.HealthCheckResponse
    with grpc.insecure_channel(replica.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="iris"))
        assert next(watch).status == serving.SERVING
        services = ("", "inference.GRPCInferenceService", "iris")
        stub = GRPCInferenceServiceStub(channel)
        assert stub.RepositoryModelUnload(pb.RepositoryModelUnloadRequest(model_name="iris")).isUnloaded
        for service in services:
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == serving.NOT_SERVING
        assert next(watch).status == serving.NOT_SERVING
        assert not stub.ModelReady(pb.ModelReadyRequest(name="iris")).ready
        assert not stub.ServerReady(pb.ServerReadyRequest()).ready
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelInfer(pb.ModelInferRequest(model_name="iris"))
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert refused.value.details() == "Model with name iris is not ready."
        assert stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="iris")).isLoaded
        assert next(watch).status == serving.SERVING
        for service in services:
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == serving.SERVING
        with pytest.raises(grpc.RpcError) as unknown:
            health.Check(health_pb2.HealthCheckRequest(service="zz"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
        assert next(health.Watch(health_pb2.HealthCheckRequest(service="zz"))).status == serving.SERVICE_UNKNOWN
        with pytest.raises(grpc.RpcError) as unknown:
            stub.RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="zz"))
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_lists_and_describes_the_services(replica: Replica) -> None:
    request = reflection_pb2.ServerReflectionRequest
    with grpc.insecure_channel(replica.grpc) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = [request(list_services=""), request(file_containing_symbol="inference.GRPCInferenceService")]
        listed, described = stub.ServerReflectionInfo(iter(asked))
        names = {service.name for service in listed.list_services_response.service}
        assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= names
        [file] = described.file_descriptor_response.file_descriptor_proto
        assert b"GRPCInferenceService" in file
