"""KServe's own model files and request bodies, with the answers that KServe's tests expect."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from .replica import Start, payload

IRIS = [1, 1]


@pytest.mark.parametrize(
    ("file", "runtime"),
    [
        ("sklearn-iris.joblib", "auto"),
        ("xgboost-iris.json", "xgboost"),
        ("xgboost-iris.ubj", "auto"),
        ("lightgbm-iris.bst", "auto"),
    ],
)
def test_iris_over_v1_and_v2(start: Start, kserve: Path, tmp_path: Path, file: str, runtime: str) -> None:
    shutil.copy(kserve / "models" / file, tmp_path)
    replica = start("--model_name=iris", f"--model_dir={tmp_path}", "--runtime", runtime, "--nthread=1").ready()
    answers = [
        replica.http.post("/v1/models/iris:predict", json=payload(kserve, "iris_input.json")).json()["predictions"]
    ]
    for name in ("iris_input_v2.json", "iris_input_v2_binary.json", "iris_input_v2_all_binary.json"):
        answer = replica.http.post("/v2/models/iris/infer", json=payload(kserve, name))
        length = answer.headers.get("inference-header-content-length")
        if length is None:
            [output] = answer.json()["outputs"]
            answers.append(np.reshape(output["data"], output["shape"]).tolist())
            continue
        kinds = {"INT64": "<i8", "FP32": "<f4", "FP64": "<f8", "INT32": "<i4"}
        head = replica.http.post("/v2/models/iris/infer", json=payload(kserve, "iris_input_v2.json")).json()
        [output] = head["outputs"]
        array = np.frombuffer(answer.content[int(length) :], kinds[output["datatype"]])
        answers.append(array.reshape(output["shape"]).tolist())
    for answer in answers:
        classes = np.asarray(answer)
        assert (classes.argmax(axis=1) if classes.ndim == 2 else classes).tolist() == IRIS


def test_pmml_answers_as_kserves_server(start: Start, kserve: Path, tmp_path: Path) -> None:
    shutil.copy(kserve / "models" / "iris.pmml", tmp_path)
    replica = start("--model_name=iris", f"--model_dir={tmp_path}").ready()
    setosa = {
        "Species": "setosa",
        "Probability_setosa": 1.0,
        "Probability_versicolor": 0.0,
        "Probability_virginica": 0.0,
        "Node_Id": "2",
    }
    answer = replica.http.post("/v1/models/iris:predict", json=payload(kserve, "pmml_input.json"))
    assert answer.json() == {"predictions": [setosa]}
    outputs = replica.http.post("/v2/models/iris/infer", json=payload(kserve, "pmml-input-v2.json")).json()["outputs"]
    assert {output["name"]: output["data"] for output in outputs} == {name: [value] for name, value in setosa.items()}
    refused = replica.http.post("/v1/models/iris:predict", json={"instances": [[50, 3.5, 1.4, 0.2]]})
    assert (refused.status_code, "send [4.3, 7.9]" in refused.text) == (400, True)
