"""The request bodies of KServe's own end-to-end tests decode as they are."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.json_format import ParseDict

from colonnade.wire import grpc, v1, v2
from colonnade.wire import openinference_pb2 as pb

FOLDER = Path(__file__).parents[3] / "shared" / "kserve" / "payloads"
IRIS = np.array([[6.8, 2.8, 4.8, 1.4], [6.0, 3.4, 4.5, 1.6]], dtype=np.float32)


def names(of_v2: bool) -> list[str]:
    """The payloads of V2 over HTTP, or those of V1."""

    found = []
    for path in sorted(FOLDER.glob("*.json")):
        document = json.loads(path.read_text())
        if "grpc" in path.name or not isinstance(document, dict):
            continue
        inputs = document.get("inputs")
        is_v2 = isinstance(inputs, list) and isinstance(inputs[0], dict) and "datatype" in inputs[0]
        if is_v2 == of_v2:
            found.append(path.name)
    return found


@pytest.fixture
def folder() -> Path:
    if not FOLDER.is_dir():
        pytest.skip(f"KServe's payloads are not at {FOLDER}")
    return FOLDER


@pytest.mark.parametrize("name", names(of_v2=True))
def test_v2(folder: Path, name: str) -> None:
    body = (folder / name).read_bytes()
    inputs = json.loads(body)["inputs"]
    request = v2.decode(body, None, "m", None)
    for tensor, sent in zip(request.inputs, inputs, strict=True):
        assert (tensor.name, tensor.datatype, list(tensor.shape)) == (sent["name"], sent["datatype"], sent["shape"])


@pytest.mark.parametrize("name", names(of_v2=False))
def test_v1(folder: Path, name: str) -> None:
    body = (folder / name).read_bytes()
    assert v1.decode(body) == json.loads(body)


@pytest.mark.parametrize("name", ["iris_input_v2.json", "iris_input_v2_binary.json", "iris_input_v2_all_binary.json"])
def test_iris_over_http(folder: Path, name: str) -> None:
    (tensor,) = v2.decode((folder / name).read_bytes(), None, "m", None).inputs
    np.testing.assert_array_equal(tensor.data, IRIS)


def test_iris_over_grpc(folder: Path) -> None:
    message = ParseDict(json.loads((folder / "iris_input_v2_grpc.json").read_text()), pb.ModelInferRequest())
    (tensor,) = grpc.decode(message).inputs
    np.testing.assert_array_equal(tensor.data, IRIS)
