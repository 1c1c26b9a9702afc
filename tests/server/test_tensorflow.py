"""A SavedModel on a running replica, in an environment with TensorFlow, asked as TensorFlow Serving is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .environment import made_by, python_with
from .replica import Replica, Start

pytestmark = pytest.mark.slow

SCRIPT = """
import pathlib, sys, tensorflow as tf
folder = pathlib.Path(sys.argv[1])

class Both(tf.Module):
    def __init__(self):
        self.weights = tf.Variable([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.float32, name="x")])
    def serve(self, x):
        return {"scores": x @ self.weights, "best": tf.argmax(x @ self.weights, 1)}
    @tf.function(input_signature=[
        tf.TensorSpec((None,), tf.string, name="text"), tf.TensorSpec((), tf.int32, name="more")
    ])
    def lengths(self, text, more):
        return {"n": tf.strings.length(text) + more}
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, name="text")])
    def echo(self, text):
        return {"text": text, "text_bytes": text}

class Thief(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, name="x")])
    def serve(self, x):
        return {"text": tf.io.read_file("/etc/hostname")}

both = Both()
for version in ("2", "10"):
    signatures = {"serving_default": both.serve, "lengths": both.lengths, "echo": both.echo}
    tf.saved_model.save(both, str(folder / "both" / version), signatures=signatures)
thief = Thief()
tf.saved_model.save(thief, str(folder / "thief"), signatures={"serving_default": thief.serve})
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with("tensorflow", "tensorflow-cpu")


@pytest.fixture(scope="module")
def models(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_by(python, SCRIPT, tmp_path_factory.mktemp("tensorflow"))


@pytest.fixture(scope="module")
def replica(start: Start, python: Path, models: Path) -> Replica:
    return start("--model-name=m", f"--model-dir={models / 'both'}", python=python).ready()


def test_the_default_signature_of_the_newest_version_is_the_metadata(replica: Replica) -> None:
    assert replica.http.get("/v2/models/m").json() == {
        "name": "m",
        "versions": ["10"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 3]}],
        "outputs": [
            {"name": "best", "datatype": "INT64", "shape": [-1]},
            {"name": "scores", "datatype": "FP32", "shape": [-1, 2]},
        ],
    }


B64 = {"b64": "AAEC"}
ROW = {"best": 0, "scores": [2.5, 2.0]}


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [[1.5, 1, 1]]}, {"predictions": [ROW]}),
        ({"instances": [{"x": [1.5, 1, 1]}] * 2}, {"predictions": [ROW] * 2}),
        ({"inputs": [[1.5, 1, 1]]}, {"outputs": {"best": [0], "scores": [[2.5, 2.0]]}}),
        ({"inputs": {"x": [[1.5, 1, 1]]}}, {"outputs": {"best": [0], "scores": [[2.5, 2.0]]}}),
        ({"signature_name": "lengths", "inputs": {"text": ["ab", B64], "more": 1}}, {"outputs": [3, 4]}),
        (
            {"signature_name": "echo", "instances": ["ä"]},
            {"predictions": [{"text": "ä", "text_bytes": {"b64": "w6Q="}}]},
        ),
    ],
)
def test_rows_and_columns_as_tensorflow_serving_takes_them(replica: Replica, body: Any, answer: Any) -> None:
    got = replica.http.post("/v1/models/m:predict", json=body)
    assert got.status_code == 200, got.text
    assert got.json() == answer


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"instances": [[1, 2]]}, '"x" has shape [1, 2]; the model takes [-1, 3]'),
        ({"instances": [["a", "b", "c"]]}, '"x" does not hold FP32'),
        ({"instances": [{"y": [1, 2, 3]}]}, 'A row of "instances" has y, and the model takes x'),
        ({"inputs": {"y": []}}, '"inputs" has y, and the model takes x'),
        ({"signature_name": "none", "instances": []}, "the model has the signatures echo, lengths, serving_default"),
        ({"signature_name": "echo", "instances": [{"b64": "?"}]}, "no base64"),
        ({"signature_name": "echo", "instances": [["a"], "b"]}, "does not form a regular array"),
        ({"signature_name": "echo", "instances": [1]}, "takes text"),
        ({"rows": []}, 'neither "instances" (rows) nor "inputs" (columns)'),
    ],
)
def test_what_does_not_fit_is_refused(replica: Replica, body: Any, message: str) -> None:
    got = replica.http.post("/v1/models/m:predict", json=body)
    assert got.status_code == 400
    assert message in got.json()["error"]


def test_v2(replica: Replica) -> None:
    rows = {"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1.5, 1, 1]}
    body = {"inputs": [rows], "outputs": [{"name": "scores"}]}
    [output] = replica.http.post("/v2/models/m/infer", json=body).json()["outputs"]
    assert (output["name"], output["shape"]) == ("scores", [1, 2])
    np.testing.assert_allclose(output["data"], [2.5, 2.0])
    refused = replica.http.post(
        "/v2/models/m/infer", json={"inputs": [{**rows, "datatype": "INT64", "data": [1, 1, 1]}]}
    )
    assert refused.status_code == 400
    assert 'Input "x" is INT64, but the model takes FP32' in refused.json()["error"]


def test_a_graph_that_reads_files_needs_consent(start: Start, python: Path, models: Path, tmp_path: Path) -> None:
    said = tmp_path / "termination"
    refused = start(f"--model-dir={models / 'thief'}", f"--termination-file={said}", python=python)
    assert refused.wait() != 0
    assert "its graph holds ReadFile" in said.read_text()
    start(f"--model-dir={models / 'thief'}", "--trust-code", python=python).ready()
