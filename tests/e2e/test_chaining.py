"""Transformers and explainers as their users write them, in front of a built-in predictor, on the running product."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

from .product import Product, service, signal_tree, until

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


def found(product: Product, name: str) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(product.colonnade("get", "isvc", name, "-o", "json"))
    return stored.get("status") or {}


def status(product: Product, name: str) -> dict[str, str]:
    """The conditions of a service."""
    return {each["type"]: each["status"] for each in found(product, name).get("conditions") or []}


def predictor_address(product: Product, name: str) -> str:
    return str(found(product, name)["components"]["predictor"]["address"]["url"])


def words_of(pid: int) -> list[str]:
    return psutil.Process(pid).cmdline()


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


COLONNADE_TRANSFORMER = """
    import colonnade

    class Tenths(colonnade.Model):
        def preprocess(self, payload):
            return {"instances": [[value / 10 for value in row] for row in payload["instances"]]}

    if __name__ == "__main__":
        colonnade.serve(Tenths)
"""


def test_a_chain_outlives_the_control_plane_and_its_predictor(tmp_path: Path, iris_model: Path) -> None:
    """The predictor's address stays, so a transformer that was told it need not be told again."""
    product = Product(tmp_path / "state").start()
    try:
        product.apply(chained("ours", iris_model, transformer=container(tmp_path / "t", COLONNADE_TRANSFORMER)))
        body = {"instances": [TENTHS]}
        assert product.ask("ours", "v1", body).json() == {"predictions": [2]}
        states = status(product, "ours")
        assert states["PredictorReady"] == states["TransformerReady"] == states["Ready"] == "True"
        address = predictor_address(product, "ours")
        product.kill_control_plane()
        assert product.ask("ours", "v1", body).json() == {"predictions": [2]}
        product.start()
        until(lambda: status(product, "ours").get("Ready") == "True", "Ready after the restart")
        assert predictor_address(product, "ours") == address
        (predictor,) = [pid for pid in product.replica_pids() if "--runtime" in words_of(pid)]
        signal_tree(predictor)
        until(lambda: product.ask("ours", "v1", body).status_code == 200, "answers once the predictor is back")
    finally:
        product.stop()


def test_a_service_is_ready_only_with_all_its_components(product: Product, iris_model: Path, tmp_path: Path) -> None:
    broken = container(tmp_path, "    raise SystemExit(7)")
    product.apply(chained("half", iris_model, transformer=broken), wait=False)
    until(lambda: status(product, "half").get("TransformerReady") == "False", "the transformer's failure is said")
    until(lambda: status(product, "half").get("PredictorReady") == "True", "the predictor is ready")
    assert status(product, "half")["Ready"] == "False"
    assert product.ask("half", "v1", {"instances": [TENTHS]}).status_code == 503
    product.colonnade("delete", "isvc", "half")


def test_explain_without_an_explainer_is_refused_as_kserve_does(product: Product, iris_model: Path) -> None:
    product.apply(service("plain", {"sklearn": {"storageUri": str(iris_model)}}))
    answer = explained(product, "plain", {"instances": [FLOWER]})
    assert (answer.status_code, answer.json()) == (501, {"error": "Could not find explainer_host."})
    product.colonnade("delete", "isvc", "plain")
