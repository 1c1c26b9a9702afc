"""V2 answers in parts as server-sent events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .replica import Replica, Start, until
from .talker import CODE, LIVE

PATH = "/v2/models/m/infer_stream"


@pytest.fixture(scope="module")
def replica(start: Start) -> Replica:
    return start("--model-name", "m", code=CODE).ready()


def request(*numbers: float, **fields: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": [1, len(numbers)], "datatype": "FP32", "data": numbers}], **fields}


def events(text: str) -> list[dict[str, Any]]:
    assert text.endswith("\n\n")
    return [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n")[:-1]]


@pytest.mark.parametrize("path", [PATH, "/v2/models/m/versions/1/infer_stream"])
def test_each_part_is_an_event(replica: Replica, path: str) -> None:
    answer = replica.http.post(path, json=request(0, 5, 6, id="t"), headers={"x-request-id": "r"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
    assert answer.headers["x-request-id"] == "r"
    assert [(one["id"], one["outputs"][0]["data"]) for one in events(answer.text)] == [("t", [5]), ("t", [6])]


def test_an_answer_that_is_no_stream_is_the_only_event(replica: Replica) -> None:
    (one,) = events(replica.http.post(PATH, json=request(4)).text)
    assert one["outputs"][0]["data"] == [8]


def test_events_come_as_they_are_made_and_end_with_their_reader(replica: Replica) -> None:
    with replica.http.stream("POST", PATH, json=request(0, 1, -1)) as answer:
        parts = answer.iter_text()
        assert json.loads(next(parts).split("\n\n")[0].removeprefix("data: "))["outputs"][0]["data"] == [1]
        assert replica.metric(LIVE) == 1
    until(lambda: replica.metric(LIVE) == 0, "an empty replica")


def test_what_is_refused(replica: Replica) -> None:
    assert replica.http.post(PATH, json=request(-1)).json() == {"error": "less than nothing"}
    assert replica.http.post(PATH, json=request(0, -2)).status_code == 500, "before the first part"
    binary = request(1, parameters={"binary_data_output": True})
    assert "no binary tensors" in replica.http.post(PATH, json=binary).json()["error"]
    whole = replica.http.post("/v2/models/m/infer", json=request(0, 1))
    assert whole.status_code == 400
    assert "/infer_stream" in whole.json()["error"]
    assert replica.http.get(PATH).status_code == 405
