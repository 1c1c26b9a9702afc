"""Transformers and explainers as their users write them, in front of a built-in predictor, on the running product."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

from .product import Product, service

FLOWER = [5.9, 3.0, 5.1, 1.8]
TENTHS = [value * 10 for value in FLOWER]  # what the transformers take: they divide by ten

KSERVE_TRANSFORMER = """
    import argparse
    import kserve
    from kserve import InferInput, InferRequest, model_server

    class Tenths(kserve.Model):
        def __init__(self, name):
            super().__init__(name, return_response_headers=True)
            self.ready = True

        async def preprocess(self, payload, headers=None):
            if isinstance(payload, dict):
                return {"instances": [[value / 10 for value in row] for row in payload["instances"]]}
            array = payload.inputs[0].as_numpy() / 10
            tensor = InferInput(payload.inputs[0].name, list(array.shape), "FP64")
            tensor.set_data_from_numpy(array, binary_data=False)
            return InferRequest(self.name, [tensor], payload.id)

        async def postprocess(self, result, headers=None, response_headers=None):
            if isinstance(result, dict):
                return {"predictions": [["setosa", "versicolor", "virginica"][kind] for kind in result["predictions"]]}
            return result

    if __name__ == "__main__":
        parser = argparse.ArgumentParser(parents=[model_server.parser])
        args, _ = parser.parse_known_args()
        kserve.ModelServer().start([Tenths(args.model_name)])
"""

KSERVE_EXPLAINER = """
    import argparse
    import kserve
    from kserve import model_server

    class Nearby(kserve.Model):
        def __init__(self, name):
            super().__init__(name)
            self.ready = True

        async def explain(self, payload, headers=None):
            row = payload["instances"][0]
            near = [[*row[:2], length, *row[3:]] for length in (1.0, row[2], 7.0)]
            answer = await self.predict({"instances": near}, headers)
            return {"explanations": answer["predictions"]}

    if __name__ == "__main__":
        parser = argparse.ArgumentParser(parents=[model_server.parser])
        args, _ = parser.parse_known_args()
        kserve.ModelServer().start([Nearby(args.model_name)])
"""


def container(folder: Path, code: str, *args: str, **fields: Any) -> dict[str, Any]:
    """A component of a program of one file."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = code.strip("\n").splitlines()
    (folder / "main.py").write_text("\n".join(line.removeprefix("    ") for line in lines))
    command = [sys.executable, str(folder / "main.py")]
    return {"containers": [{"name": "kserve-container", "command": command, "args": list(args)}], **fields}


def chained(name: str, model: Path, **components: dict[str, Any]) -> dict[str, Any]:
    manifest = service(name, {"sklearn": {"storageUri": str(model)}})
    manifest["spec"] |= components
    return manifest


def tensor(values: list[float]) -> InferRequest:
    made = InferInput("input-0", [1, 4], "FP64")
    made.set_data_from_numpy(np.array([values]), binary_data=False)
    return InferRequest("any", [made])


def v2(product: Product, name: str, values: list[float]) -> httpx.Response:
    body = {"inputs": [{"name": "input-0", "shape": [1, 4], "datatype": "FP64", "data": values}]}
    return product.ask(name, "v2", body)


def explained(product: Product, name: str, body: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{product.http}/serving/default/{name}/v1/models/{name}:explain", json=body, timeout=30)


def conditions(product: Product, name: str) -> dict[str, str]:
    found = httpx.get(
        f"{product.endpoints['api']}/apis/serving.kserve.io/v1beta1/namespaces/default/inferenceservices/{name}",
        headers={"authorization": f"Bearer {(product.state / 'token').read_text().strip()}"},
    )
    return {each["type"]: each["status"] for each in found.json()["status"]["conditions"]}


@pytest.fixture(scope="module")
def kserve_chain(product: Product, iris_model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A service of KServe's SDK: transformer and explainer over V1, in front of a scikit-learn model."""
    folder = tmp_path_factory.mktemp("kserve")
    components = {
        "transformer": container(folder / "t", KSERVE_TRANSFORMER),
        "explainer": container(folder / "e", KSERVE_EXPLAINER),
    }
    product.apply(chained("chain", iris_model, **components))
    return "chain"


def test_a_transformer_of_kserves_sdk_over_v1(product: Product, kserve_chain: str) -> None:
    answer = product.ask(kserve_chain, "v1", {"instances": [TENTHS]})
    assert (answer.status_code, answer.json()) == (200, {"predictions": ["virginica"]})


def test_explain_goes_to_the_explainer_which_asks_the_predictor(product: Product, kserve_chain: str) -> None:
    answer = explained(product, kserve_chain, {"instances": [FLOWER]})
    assert (answer.status_code, answer.json()) == (200, {"explanations": [0, 2, 2]})


@pytest.mark.parametrize("protocol", ["v2", "grpc-v2"])
async def test_a_transformer_of_kserves_sdk_over_v2(
    product: Product, iris_model: Path, tmp_path: Path, protocol: str
) -> None:
    name = f"over-{protocol}"
    transformer = container(tmp_path, KSERVE_TRANSFORMER, "--predictor_protocol", protocol)
    product.apply(chained(name, iris_model, transformer=transformer))
    answer = v2(product, name, TENTHS)
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == [2]
    async with InferenceGRPCClient(product.endpoints["grpc"].removeprefix("http://"), retries=0) as client:
        request = tensor(TENTHS)
        request.model_name = name
        reply = await asyncio.wait_for(client.infer(request), 30)
    assert reply.outputs[0].as_numpy().tolist() == [2]
    product.colonnade("delete", "isvc", name)
