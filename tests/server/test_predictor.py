"""Transformers and explainers of our own SDK on a running replica, in front of another one, over each protocol."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kserve import InferenceGRPCClient, InferInput, InferRequest

from .replica import Replica, Start

PREDICTOR = """
    import numpy as np
    import colonnade

    class Doubled(colonnade.Model):
        def predict(self, x: np.ndarray, headers=None, response_headers=None) -> np.ndarray:
            if (x < 0).any():
                raise colonnade.InvalidInput("x is negative; send 0 or more")
            if headers.get("x-request-id") == "garble":
                return "no object"
            if headers.get("x-request-id") == "count-me":
                return x * 0 + 7
            return x * 2.0
"""

TRANSFORMER = """
    import numpy as np
    import colonnade

    class Shifted(colonnade.Model):
        def preprocess(self, payload):
            if isinstance(payload, dict):
                return np.asarray(payload["instances"], float) + 1
            return payload.inputs[0].data + 1

        def explain(self, x: np.ndarray):
            return {"explanations": (self.predictor.ask(x + 1) - self.predictor.ask(x)).tolist()}
"""

PLAIN = """
    import colonnade

    class Nothing(colonnade.Model):
        def load(self):
            assert self.predictor is not None

        async def explain(self, payload):
            return self.predictor.ask(payload)
"""


@pytest.fixture(scope="module")
def behind(start: Start) -> Replica:
    return start("--model-name", "m", code=PREDICTOR, tcp=True).ready()


def before(start: Start, behind: Replica, protocol: str, code: str) -> Replica:
    words = ("--predictor_host", behind.authority, "--predictor_protocol", protocol)
    return start("--model_name", "m", *words, code=code).ready()


@pytest.fixture(scope="module", params=["v1", "v2", "grpc-v2"])
def transformer(start: Start, behind: Replica, request: pytest.FixtureRequest) -> Replica:
    return before(start, behind, request.param, TRANSFORMER)


@pytest.fixture(scope="module", params=["v1", "v2", "grpc-v2"])
def plain(start: Start, behind: Replica, request: pytest.FixtureRequest) -> Replica:
    """One that changes nothing: payloads pass through it from any protocol to any other."""
    return before(start, behind, request.param, PLAIN)


def v1(replica: Replica, rows: Any, verb: str = "predict", **headers: str) -> tuple[int, Any]:
    answer = replica.http.post(f"/v1/models/m:{verb}", json={"instances": rows}, headers=headers)
    return answer.status_code, answer.json()


def v2(replica: Replica, values: list[float]) -> tuple[int, Any]:
    tensor = {"name": "x", "shape": [1, len(values)], "datatype": "FP64", "data": values}
    answer = replica.http.post("/v2/models/m/infer", json={"inputs": [tensor]})
    return answer.status_code, answer.json()


def test_preprocess_and_the_predictor(transformer: Replica) -> None:
    assert v1(transformer, [[1.0, 2.0]]) == (200, {"predictions": [[4.0, 6.0]]})
    status, answer = v2(transformer, [1.0, 2.0])
    assert (status, answer["outputs"][0]["data"]) == (200, [4.0, 6.0])


def test_an_explainer_that_is_a_plain_function_asks_the_predictor(transformer: Replica) -> None:
    assert v1(transformer, [[1.0, 2.0]], "explain") == (200, {"explanations": [[2.0, 2.0]]})


async def test_payloads_pass_from_each_protocol_to_each(plain: Replica) -> None:
    assert v1(plain, [[1.5]]) == (200, {"predictions": [[3.0]]})
    status, answer = v2(plain, [1.5])
    assert (status, answer["outputs"][0]["data"], answer["model_name"]) == (200, [3.0], "m")
    async with InferenceGRPCClient(plain.grpc, retries=0) as client:
        tensor = InferInput("x", [1, 1], "FP64")
        tensor.set_data_from_numpy(np.array([[1.5]]), binary_data=True)
        reply = await client.infer(InferRequest("m", [tensor]))
    assert reply.outputs[0].as_numpy().ravel().tolist() == [3.0]


def test_the_predictors_refusal_is_the_callers(plain: Replica) -> None:
    assert v1(plain, [[-1.0]]) == (400, {"error": "x is negative; send 0 or more"})
    assert v2(plain, [-1.0]) == (400, {"error": "x is negative; send 0 or more"})


def test_waiting_on_the_event_loop_is_refused_and_not_done(plain: Replica) -> None:
    status, answer = v1(plain, [[1.0]], "explain")
    assert status == 500
    assert "await self.predictor.predict" in answer["error"]


def test_many_at_a_time(transformer: Replica) -> None:
    def both(number: int) -> tuple[Any, Any]:
        rows = [[float(number)]]
        return v1(transformer, rows), v1(transformer, rows, "explain")

    with ThreadPoolExecutor(16) as crew:
        for number, answers in enumerate(crew.map(both, range(100))):
            predicted, explained = answers
            assert predicted == (200, {"predictions": [[2.0 * number + 2]]})
            assert explained == (200, {"explanations": [[2.0]]})


def test_the_request_keeps_its_id(plain: Replica) -> None:
    assert v1(plain, [[1.0]], **{"x-request-id": "count-me"}) == (200, {"predictions": [[7.0]]})


def test_an_answer_of_no_protocol_is_not_the_callers_fault(start: Start, behind: Replica) -> None:
    status, answer = v1(before(start, behind, "v1", PLAIN), [[1.0]], **{"x-request-id": "garble"})
    assert (status, answer) == (502, {"error": "The predictor's answer is no JSON object."})


def test_a_predictor_that_is_not_there_is_said(start: Start) -> None:
    lonely = start("--model-name", "m", "--predictor-host", "127.0.0.1:1", code=PLAIN).ready()
    status, answer = v1(lonely, [[1.0]])
    assert status == 503, answer


def test_only_python_calls_a_predictor(start: Start, tmp_path: Path) -> None:
    (tmp_path / "model.joblib").write_bytes(b"")
    replica = start("--model-dir", str(tmp_path), "--predictor-host", "127.0.0.1:1")
    assert replica.wait() == 3
    assert "models of sklearn call no predictor" in replica.stderr.read_text()


def test_an_explainer_needs_its_library_and_a_name_that_is_known(start: Start) -> None:
    replica = start("--model-name", "m", "--explainer", "lime", code=PREDICTOR)
    assert replica.wait() == 2
    assert "invalid choice: 'lime'" in replica.stderr.read_text()
