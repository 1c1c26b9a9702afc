"""Golden requests: a model that does not answer as the file beside it says never gets ready."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from colonnade.errors import LoadFailed
from colonnade.runtimes import golden

from .replica import Start, until

ROW = [5.1, 3.5, 1.4, 0.2]
INPUT = {"name": "x", "datatype": "FP64", "shape": [1, 4], "data": ROW}
CODE = """
    import numpy as np
    from colonnade import Model
    from colonnade.errors import InvalidInput

    class Two(Model):
        max_batch_size = 8

        def predict(self, x: np.ndarray) -> dict[str, np.ndarray]:
            if x.shape[1] != 2:
                raise InvalidInput("two numbers in a row")
            return {"sum": x.sum(axis=1), "half": (x / 2).astype("f4"), "text": np.array([str(v) for v in x[:, 0]])}
"""


def output(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape or [len(data)], "data": data}


def asked(*numbers: float, datatype: str = "FP64") -> dict[str, Any]:
    shape = [1, len(numbers)]
    return {"inputs": [{"name": "x", "datatype": datatype, "shape": shape, "data": list(numbers)}]}


ONE = asked(1.0, 2.0)
RIGHT: list[dict[str, Any]] = [
    {"request": ONE, "response": {"outputs": [output("sum", "FP64", [3.0])]}},
    {"request": ONE, "response": {"outputs": [output("half", "FP32", [0.5, 1.0], [1, 2])], "model_name": "any"}},
    {"request": ONE, "response": {"outputs": [output("text", "BYTES", ["1.0"])]}},
    {"request": ONE, "response": {"outputs": [output("sum", "FP64", [3.2])]}, "atol": 0.3},
    {"request": ONE, "response": {"outputs": [output("sum", "FP64", [3.2])]}, "rtol": {"sum": 0.1}},
    {"request": ONE},
    {"request": asked(1.0), "error": 400},
    {
        "request": {"instances": [[1, 2], [3, 4]]},
        "response": {"predictions": {"sum": [3, 7.0], "half": [[0.5, 1.0], [1.5, 2]], "text": ["1", "3"]}},
    },
    {"inputs": ONE["inputs"], "outputs": [output("sum", "FP64", [3.0])]},
]
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a number": (
        {"request": ONE, "response": {"outputs": [output("sum", "FP64", [3.5])]}},
        "case 0: output 'sum' at [0] is 3.0, and should be 3.5; 1 of 1 values differ, by 0.5 at most",
    ),
    "the shape": (
        {"request": ONE, "response": {"outputs": [output("half", "FP32", [0.5, 1.0])]}},
        "output 'half' is FP32 [1, 2], and should be FP32 [2]",
    ),
    "the datatype": (
        {"request": ONE, "response": {"outputs": [output("sum", "FP32", [3.0])]}},
        "output 'sum' is FP64 [1], and should be FP32 [1]",
    ),
    "an output": (
        {"request": ONE, "response": {"outputs": [output("product", "FP64", [2.0])]}},
        "it has the outputs sum, half, text, and no product",
    ),
    "a text": (
        {"request": ONE, "response": {"outputs": [output("text", "BYTES", ["1"])]}},
        "output 'text' at [0] is b'1.0', and should be b'1'",
    ),
    "not a number": (
        {"request": ONE, "response": {"outputs": [output("sum", "FP64", [None])]}},
        "output 'sum' at [0] is 3.0, and should be nan",
    ),
    "refused": ({"request": asked(1.0), "response": {"outputs": []}}, "it is refused with 400: two numbers in a row"),
    "another refusal": ({"request": asked(1.0), "error": 404}, "refused with 400: two numbers in a row, and should be"),
    "not refused": ({"request": ONE, "error": 400}, "it is answered, and should be refused with 400"),
    "a value of V1": (
        {
            "request": {"instances": [[1, 2]]},
            "response": {"predictions": {"sum": [4], "half": [[0.5, 1]], "text": ["1"]}},
        },
        "predictions.sum[0] is 3, and should be 4",
    ),
    "a key of V1": (
        {"request": {"instances": [[1, 2]]}, "response": {"answers": []}},
        "the answer has the keys predictions, and should have answers",
    ),
    "a length of V1": (
        {"request": {"instances": [[1, 2]]}, "response": {"predictions": {"sum": [], "half": [], "text": []}}},
        "predictions.sum has 1 values, and should have 0",
    ),
}


def test_a_model_that_answers_as_its_file_says_gets_ready(start: Start) -> None:
    replica = start("--model-name", "m", code=CODE, files={"golden.json": json.dumps(RIGHT)}).ready()
    passed = replica.logged("golden requests passed")
    assert passed is not None
    assert passed["cases"] == len(RIGHT)
    answer = replica.http.post("/v2/models/m/infer", json=ONE)
    assert answer.status_code == 200


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_answer_ends_the_replica_before_it_is_ready(start: Start, tmp_path: Path, case: str) -> None:
    entry, message = WRONG[case]
    why = tmp_path / "why"
    replica = start(
        *("--model-name", "m", "--termination-file", str(why)), code=CODE, files={"golden.json": json.dumps([entry])}
    )
    assert replica.wait() == 3
    said = json.loads(why.read_text())
    assert said["reason"] == "ModelLoadFailed"
    assert message in said["message"], said["message"]
    assert replica.logged("ready") is None


def test_a_built_in_runtime_is_held_against_it_too(start: Start, tmp_path: Path) -> None:
    rows, labels = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(rows, labels), tmp_path / "model.joblib")
    flags = ("--model-name", "m", "--model-dir", str(tmp_path), "--compile", "off")
    file = tmp_path / "golden.json"
    file.write_text(json.dumps([{"inputs": [INPUT], "outputs": [output("output-0", "INT64", [0])]}]))
    start(*flags).ready()
    file.write_text(json.dumps([{"inputs": [INPUT], "outputs": [output("output-0", "INT64", [1])]}]))
    assert start(*flags).wait() == 3


def test_a_model_that_is_loaded_again_and_answers_otherwise_does_not_replace_the_old_one(
    start: Start, tmp_path: Path
) -> None:
    rows, labels = load_iris(return_X_y=True)
    joblib.dump(LogisticRegression(max_iter=1000).fit(rows, labels), tmp_path / "model.joblib")
    case = {"request": {"instances": [ROW]}, "response": {"predictions": [0]}}
    (tmp_path / "golden.json").write_text(json.dumps([case]))
    replica = start("--model-name", "m", "--model-dir", str(tmp_path), "--compile", "off").ready()
    joblib.dump(LogisticRegression(max_iter=1000).fit(rows, 2 - labels), tmp_path / "model.joblib")
    refused = replica.http.post("/v2/repository/models/m/load")
    assert refused.status_code == 503
    assert "predictions[0] is 2, and should be 0" in refused.text
    until(lambda: replica.http.get("/v2/models/m/ready").status_code == 200, "ready again")
    assert replica.http.post("/v1/models/m:predict", json={"instances": [ROW]}).json() == {"predictions": [0]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no list of objects"),
        ('{"request": {}}', "is no list of objects"),
        ("[{}]", "entry 0: give a request, or the inputs of one"),
        ('[{"request": {}, "inputs": []}]', "entry 0: give a request, or the inputs of one"),
        ('[{"request": {}, "response": {}, "error": 400}]', "give a response or an error"),
        ('[{"request": {}, "rtol": -1}]', "rtol is -1.0; give a number of 0 or more"),
        ('[{"request": {}, "tolerance": 1}]', "unknown field"),
        ('[{"inputs": [], "outputs": [1]}]', "is no list of objects"),
        ("[" * 5000, "is no list of objects"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "golden.json").write_text(text)
    with pytest.raises(LoadFailed, match=message):
        golden.read(golden.beside(tmp_path))


def test_without_the_file_there_is_nothing_to_hold_a_model_against(tmp_path: Path) -> None:
    assert golden.read(golden.beside(tmp_path / "model.onnx")) == []
