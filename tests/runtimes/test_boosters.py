"""XGBoost and LightGBM: raw outputs, names, missing values, files that cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import load_iris

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.model.binding import BoundModel, bind
from colonnade.runtimes.base import LoadOptions, framework, threads
from colonnade.runtimes.catalogue import runtime
from colonnade.wire.tensors import InferRequest, Tensor

X, Y = load_iris(return_X_y=True)
NAMES = ["sl", "sw", "pl", "pw"]


def served(name: str, path: Path) -> BoundModel:
    return bind(runtime(name).load("iris", path, LoadOptions(env={})))


@pytest.mark.parametrize("file", ["xgboost-iris.json", "xgboost-iris.ubj"])
def test_kserves_xgboost_models_answer_as_on_kserve(kserve: Path, payload: Any, file: str) -> None:
    bound = served("xgboost", kserve / "models" / file)
    assert bound.predict_v1(payload("iris_input"))["predictions"].tolist() == [1, 1]
    matrix = np.array(payload("iris_input_v2")["inputs"][0]["data"], dtype=np.float32)
    assert bound.infer(InferRequest("iris", [Tensor.of("input-0", matrix)])).outputs[0].data.tolist() == [1, 1]


def test_the_old_binary_format_says_how_to_convert_it(kserve: Path) -> None:
    with pytest.raises(LoadFailed, match=r"pip install xgboost==3\.0\.\*, .*save_model"):
        served("xgboost", kserve / "models" / "xgboost-iris.bst")


def test_kserves_lightgbm_model_answers_as_on_kserve(kserve: Path, payload: Any) -> None:
    """The assertions of KServe's own test: class 0 also where a feature is missing, which the booster reads as such."""
    bound = served("lightgbm", kserve / "models" / "lightgbm-iris.bst")
    for name in ("iris_input_v3", "iris_input_v4", "iris_input_v5"):
        assert np.argmax(bound.predict_v1(payload(name))["predictions"][0]) == 0, name
    answer = bound.predict_v1(payload("iris_input"))["predictions"]
    assert answer.argmax(axis=1).tolist() == [1, 1]


@pytest.fixture(params=["xgboost", "xgboost bst", "xgboost linear", "lightgbm"])
def booster(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[BoundModel, np.ndarray]:
    """A booster with named features, and what its own library predicts for X."""
    kind, _, variant = request.param.partition(" ")
    if kind == "xgboost":
        data = xgboost.DMatrix(X, Y, feature_names=NAMES)
        settings = {"objective": "multi:softprob", "num_class": 3, "nthread": 1}
        model = xgboost.train(settings | ({"booster": "gblinear"} if variant == "linear" else {}), data, 3)
        path = tmp_path / ("model.bst" if variant == "bst" else "model.ubj")
        path.write_bytes(bytes(model.save_raw("json" if variant == "bst" else "ubj")))
        return served(kind, tmp_path), model.predict(data)
    frame = pd.DataFrame(X, columns=NAMES)
    settings = {"objective": "multiclass", "num_class": 3, "verbosity": -1, "num_threads": 1}
    grown = lightgbm.train(settings, lightgbm.Dataset(frame, Y), 3)
    grown.save_model(tmp_path / "model.txt")
    return served(kind, tmp_path), grown.predict(X, num_threads=1)


def test_a_booster_gives_its_raw_output(booster: tuple[BoundModel, np.ndarray]) -> None:
    bound, expected = booster
    np.testing.assert_allclose(bound.predict_v1({"instances": X.tolist()})["predictions"], expected, rtol=1e-5)
    shuffled = [{"pw": row[3], "sl": row[0], "sw": row[1], "pl": row[2], "extra": 1.0} for row in X[:5].tolist()]
    np.testing.assert_allclose(bound.predict_v1({"instances": shuffled})["predictions"], expected[:5], rtol=1e-5)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"instances": [[1.0, 2.0]]}, "expects 4 features per row and the request has 2"),
        ({"instances": [1.0, 2.0, 3.0, 4.0]}, "put each row into a list"),
        ({"instances": [["a", "b", "c", "d"]]}, "takes numbers"),
        ({"instances": [{"sl": 1, "sw": 1, "pl": 1, "typo": 1}]}, "lacks the features pw; it has typo"),
        ({"instances": [{"sl": 1, "sw": 1, "pl": 1, "pw": "x"}]}, "columns pw hold something else"),
        ({"instances": [{"other": 1}]}, "lacks the features sl, sw, pl, pw"),
    ],
)
def test_rows_that_do_not_fit_are_refused(booster: tuple[BoundModel, np.ndarray], body: Any, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        booster[0].predict_v1(body)


@pytest.mark.parametrize(
    ("name", "file"), [("xgboost", "m.json"), ("xgboost", "m.ubj"), ("xgboost", "m.bst"), ("lightgbm", "m.bst")]
)
@pytest.mark.parametrize("content", [b"", b"garbage", b"{}", b"tree\nnothing"])
def test_a_file_that_is_no_model_is_refused_by_name(tmp_path: Path, name: str, file: str, content: bytes) -> None:
    (tmp_path / file).write_bytes(content)
    with pytest.raises(LoadFailed, match=str(tmp_path / file)):
        served(name, tmp_path)


@pytest.mark.parametrize(
    ("name", "file"),
    [("xgboost", "xgboost-iris.json"), ("xgboost", "xgboost-iris.ubj"), ("lightgbm", "lightgbm-iris.bst")],
)
@pytest.mark.parametrize("keep", [0.01, 0.5, 0.9])
def test_a_truncated_model_is_refused(kserve: Path, tmp_path: Path, name: str, file: str, keep: float) -> None:
    whole = (kserve / "models" / file).read_bytes()
    (tmp_path / file).write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(LoadFailed, match=str(tmp_path / file)):
        served(name, tmp_path)


def test_a_missing_framework_names_its_extra() -> None:
    with pytest.raises(LoadFailed, match=r"pip install colonnade\[xgboost\]"):
        framework("no_such_framework", "xgboost", "xgboost")


@pytest.mark.parametrize(("text", "count"), [(None, 1), ("4", 4), ("", 1)])
def test_threads_come_from_the_environment(text: str | None, count: int) -> None:
    assert threads({} if text is None else {"OMP_NUM_THREADS": text}) == count


@pytest.mark.parametrize("text", ["0", "-1", "many", "2.5"])
def test_a_thread_count_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(LoadFailed, match="OMP_NUM_THREADS"):
        threads({"OMP_NUM_THREADS": text})
