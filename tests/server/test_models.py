"""What users write, on a running replica: async hooks, generators, bytes, frames, several tensors, failures."""

from __future__ import annotations

import socket
import time
from typing import Any

import numpy as np
import pytest

from .replica import DEADLINE, Replica, Start, until


def _v2(array: Any, datatype: str = "FP32") -> dict[str, Any]:
    array = np.asarray(array)
    return {"inputs": [{"name": "x", "shape": list(array.shape), "datatype": datatype, "data": array.tolist()}]}


@pytest.fixture(scope="module")
def mixed(start: Start) -> Replica:
    """Async and blocking hooks in one model; bytes are an image."""
    code = """
        import asyncio
        import threading
        from colonnade import InferenceError, Model

        class Mixed(Model):
            async def load(self):
                self.lock = asyncio.Lock()
                self.loop = asyncio.get_running_loop()

            def preprocess(self, payload, headers):
                self.blocking = threading.current_thread().name
                return payload

            async def predict(self, payload):
                async with self.lock:
                    await asyncio.sleep(0)
                assert asyncio.get_running_loop() is self.loop
                if payload == b"stop":
                    raise InferenceError("stopped")
                return payload

            def postprocess(self, result):
                size = len(result) if isinstance(result, bytes) else 0
                return {"bytes": size, "thread": self.blocking}
    """
    return start("--model-name", "m", code=code).ready()


def test_blocking_hooks_of_an_async_model_run_on_its_thread(mixed: Replica) -> None:
    answer = mixed.http.post("/v1/models/m:predict", json={"instances": []})
    assert answer.json() == {"bytes": 0, "thread": "model-m"}


def test_a_body_that_is_not_json_goes_to_the_model_as_bytes(mixed: Replica) -> None:
    headers = {"content-type": "image/png"}
    answer = mixed.http.post("/v1/models/m:predict", content=b"\x89PNG", headers=headers)
    assert answer.json()["bytes"] == 4
    answer = mixed.http.post("/v1/models/m:predict", content=b"stop", headers=headers)
    assert (answer.status_code, answer.json()) == (500, {"error": "stopped"})


STREAM = """
    import asyncio
    from colonnade import Model

    class Talker(Model):
        async def predict(self, payload):
            try:
                for word in payload["words"]:
                    if word == "fail":
                        raise ValueError("secret")
                    yield word
                while payload.get("forever"):
                    yield "more"
                    await asyncio.sleep(0.01)
            finally:
                self.path("closed").touch()
"""


@pytest.fixture(scope="module")
def talker(start: Start) -> Replica:
    return start("--model-name", "m", code=STREAM).ready()


def test_a_generator_is_answered_part_by_part(talker: Replica) -> None:
    words = ["a", "data: b\n\n", {"c": 1}]
    with talker.http.stream("POST", "/v1/models/m:predict", json={"words": words}) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert answer.headers["transfer-encoding"] == "chunked"
        assert b"".join(answer.iter_bytes()) == b'adata: b\n\ndata: {"c":1}\n\n'


def test_an_empty_stream_is_an_answer(talker: Replica) -> None:
    answer = talker.http.post("/v1/models/m:predict", json={"words": []})
    assert (answer.status_code, answer.content) == (200, b"")


def test_a_stream_that_fails_at_once_is_a_plain_failure(talker: Replica) -> None:
    answer = talker.http.post("/v1/models/m:predict", json={"words": ["fail"]})
    assert answer.status_code == 500
    assert "secret" not in answer.text


def test_a_stream_that_fails_midway_is_cut(talker: Replica) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(DEADLINE)
        client.connect(talker.socket)
        body = b'{"words":["a","fail"]}'
        head = b"POST /v1/models/m:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
        client.sendall(head + body)
        received = b""
        try:
            while part := client.recv(1 << 16):
                received += part
        except ConnectionResetError:
            pass
    assert received.startswith(b"HTTP/1.1 200")
    assert not received.endswith(b"0\r\n\r\n")


def test_a_stream_ends_with_its_client(talker: Replica) -> None:
    closed = talker.folder / "closed"
    closed.unlink(missing_ok=True)
    with talker.http.stream("POST", "/v1/models/m:predict", json={"words": ["a"], "forever": True}) as answer:
        parts = answer.iter_bytes()
        assert next(parts) == b"a"
        assert not closed.exists()
        parts.close()
    until(closed.exists, "the generator's end")
    until(lambda: talker.metric('requests_in_flight{model_name="m"}') == 0, "the request's end")


def test_other_protocols_say_that_a_stream_needs_v1(talker: Replica) -> None:
    answer = talker.http.post("/v2/models/m/infer", json=_v2([[1.0]]))
    assert answer.status_code == 400
    assert "ask it over V1" in answer.json()["error"]


def test_an_iterator_that_predict_returns_is_streamed_too(start: Start) -> None:
    code = """
        from colonnade import Model

        async def parts():
            yield b"one"
            yield b"two"

        class Returner(Model):
            async def predict(self, payload):
                return parts()
    """
    replica = start("--model-name", "m", code=code).ready()
    assert replica.http.post("/v1/models/m:predict", json={}).content == b"onetwo"


def test_several_tensors_and_declared_ones(start: Start) -> None:
    code = """
        import numpy as np
        from colonnade import Model, TensorSpec

        class Sum(Model):
            inputs = [TensorSpec("a", "FP32", (-1,)), TensorSpec("b", "FP32", (-1,))]
            outputs = [TensorSpec("sum", "FP64", (-1,))]
            version = "2024"
            platform = "numpy"

            def predict(self, b: np.ndarray, a: np.ndarray) -> np.ndarray:
                return (a - b).astype("f8")
    """
    replica = start("--model-name", "m", code=code).ready()
    a = {"name": "a", "shape": [1], "datatype": "FP32", "data": [3.0]}
    b = {"name": "b", "shape": [1], "datatype": "FP32", "data": [1.0]}
    answer = replica.http.post("/v2/models/m/versions/2024/infer", json={"inputs": [a, b]})
    assert answer.json()["outputs"] == [{"name": "sum", "shape": [1], "datatype": "FP64", "data": [2.0]}]
    assert answer.json()["model_version"] == "2024"
    assert replica.http.get("/v2/models/m").json() == {
        "name": "m",
        "versions": ["2024"],
        "platform": "numpy",
        "inputs": [{"name": name, "datatype": "FP32", "shape": [-1]} for name in ("a", "b")],
        "outputs": [{"name": "sum", "datatype": "FP64", "shape": [-1]}],
    }
    assert replica.http.post("/v2/models/m/infer", json={"inputs": [a]}).status_code == 400


@pytest.mark.parametrize(
    ("result", "content_type", "body"),
    [
        ("b'\\x00\\x01'", "application/octet-stream", b"\x00\x01"),
        ("'text'", "text/plain; charset=utf-8", b"text"),
        ("[1, 2.5]", "application/json", b'{"predictions":[1,2.5]}'),
        ("np.float32([0.1])", "application/json", b'{"predictions":[0.1]}'),
        ("{'mine': (1, None)}", "application/json", b'{"mine":[1,null]}'),
        ("InferResponse('m', [Tensor.of('y', np.array([7]))])", "application/json", b'{"predictions":[7]}'),
    ],
)
def test_what_v1_makes_of_a_result(results: Replica, result: str, content_type: str, body: bytes) -> None:
    answer = results.http.post("/v1/models/m:predict", json={"result": result})
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, content_type, body)


@pytest.mark.parametrize("result", ["object()", "[lambda: 0]", "float"])
def test_what_v1_cannot_say_is_a_failure_without_a_type_name(results: Replica, result: str) -> None:
    answer = results.http.post("/v1/models/m:predict", json={"result": result})
    assert answer.status_code == 500
    assert "object" not in answer.json()["error"]
    assert "function" not in answer.json()["error"]


@pytest.fixture(scope="module")
def results(start: Start) -> Replica:
    code = """
        import numpy as np
        from colonnade import InferResponse, Model, Tensor

        class Results(Model):
            def predict(self, payload):
                return eval(payload["result"])
    """
    return start("--model-name", "m", code=code).ready()


@pytest.mark.parametrize("header", ["'a b': 1", "'x': 'a\\r\\nset-cookie: b'", "'': 1"])
def test_a_header_that_no_header_can_be_is_a_failure(start: Start, header: str) -> None:
    code = f"""
        from colonnade import Model

        class Headers(Model):
            def predict(self, payload, response_headers):
                response_headers.update({{{header}}})
                return []
    """
    replica = start("--model-name", "m", code=code).ready()
    answer = replica.http.post("/v1/models/m:predict", json={})
    assert answer.status_code == 500
    assert "set-cookie" not in answer.headers


def test_a_quick_adapter_moves_to_the_loop_and_still_answers(start: Start, tmp_path: Any) -> None:
    """An ONNX model's calls are short enough to leave the thread; the answers stay the same."""
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Add", ["x", "x"], ["y"])
    info = onnx.helper.make_tensor_value_info
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph([node], "g", [info("x", kind, [None, 2])], [info("y", kind, [None, 2])])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / "model.onnx")
    replica = start("--model-name", "m", "--model-dir", str(tmp_path)).ready()
    began = time.monotonic()
    for _ in range(100):
        answer = replica.http.post("/v2/models/m/infer", json=_v2([[1.0, 2.0]]))
        assert answer.json()["outputs"][0]["data"] == [2.0, 4.0]
    assert time.monotonic() - began < DEADLINE
    assert replica.metric('request_predict_seconds_count{model_name="m"}') == 100
