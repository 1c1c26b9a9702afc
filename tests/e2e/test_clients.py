"""The tools that people already use, unmodified: kubectl, KServe's SDK, tritonclient."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
import tritonclient.http
import yaml
from kserve import (
    InferenceGRPCClient,
    InferenceRESTClient,
    InferInput,
    InferRequest,
    KServeClient,
    RESTConfig,
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1PredictorSpec,
    V1beta1SKLearnSpec,
)
from kubernetes.client import V1ObjectMeta

from .product import Product, service

FLOWERS = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]], np.float32)


@pytest.fixture
def iris(product: Product, iris_model: Path) -> str:
    product.apply(service("iris", {"sklearn": {"storageUri": str(iris_model)}}))
    return "iris"


@pytest.mark.usefixtures("kubectl")
def test_kubectl_through_the_whole_life(product: Product, iris_model: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "isvc.yaml"
    manifest.write_text(yaml.safe_dump(service("life", {"sklearn": {"storageUri": str(iris_model)}})))
    assert "created" in product.kubectl("create", "-f", str(manifest))
    product.kubectl("wait", "--for=condition=Ready", "isvc/life", "--timeout=60s")
    row = product.kubectl("get", "isvc", "life")
    assert row.split()[:3] == ["NAME", "URL", "READY"]
    assert "http://life-default.example.com" in row
    product.kubectl("apply", "-f", str(manifest))
    described = product.kubectl("describe", "isvc", "life")
    assert "Events:" in described
    assert "Started" in product.kubectl("get", "events")
    pod = product.kubectl("get", "pods", "-l", "serving.kserve.io/inferenceservice=life", "-o", "name").strip()
    assert "life" in product.kubectl("logs", pod)
    product.kubectl("patch", "isvc", "life", "--type=merge", "-p", '{"spec":{"predictor":{"minReplicas":2}}}')
    product.kubectl("wait", "--for=jsonpath={.status.modelStatus.copies.totalCopies}=2", "isvc/life", "--timeout=60s")
    pods = product.kubectl("get", "pods", "-l", "serving.kserve.io/inferenceservice=life", "-o", "name").split()
    assert len(pods) == 2
    assert product.ask("life", "v1", {"instances": FLOWERS.tolist()}).json() == {"predictions": [1, 1]}
    explained = product.kubectl("explain", "isvc.spec.predictor")
    assert "minReplicas" in explained
    product.kubectl("delete", "isvc", "life", "--wait", "--timeout=60s")
    assert product.ask("life", "v1", {"instances": [[1, 2, 3, 4]]}).status_code == 404
    said = product.kubectl("get", "isvc", "life", code=1)
    assert 'inferenceservices.serving.kserve.io "life" not found' in said


def test_kserve_sdk_manages_a_service(product: Product, iris_model: Path) -> None:
    client = KServeClient(config_file=str(product.state / "kubeconfig"))
    wanted = V1beta1InferenceService(
        api_version="serving.kserve.io/v1beta1",
        kind="InferenceService",
        metadata=V1ObjectMeta(name="sdk", namespace="default"),
        spec=V1beta1InferenceServiceSpec(
            predictor=V1beta1PredictorSpec(sklearn=V1beta1SKLearnSpec(storage_uri=str(iris_model)))
        ),
    )
    client.create(wanted)
    client.wait_isvc_ready("sdk", namespace="default", timeout_seconds=60, polling_interval=1)
    assert client.is_isvc_ready("sdk", namespace="default")
    found = client.get("sdk", namespace="default")
    assert found["spec"]["predictor"]["model"]["modelFormat"]["name"] == "sklearn"
    wanted.metadata.labels = {"team": "flowers"}
    client.patch("sdk", wanted, namespace="default")
    assert client.get("sdk", namespace="default")["metadata"]["labels"] == {"team": "flowers"}
    client.get("sdk", namespace="default", watch=True, timeout_seconds=20)
    wanted.metadata.resource_version = client.get("sdk", namespace="default")["metadata"]["resourceVersion"]
    wanted.metadata.labels = {"team": "petals"}
    client.replace("sdk", wanted, namespace="default")
    assert client.get("sdk", namespace="default")["metadata"]["labels"] == {"team": "petals"}
    client.delete("sdk", namespace="default")


def test_kserve_rest_client(product: Product, iris: str) -> None:
    async def ask() -> None:
        v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
        base = f"{product.http}/serving/default/iris"
        answer = await v1.infer(base, {"instances": FLOWERS.tolist()}, model_name=iris)
        assert answer == {"predictions": [1, 1]}
        v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
        for binary in (False, True):
            tensor = InferInput("input-0", list(FLOWERS.shape), "FP32")
            tensor.set_data_from_numpy(FLOWERS, binary_data=binary)
            request = InferRequest(model_name=iris, infer_inputs=[tensor], parameters={"binary_data_output": binary})
            result = await v2.infer(base, request, model_name=iris)
            assert result.outputs[0].as_numpy().tolist() == [1, 1]
        assert await v2.is_server_live(base)
        assert await v2.is_server_ready(base)
        assert await v2.is_model_ready(base, iris)

    asyncio.run(ask())


def test_kserve_grpc_client(product: Product, iris: str) -> None:
    async def ask() -> None:
        client = InferenceGRPCClient(product.endpoints["grpc"])
        tensor = InferInput("input-0", list(FLOWERS.shape), "FP32")
        tensor.set_data_from_numpy(FLOWERS)
        answer = await client.infer(InferRequest(model_name=iris, infer_inputs=[tensor]))
        assert answer.outputs[0].as_numpy().tolist() == [1, 1]
        assert await client.is_server_live()
        assert await client.is_server_ready()
        assert await client.is_model_ready(iris)
        await client.close()

    asyncio.run(ask())


@pytest.mark.parametrize("binary", [False, True])
def test_triton_http_client(product: Product, iris: str, binary: bool) -> None:
    client = tritonclient.http.InferenceServerClient(product.http.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(iris)
    assert client.get_model_metadata(iris)["name"] == iris
    assert iris in {entry["name"] for entry in client.get_model_repository_index()}
    tensor = tritonclient.http.InferInput("input-0", list(FLOWERS.shape), "FP32")
    tensor.set_data_from_numpy(FLOWERS, binary_data=binary)
    output = tritonclient.http.InferRequestedOutput("output-0", binary_data=binary)
    answer = client.infer(iris, [tensor], outputs=[output])
    assert answer.as_numpy("output-0").tolist() == [1, 1]


TRITON_GRPC = """
import sys
import numpy as np
import tritonclient.grpc
address, model = sys.argv[1:]
client = tritonclient.grpc.InferenceServerClient(address)
assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready(model)
assert client.get_model_metadata(model).name == model
flowers = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]], np.float32)
tensor = tritonclient.grpc.InferInput("input-0", list(flowers.shape), "FP32")
tensor.set_data_from_numpy(flowers)
print(client.infer(model, [tensor]).as_numpy("output-0").tolist())
"""


def test_triton_grpc_client(product: Product, iris: str) -> None:
    # In a process of its own: Triton's and KServe's clients register protobuf messages of the same names.
    script = [sys.executable, "-c", TRITON_GRPC, product.endpoints["grpc"], iris]
    ran = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert ran.stdout == "[1, 1]\n", ran.stderr


def test_the_api_asks_for_its_token(product: Product) -> None:
    answer = httpx.get(f"{product.endpoints['api']}/api/v1/namespaces")
    assert answer.status_code == 401
    assert json.loads(answer.content)["reason"] == "Unauthorized"
