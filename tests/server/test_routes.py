"""Every route of V1 and V2 on a running replica, with KServe's shapes and texts."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest

from .replica import Replica, Start

CODE = """
    import numpy as np
    from colonnade import InferenceError, InvalidInput, Model

    class Doubler(Model):
        def preprocess(self, payload, headers):
            if headers.get("x-fail") == "input":
                raise InvalidInput("x must be small")
            if headers.get("x-fail") == "inference":
                raise InferenceError("the sum diverged")
            if headers.get("x-fail") == "other":
                raise KeyError("/secret/path")
            return payload

        def predict(self, x: np.ndarray) -> np.ndarray:
            return x * 2

        def postprocess(self, result, response_headers):
            response_headers["x-rows"] = len(result)
            return result

        def explain(self, x: np.ndarray):
            return {"explanations": [float(x.sum())]}
"""
ROW = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 2.0]}


@pytest.fixture(scope="module")
def replica(start: Start) -> Replica:
    return start("--model-name", "a b/m", code=CODE).ready()


MODEL = "a%20b%2Fm"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", {"status": "alive"}),
        ("/v1/models", {"models": ["a b/m"]}),
        (f"/v1/models/{MODEL}", {"name": "a b/m", "ready": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/health/ready", {"ready": True}),
        ("/v2/models", {"models": ["a b/m"]}),
        (f"/v2/models/{MODEL}", {"name": "a b/m", "versions": ["1"], "platform": "", "inputs": [], "outputs": []}),
        (
            f"/v2/models/{MODEL}/versions/1",
            {"name": "a b/m", "versions": ["1"], "platform": "", "inputs": [], "outputs": []},
        ),
        (f"/v2/models/{MODEL}/ready", {"name": "a b/m", "ready": True}),
        (f"/v2/models/{MODEL}/versions/1/ready", {"name": "a b/m", "ready": True}),
    ],
)
def test_what_is_answered_from_values_at_hand(replica: Replica, path: str, body: Any) -> None:
    answer = replica.http.get(path, headers={"x-request-id": "r1"})
    assert (answer.status_code, answer.json()) == (200, body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"] == "r1"
    assert replica.http.head(path).status_code == 200


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_the_server_names_itself(replica: Replica, path: str) -> None:
    body = replica.http.get(path).json()
    assert body["name"] == "colonnade"
    assert body["version"]
    assert {"binary_tensor_data", "model_repository"} <= set(body["extensions"])


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nothing", 404, "No route /nothing"),
        ("GET", f"/v1/models/{MODEL}:predict", 405, "use POST"),
        ("GET", f"/v2/models/{MODEL}/infer", 405, "use POST"),
        ("POST", "/v2/health/live", 405, "use GET"),
        ("DELETE", "/metrics", 405, "use GET"),
        ("GET", "/v1/models/zz", 404, "Model with name zz does not exist."),
        ("POST", "/v1/models/zz:predict", 404, "Model with name zz does not exist."),
        ("GET", "/v2/models/zz", 404, "Model with name zz does not exist."),
        ("POST", "/v2/models/zz/infer", 404, "Model with name zz does not exist."),
        ("POST", "/v2/repository/models/zz/load", 404, "Model with name zz does not exist."),
        ("POST", "/v2/repository/models/zz/unload", 404, "Model with name zz does not exist."),
        ("GET", f"/v2/models/{MODEL}/versions/7", 404, "the version that is loaded is 1"),
        ("POST", f"/v2/models/{MODEL}/versions/7/infer", 404, "the version that is loaded is 1"),
    ],
)
def test_what_is_refused(replica: Replica, method: str, path: str, status: int, text: str) -> None:
    answer = replica.http.request(method, path)
    assert answer.status_code == status
    assert text in answer.json()["error"]
    if status == 405:
        assert answer.headers["allow"] == ("POST, OPTIONS" if text == "use POST" else "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("path", "allow"),
    [
        ("*", "GET, HEAD, POST, OPTIONS"),
        ("/v2", "GET, HEAD, OPTIONS"),
        (f"/v1/models/{MODEL}", "GET, HEAD, OPTIONS"),
        (f"/v1/models/{MODEL}:predict", "POST, OPTIONS"),
        (f"/v2/models/{MODEL}/infer", "POST, OPTIONS"),
        ("/v2/repository/index", "POST, OPTIONS"),
    ],
)
def test_options(replica: Replica, path: str, allow: str) -> None:
    answer = replica.http.request("OPTIONS", "/", extensions={"target": path.encode()})
    assert (answer.status_code, answer.content, answer.headers["allow"]) == (204, b"", allow)


@pytest.mark.parametrize(
    "headers", [{}, {"content-type": "application/json"}, {"content-type": "application/x-www-form-urlencoded"}]
)
def test_v1_predicts_whatever_the_content_type_says(replica: Replica, headers: dict[str, str]) -> None:
    answer = replica.http.post(f"/v1/models/{MODEL}:predict", content=b'{"instances":[[1,2]]}', headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"predictions": [[2, 4]]})
    assert answer.headers["x-rows"] == "1"


def test_v1_explains(replica: Replica) -> None:
    answer = replica.http.post(f"/v1/models/{MODEL}:explain", json={"instances": [[1, 2]]})
    assert (answer.status_code, answer.json()) == (200, {"explanations": [3.0]})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a":1', "Unrecognized request format: unexpected end of data: line 1 column 7 (char 6)"),
        (b'{"instances":{}}', 'Expected "instances" to be a list'),
        (b"", "Unrecognized request format"),
    ],
)
def test_v1_refuses_malformed_bodies_in_kserves_words(replica: Replica, body: bytes, text: str) -> None:
    answer = replica.http.post(f"/v1/models/{MODEL}:predict", content=body)
    assert answer.status_code == 400
    assert text in answer.json()["error"]


@pytest.mark.parametrize("path", [f"/v1/models/{MODEL}:predict", f"/v2/models/{MODEL}/infer"])
@pytest.mark.parametrize(
    ("failure", "status", "text"),
    [("input", 400, "x must be small"), ("inference", 500, "the sum diverged"), ("other", 500, "Internal error; see")],
)
def test_a_failing_model_answers_in_its_words_or_none(
    replica: Replica, path: str, failure: str, status: int, text: str
) -> None:
    body = {"instances": [[1]]} if "/v1/" in path else {"inputs": [ROW]}
    answer = replica.http.post(path, json=body, headers={"x-fail": failure})
    assert answer.status_code == status
    assert answer.json()["error"].startswith(text)
    assert "KeyError" not in answer.text
    assert "secret" not in answer.text
    if failure == "other":
        identity = answer.json()["error"].split()[-1]
        logged = next(line for line in replica.log() if line.get("failure_id") == identity)
        assert "/secret/path" in logged["exception"]


def test_v2_json(replica: Replica) -> None:
    answer = replica.http.post(f"/v2/models/{MODEL}/versions/1/infer", json={"id": "7", "inputs": [ROW]})
    assert answer.status_code == 200
    output = {"name": "output-0", "shape": [1, 2], "datatype": "FP32", "data": [2.0, 4.0]}
    assert answer.json() == {"model_name": "a b/m", "model_version": "1", "id": "7", "outputs": [output]}


def test_v2_makes_an_id_or_takes_the_requests(replica: Replica) -> None:
    path = f"/v2/models/{MODEL}/infer"
    made = {replica.http.post(path, json={"inputs": [ROW]}).json()["id"] for _ in range(3)}
    assert len(made) == 3
    answer = replica.http.post(path, json={"inputs": [ROW]}, headers={"x-request-id": "r9"})
    assert (answer.json()["id"], answer.headers["x-request-id"]) == ("r9", "r9")


@pytest.mark.parametrize("content_type", ["application/octet-stream", "application/json", None])
def test_v2_binary_is_told_by_the_length_header_alone(replica: Replica, content_type: str | None) -> None:
    data = np.array([[1.5, 2.5]], "<f4").tobytes()
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    headers = {"inference-header-content-length": str(len(head))}
    if content_type is not None:
        headers["content-type"] = content_type
    answer = replica.http.post(f"/v2/models/{MODEL}/infer", content=head + data, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    split = int(answer.headers["inference-header-content-length"])
    assert json.loads(answer.content[:split])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(answer.content[split:], "<f4").tolist() == [3.0, 5.0]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"{", {}),
        (b"[]", {}),
        (b"{}", {}),
        (b'{"inputs":[{"name":"x","shape":[3],"datatype":"FP32","data":[1,2]}]}', {}),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP99","data":[1]}]}', {}),
        (b'{"inputs":[{"name":"x","shape":[1],"datatype":"FP32"}]}', {}),
        (b"{}", {"inference-header-content-length": "abc"}),
        (b"{}", {"inference-header-content-length": "99"}),
        (b"plain", {"content-encoding": "gzip"}),
    ],
)
def test_v2_refuses_malformed_bodies_with_400(replica: Replica, body: bytes, headers: dict[str, str]) -> None:
    answer = replica.http.post(f"/v2/models/{MODEL}/infer", content=body, headers=headers)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies_both_ways(replica: Replica, coding: str, compress: Any) -> None:
    body = compress(json.dumps({"inputs": [ROW]}).encode())
    headers = {"content-encoding": coding, "accept-encoding": coding}
    answer = replica.http.post(f"/v2/models/{MODEL}/infer", content=body, headers=headers)
    assert answer.headers["content-encoding"] == coding
    assert answer.json()["outputs"][0]["data"] == [2.0, 4.0]


def test_an_answer_is_compressed_only_for_who_insists(replica: Replica) -> None:
    answer = replica.http.post(f"/v2/models/{MODEL}/infer", json={"inputs": [ROW]})
    assert "gzip" in answer.request.headers["accept-encoding"]
    assert "content-encoding" not in answer.headers


def test_the_index_lists_what_is_hosted(replica: Replica) -> None:
    entry = {"name": "a b/m", "version": "1", "state": "READY", "reason": ""}
    assert replica.http.post("/v2/repository/index").json() == [entry]
    assert replica.http.post("/v2/repository/index", json={"ready": True}).json() == [entry]
    assert replica.http.post("/v2/repository/index", json={"ready": 3}).status_code == 400


def test_cloudevents_in_are_cloudevents_out(replica: Replica) -> None:
    path = f"/v1/models/{MODEL}:predict"
    binary = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "test", "ce-type": "ask"}
    answer = replica.http.post(path, json={"instances": [[1]]}, headers=binary)
    assert answer.json() == {"predictions": [[2]]}
    assert answer.headers["ce-type"] == "io.kserve.inference.response"
    assert answer.headers["ce-source"] == "io.kserve.inference.a%20b/m"
    document = {"specversion": "1.0", "id": "1", "source": "test", "type": "ask", "data": {"instances": [[1]]}}
    headers = {"content-type": "application/cloudevents+json"}
    answer = replica.http.post(path, content=json.dumps(document), headers=headers)
    assert answer.headers["content-type"] == "application/cloudevents+json"
    assert answer.json()["data"] == {"predictions": [[2]]}
    assert replica.http.post(path, content=b"{}", headers=headers).status_code == 400


def test_metrics_have_kserves_names_and_counts_by_code(replica: Replica) -> None:
    label = 'model_name="a b/m"'
    total = f'request_total{{{label},protocol="v2",code="%s"}}'
    before = {code: replica.metric(total % code) for code in (200, 400)}
    timed = replica.metric(f"request_preprocess_seconds_count{{{label}}}")
    replica.http.post(f"/v2/models/{MODEL}/infer", json={"inputs": [ROW]})
    replica.http.post(f"/v2/models/{MODEL}/infer", content=b"{")
    assert replica.metric(total % 200) == before[200] + 1
    assert replica.metric(total % 400) == before[400] + 1
    assert replica.metric(f"request_preprocess_seconds_count{{{label}}}") == timed + 1
    assert replica.metric(f"requests_in_flight{{{label}}}") == 0
    assert replica.metric(f"model_ready{{{label}}}") == 1
    text = replica.http.get("/metrics").text
    for hook in ("preprocess", "predict", "postprocess", "explain"):
        assert f'request_{hook}_seconds_bucket{{{label},le="0.005"}}' in text
    replica.http.post("/v2/models/unknown/infer", content=b"{}")
    assert "unknown" not in replica.http.get("/metrics").text


def test_unloading_and_loading_keep_the_process(replica: Replica) -> None:
    base = f"/v2/repository/models/{MODEL}"
    assert replica.http.post(f"{base}/unload").json() == {"name": "a b/m", "unload": True}
    for method, path in (("GET", f"/v1/models/{MODEL}"), ("POST", f"/v2/models/{MODEL}/infer")):
        answer = replica.http.request(method, path)
        assert (answer.status_code, answer.json()) == (503, {"error": "Model with name a b/m is not ready."})
    answer = replica.http.get("/v2/health/ready")
    assert (answer.status_code, answer.json()) == (503, {"error": "Server is not ready."})
    assert replica.http.post("/v2/repository/index").json()[0]["state"] == "UNAVAILABLE"
    assert replica.http.post("/v2/repository/index", json={"ready": True}).json() == []
    assert replica.http.post(f"{base}/load", json={"parameters": {"config": "{}"}}).status_code == 400
    assert replica.http.post(f"{base}/load").json() == {"name": "a b/m", "load": True}
    assert replica.http.get("/v2/health/ready").status_code == 200


def test_a_failing_reload_costs_nothing(replica: Replica) -> None:
    model = replica.folder / "model.py"
    good = model.read_text()
    model.write_text("import nothing_of_this_name")
    try:
        answer = replica.http.post(f"/v2/repository/models/{MODEL}/load")
        assert answer.status_code == 503
        assert answer.json()["error"].startswith("Model with name a b/m is not ready. ")
        assert replica.http.post(f"/v2/models/{MODEL}/infer", json={"inputs": [ROW]}).status_code == 200
    finally:
        model.write_text(good)
    assert replica.http.post(f"/v2/repository/models/{MODEL}/load").status_code == 200
