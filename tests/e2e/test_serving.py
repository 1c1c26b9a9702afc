"""KServe's own payloads and models, over every protocol, through the running product."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

from .product import Product, service

IRIS = [[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]]

# model file of KServe: (predictor, its answer to the iris payload as classes)
MODELS = {
    "sklearn-joblib": ("sklearn", "sklearn-iris.joblib"),
    "sklearn-pkl": ("sklearn", "sklearn-iris.pkl"),
    "xgboost-json": ("xgboost", "xgboost-iris.json"),
    "xgboost-ubj": ("xgboost", "xgboost-iris.ubj"),
    "lightgbm-bst": ("lightgbm", "lightgbm-iris.bst"),
}


def classes(answer: Any) -> list[int]:
    """Boosters answer class numbers or a row of probabilities; both name a class."""
    array = np.asarray(answer)
    return [int(value) for value in (array.argmax(axis=1) if array.ndim == 2 else array.ravel())]


@pytest.mark.parametrize(("key", "file"), MODELS.values(), ids=MODELS.keys())
def test_kserve_models_answer_kserve_payloads(product: Product, shared: Path, key: str, file: str) -> None:
    name = f"iris-{file.replace('.', '-')}"
    product.apply(service(name, {key: {"storageUri": str(shared / "models" / file)}}))
    v1 = json.loads((shared / "payloads" / "iris_input.json").read_text())
    answer = product.ask(name, "v1", v1)
    assert answer.status_code == 200, answer.text
    assert classes(answer.json()["predictions"]) == [1, 1]
    v2 = json.loads((shared / "payloads" / "iris_input_v2.json").read_text())
    answer = product.ask(name, "v2", v2)
    assert answer.status_code == 200, answer.text
    output = answer.json()["outputs"][0]
    assert classes(np.reshape(output["data"], output["shape"])) == [1, 1]


def test_all_iris_payloads_over_all_protocols(product: Product, shared: Path) -> None:

    product.apply(service("iris", {"sklearn": {"storageUri": str(shared / "models" / "sklearn-iris.joblib")}}))
    payloads = shared / "payloads"
    for file in ("iris_input_v2.json", "iris_input_v2_binary.json", "iris_input_v2_all_binary.json"):
        answer = product.ask("iris", "v2", json.loads((payloads / file).read_text()))
        assert answer.status_code == 200, answer.text
        length = answer.headers.get("inference-header-content-length")
        if "binary" in file:
            header = json.loads(answer.content[: int(length)])
            assert header["outputs"][0]["parameters"]["binary_data_size"] == len(answer.content) - int(length)
            dtype = {"INT32": "<i4", "INT64": "<i8"}[header["outputs"][0]["datatype"]]
            assert np.frombuffer(answer.content[int(length) :], dtype).tolist() == [1, 1]
        else:
            assert length is None
            assert answer.json()["outputs"][0]["data"] == [1, 1]
    (given,) = json.loads((payloads / "iris_input_v2_grpc.json").read_text())["inputs"]
    tensor = InferInput(given["name"], given["shape"], given["datatype"], given["contents"]["fp32_contents"])

    async def over_grpc() -> list[int]:
        options = [("grpc.default_authority", "iris-default.example.com")]
        client = InferenceGRPCClient(product.endpoints["grpc"], channel_args=options)
        answer = await client.infer(InferRequest(model_name="iris", infer_inputs=[tensor]))
        await client.close()
        return [int(value) for value in answer.outputs[0].as_numpy()]

    assert asyncio.run(over_grpc()) == [1, 1]


def test_every_way_to_name_a_service(product: Product, iris_model: Path) -> None:
    product.apply(service("named", {"sklearn": {"storageUri": f"file://{iris_model}"}}))
    body = {"instances": IRIS}
    url = f"{product.http}/v1/models/named:predict"
    for host in ("named-default.example.com", "named.default.example.com", "NAMED-default.example.com:80"):
        assert httpx.post(url, json=body, headers={"Host": host}).json() == {"predictions": [1, 1]}
    assert httpx.post(url, json=body).json() == {"predictions": [1, 1]}
    assert httpx.post(f"{product.http}/serving/default/named/v1/models/named:predict", json=body).status_code == 200
    missing = httpx.post(f"{product.http}/v1/models/nobody:predict", json=body)
    assert missing.status_code == 404
    assert "named" in missing.json()["error"]  # names what exists


def test_a_python_class_beside_its_artefact(product: Product, tmp_path: Path) -> None:
    (tmp_path / "factor.txt").write_text("3")
    (tmp_path / "model.py").write_text(
        "import numpy as np\nimport colonnade\n\n\n"
        "class Times(colonnade.Model):\n"
        "    def load(self):\n        self.factor = float(self.path('factor.txt').read_text())\n\n"
        "    def predict(self, x: np.ndarray) -> np.ndarray:\n        return x * self.factor\n"
    )
    predictor = {"model": {"modelFormat": {"name": "python"}, "storageUri": str(tmp_path)}}
    product.apply(service("times", predictor))
    assert product.ask("times", "v1", {"instances": [1.0, 2.0]}).json() == {"predictions": [3.0, 6.0]}


def test_an_update_rolls_without_a_failed_request(product: Product, iris_model: Path, tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "model.py").write_text(
            "import numpy as np\nimport colonnade\n\n\nclass Which(colonnade.Model):\n"
            f"    def predict(self, x: np.ndarray) -> np.ndarray:\n        return np.full(len(x), {number})\n"
        )

    def predictor(number: int) -> dict[str, Any]:
        return {"model": {"modelFormat": {"name": "python"}, "storageUri": str(tmp_path / str(number))}}

    product.apply(service("which", predictor(1)))
    product.apply(service("which", predictor(2)), wait=False)
    seen: list[int] = []
    while not seen or seen[-1] != 2:
        answer = product.ask("which", "v1", {"instances": [0]})
        assert answer.status_code == 200, answer.text
        seen += answer.json()["predictions"]
        assert len(seen) < 20_000
    assert sorted(seen) == seen  # the old revision answers until the new one takes over
