"""Models as KServe's users write them, on a running replica: what they get, what they may return, how they refuse."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from .replica import Replica, Start

CODE = """
    import kserve
    import kserve.errors
    import numpy as np
    import torch_like
    from colonnade import Model

    class Old(Model):
        def predict(self, payload, headers=None):
            assert "host" in headers or "user-agent" in headers
            if isinstance(payload, dict):
                return self.refuse(payload) if "say" in payload else {"predictions": payload["instances"]}
            first = payload.inputs[0]
            if first.datatype == "BYTES":
                output = kserve.InferOutput("upper", first.shape, "BYTES", [text.upper() for text in first.as_string()])
            else:
                assert (first.name, first.data.tolist()) == ("x", first.as_numpy().tolist())
                doubled = (first.as_numpy() * 2).astype(np.float32)
                output = kserve.InferOutput("twice", list(doubled.shape), "FP32", doubled.flatten().tolist())
            return kserve.InferResponse(payload.id, self.name, [output])

        def refuse(self, payload):
            if payload["say"] == "library":
                torch_like.run()
            if payload["say"] == "invalid":
                raise kserve.errors.InvalidInput("age is -1; send 0 or more")
            raise NotImplementedError(*payload["say"])

        async def explain(self, payload, headers=None):
            if not payload["instances"]:
                raise NotImplementedError
            return {"explanations": payload["instances"]}
"""


@pytest.fixture(scope="module")
def replica(start: Start, tmp_path_factory: pytest.TempPathFactory) -> Replica:
    made = start(
        "--model-name", "m", code=CODE, files={"torch_like.py": "def run(): raise NotImplementedError('cuda')"}
    )
    return made.ready()


@pytest.fixture(scope="module")
def served(start: Start) -> Replica:
    """The same over TCP, for clients that know no Unix sockets."""
    files = {"torch_like.py": "def run(): raise NotImplementedError('cuda')"}
    return start("--model-name", "m", code=CODE, files=files, tcp=True).ready()


def _input(values: Any, datatype: str, binary: bool) -> InferInput:
    array = np.array(values)
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array.astype(np.float32 if datatype == "FP32" else object), binary_data=binary)
    return tensor


INPUTS = [([[1.0, 2.5]], "FP32", [[2.0, 5.0]]), ([b"a", b"b"], "BYTES", [b"A", b"B"])]


@pytest.mark.parametrize(("values", "datatype", "answer"), INPUTS)
@pytest.mark.parametrize("binary", [True, False])
async def test_v2(served: Replica, values: Any, datatype: str, answer: Any, binary: bool) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    request = InferRequest("m", [_input(values, datatype, binary)], request_id="9")
    got = await client.infer(f"http://{served.authority}", request, model_name="m")
    result = got.outputs[0].as_numpy().tolist()
    assert got.id == "9"
    assert [text.encode() if isinstance(text, str) else text for text in result] == answer


@pytest.mark.parametrize(("values", "datatype", "answer"), INPUTS)
@pytest.mark.parametrize("binary", [True, False])
async def test_grpc(served: Replica, values: Any, datatype: str, answer: Any, binary: bool) -> None:
    async with InferenceGRPCClient(served.grpc, retries=0) as client:
        got = await client.infer(InferRequest("m", [_input(values, datatype, binary)]))
        assert got.outputs[0].as_numpy().tolist() == answer


async def test_v1_and_explain(served: Replica) -> None:
    client = InferenceRESTClient(RESTConfig(protocol="v1", retries=0))
    base = f"http://{served.authority}"
    assert await client.infer(base, {"instances": [[1]]}, model_name="m") == {"predictions": [[1]]}
    assert await client.explain(base, "m", {"instances": [[1]]}) == {"explanations": [[1]]}


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("predict", {"say": ["only on Sundays"]}, "only on Sundays"),
        ("predict", {"say": []}, "Model with name m does not implement predict."),
        ("predict", {"say": "library"}, "Model with name m does not implement predict."),
        ("explain", {"instances": []}, "Model with name m does not implement explain."),
    ],
)
def test_not_implemented_is_501(replica: Replica, path: str, body: Any, error: str) -> None:
    answer = replica.http.post(f"/v1/models/m:{path}", json=body)
    assert (answer.status_code, answer.json()) == (501, {"error": error})


def test_a_refusal_in_the_sdks_words_keeps_its_status(replica: Replica) -> None:
    answer = replica.http.post("/v1/models/m:predict", json={"say": "invalid"})
    assert (answer.status_code, answer.json()) == (400, {"error": "age is -1; send 0 or more"})


def test_not_implemented_is_unimplemented_over_grpc(start: Start) -> None:
    code = """
        from colonnade import Model

        class Refuses(Model):
            async def predict(self, payload):
                raise NotImplementedError("no tensors")
    """
    replica = start("--model-name", "m", code=code).ready()
    with grpc.insecure_channel(replica.grpc) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            GRPCInferenceServiceStub(channel).ModelInfer(pb.ModelInferRequest(model_name="m"))
        assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.UNIMPLEMENTED, "no tensors")


def test_the_example_of_the_documentation_runs(start: Start) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "model-server.md").read_text()
    [example] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "class Upper" in block]
    replica = start("--model-name", "m", code=f"import colonnade\n\n{example}").ready()
    answer = replica.http.post("/v1/models/m:predict", json={"instances": ["a"]})
    assert answer.json() == {"predictions": ["A"]}
    tensor = {"name": "x", "shape": [1], "datatype": "BYTES", "data": ["b"]}
    [output] = replica.http.post("/v2/models/m/infer", json={"inputs": [tensor]}).json()["outputs"]
    assert output == {"name": "upper", "shape": [1], "datatype": "BYTES", "data": ["B"]}
