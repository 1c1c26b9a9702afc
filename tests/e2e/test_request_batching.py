"""`batcher:` on the running product, held against each fault of KServe's batcher."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import httpx
import pytest

from colonnade.wire import openinference_pb2 as oip

from .product import Product, service

MOST = 6  # rows of a batch
CALLERS = 24
MODEL = """
import json, threading, time
import numpy as np
import colonnade
from colonnade.errors import InvalidInput

lock = threading.Lock()


class Echo(colonnade.Model):
    def predict(self, x: np.ndarray) -> np.ndarray:
        begun = time.monotonic()
        time.sleep(0.05)
        if (x < 0).any():
            raise InvalidInput("below zero")
        with lock, open({record!r}, "a") as file:
            file.write(json.dumps([len(x), begun, time.monotonic()]) + "\\n")
        return x * {factor}
"""


class Batched(NamedTuple):
    """A service with a batcher, and what its model was asked."""

    product: Product
    name: str
    factor: int
    record: Path

    def calls(self) -> list[tuple[int, float, float]]:
        """Rows, begin and end of each call of the model."""
        return [tuple(json.loads(line)) for line in self.record.read_text().splitlines()]

    @property
    def base(self) -> str:
        return f"{self.product.http}/serving/default/{self.name}"

    def v1(self, number: float, **headers: str) -> httpx.Response:
        url = f"{self.base}/v1/models/{self.name}:predict"
        return httpx.post(url, json={"instances": [[number]]}, timeout=30, headers=headers)

    def v2(self, number: float) -> httpx.Response:
        tensor = {"name": "x", "datatype": "FP64", "shape": [1, 1], "data": [number]}
        return httpx.post(f"{self.base}/v2/models/{self.name}/infer", json={"inputs": [tensor]}, timeout=30)

    def grpc(self, number: float) -> float:
        request = oip.ModelInferRequest(model_name=self.name)
        tensor = request.inputs.add(name="x", datatype="FP64", shape=[1, 1])
        tensor.contents.fp64_contents.append(number)
        with grpc.insecure_channel(self.product.endpoints["grpc"].removeprefix("http://")) as channel:
            ask = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                request_serializer=oip.ModelInferRequest.SerializeToString,
                response_deserializer=oip.ModelInferResponse.FromString,
            )
            answer = ask(request, timeout=30)
        (output,) = answer.outputs
        return float(output.contents.fp64_contents[0])


@pytest.fixture(scope="module")
def services(product: Product, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Batched]:
    found = {}
    for name, factor, instances in (("twice", 2, 1), ("thrice", 3, 1), ("parallel", 2, 2)):
        folder = tmp_path_factory.mktemp(name)
        record = folder.parent / f"{name}.calls"
        record.touch()
        (folder / "model.py").write_text(MODEL.format(record=str(record), factor=factor))
        model = {"modelFormat": {"name": "python"}, "storageUri": str(folder)}
        manifest = service(name, {"model": model, "batcher": {"maxBatchSize": MOST, "maxLatency": 50}})
        annotations = {"colonnade.dev/execution": "thread", "colonnade.dev/instances": str(instances)}
        manifest["metadata"]["annotations"] = annotations
        product.apply(manifest)
        found[name] = Batched(product, name, factor, record)
    return found


def together(ask: Any, *arguments: Any) -> list[Any]:
    with ThreadPoolExecutor(CALLERS) as callers:
        return list(callers.map(ask, *arguments))


def test_models_are_not_mixed_each_caller_gets_its_own_and_no_batch_is_too_large(services: dict[str, Batched]) -> None:
    """KServe has one queue for all paths, and may exceed maxBatchSize."""
    asked = [(services["twice" if number % 2 else "thrice"], float(number)) for number in range(48)]
    answers = together(lambda one: one[0].v1(one[1]), asked)
    for (batched, number), answer in zip(asked, answers, strict=True):
        assert answer.status_code == 200
        assert answer.json() == {"predictions": [[number * batched.factor]]}  # V1's own form, no other field
    for name in ("twice", "thrice"):
        rows = [call[0] for call in services[name].calls()]
        assert max(rows) <= MOST
        assert len(rows) < sum(rows)  # some were joined


@pytest.mark.parametrize("protocol", ["v1", "v2", "grpc"])
def test_every_protocol_is_batched(services: dict[str, Batched], protocol: str) -> None:
    """KServe joins `:predict` alone."""
    twice = services["twice"]
    before = len(twice.calls())
    answers = together(getattr(twice, protocol), [float(number) for number in range(CALLERS)])
    values = [
        one
        if isinstance(one, float)
        else one.json()["outputs"][0]["data"][0]
        if protocol == "v2"
        else one.json()["predictions"][0][0]
        for one in answers
    ]
    assert values == [2.0 * number for number in range(CALLERS)]
    assert len(twice.calls()) - before < CALLERS


def test_batches_are_parallel(services: dict[str, Batched]) -> None:
    """KServe sends none before the answer to the last one has come."""
    parallel = services["parallel"]
    together(parallel.v1, [float(number) for number in range(CALLERS)])
    calls = sorted(parallel.calls(), key=lambda call: call[1])
    assert any(second[1] < first[2] for first, second in pairwise(calls))


def test_headers_stay_with_their_request(services: dict[str, Batched]) -> None:
    """KServe drops them all."""
    twice = services["twice"]
    with ThreadPoolExecutor(CALLERS) as callers:
        waiting = [callers.submit(twice.v1, float(n), **{"x-request-id": f"id-{n}"}) for n in range(CALLERS)]
    assert [one.result().headers["x-request-id"] for one in waiting] == [f"id-{n}" for n in range(CALLERS)]


def test_errors_are_told_as_errors_and_to_whom_they_belong(services: dict[str, Batched]) -> None:
    """KServe answers 200 with a message, to all of the batch."""
    twice = services["twice"]
    numbers = [-1.0 if number == 7 else float(number) for number in range(CALLERS)]
    answers = together(twice.v1, numbers)
    assert [one.status_code for one in answers] == [400 if number < 0 else 200 for number in numbers]
    assert "below zero" in answers[7].json()["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"other":[]}'])
def test_what_is_malformed_is_400_with_the_reason(services: dict[str, Batched], body: bytes) -> None:
    twice = services["twice"]
    answer = httpx.post(f"{twice.base}/v1/models/twice:predict", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]
