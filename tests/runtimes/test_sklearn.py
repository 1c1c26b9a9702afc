"""The scikit-learn adapter as the server binds it: V1, V2, names, texts, refusals, versions."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from colonnade.errors import InferenceError, InvalidInput, LoadFailed
from colonnade.model.binding import BoundModel, bind
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.sklearn import SklearnRuntime
from colonnade.wire.tensors import InferRequest, Tensor

ROOT = Path(__file__).parents[2]
X, Y = load_iris(return_X_y=True)
NAMES = ["sepal_length_(cm)", "sepal_width_(cm)", "petal_length_(cm)", "petal_width_(cm)"]


def served(path: Path, **env: str) -> BoundModel:
    return bind(SklearnRuntime().load("iris", path, LoadOptions(env=env)))


def saved(tmp_path: Path, model: Any) -> Path:
    joblib.dump(model, tmp_path / "model.joblib")
    return tmp_path


@pytest.fixture
def named(tmp_path: Path) -> BoundModel:
    frame = pd.DataFrame(X, columns=NAMES)
    return served(saved(tmp_path, make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, Y)))


@pytest.fixture
def mixed(tmp_path: Path) -> BoundModel:
    """Numbers and categories by column name, as KServe's mixed-type model has them."""
    frame = pd.DataFrame({"area": [1.0, 2.0, 3.0, 4.0], "zone": ["RL", "RM", "RL", "RM"]})
    columns = ColumnTransformer([("n", StandardScaler(), ["area"]), ("c", OneHotEncoder(), ["zone"])])
    return served(saved(tmp_path, make_pipeline(columns, LinearRegression()).fit(frame, [1.0, 2.0, 3.0, 4.0])))


def v2(*tensors: Tensor, **parameters: Any) -> InferRequest:
    return InferRequest("iris", list(tensors), parameters=parameters or None)


def texts(name: str, *values: str, shape: tuple[int, ...] | None = None) -> Tensor:
    data = np.array([value.encode() for value in values], dtype=object)
    return Tensor(name, "BYTES", shape or (len(values),), data.reshape(shape or (len(values),)))


@pytest.mark.parametrize("model", ["sklearn-iris.joblib", "sklearn-iris.pkl"])
def test_kserves_iris_model_answers_as_on_kserve(kserve: Path, payload: Any, model: str) -> None:
    bound = served(kserve / "models" / model)
    assert bound.predict_v1(payload("iris_input"))["predictions"].tolist() == [1, 1]
    matrix = np.array(payload("iris_input_v2")["inputs"][0]["data"], dtype=np.float32)
    response = bound.infer(v2(Tensor.of("input-0", matrix)))
    assert [(output.name, output.data.tolist()) for output in response.outputs] == [("output-0", [1, 1])]


def test_rows_may_be_columns_objects_or_objects_in_pieces(named: BoundModel, payload: Any) -> None:
    for name in ("iris_input_v3", "iris_input_v4"):
        assert named.predict_v1(payload(name))["predictions"].tolist() == [0], name
    rows = [dict(zip(NAMES, row, strict=True)) for row in X[[0, 149]].tolist()]
    assert named.predict_v1({"instances": rows})["predictions"].tolist() == [0, 2]
    pieces = [[{name: value} for name, value in row.items()] for row in rows]
    assert named.predict_v1({"instances": pieces})["predictions"].tolist() == [0, 2]


def test_a_missing_feature_is_named(named: BoundModel, payload: Any) -> None:
    with pytest.raises(InvalidInput, match=r"lacks the features petal_width_\(cm\); send all of"):
        named.predict_v1(payload("iris_input_v5"))
    row = dict(zip([*NAMES[:3], "petal_widht"], X[0].tolist(), strict=True))
    with pytest.raises(InvalidInput, match=r"it has petal_widht, which the model does not know"):
        named.predict_v1({"instances": [row]})


def test_named_columns_come_in_any_order(mixed: BoundModel) -> None:
    expected = mixed.predict_v1({"instances": [{"area": 3.0, "zone": "RL"}]})["predictions"].tolist()
    assert mixed.predict_v1({"zone": "RL", "area": 3.0})["predictions"].tolist() == expected
    columns = [texts("zone", "RL"), Tensor.of("area", np.array([3], dtype=np.int32))]
    for request in (v2(*columns, content_type="pd"), v2(*columns)):
        assert mixed.infer(request).outputs[0].data.tolist() == expected


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([[1, 2, 3]], "expects 4 features per row and the request has 3"),
        ([1, 2, 3, 4], r"shape \[rows, 4\], and the request has the shape \[4\]"),
        ([["a", "b", "c", "d"]], "does not fit the model|takes numbers"),
        ([[[1, 2, 3, 4]]], "request has the shape"),
        ([], "request has the shape"),
    ],
)
def test_rows_that_do_not_fit_are_the_callers_fault(named: BoundModel, rows: Any, text: str) -> None:
    with pytest.raises(InvalidInput, match=text):
        named.predict_v1({"instances": rows})


def test_not_a_number_is_the_callers_fault(named: BoundModel) -> None:
    with pytest.raises(InvalidInput, match="contains NaN"):
        named.infer(v2(Tensor.of("x", np.array([[1.0, 2.0, 3.0, np.nan]]))))


def test_an_unknown_category_is_the_callers_fault(mixed: BoundModel) -> None:
    with pytest.raises(InvalidInput, match="unknown categories"):
        mixed.predict_v1({"instances": [{"area": 1.0, "zone": "ZZ"}]})


def test_probabilities_are_a_matter_of_the_environment(tmp_path: Path) -> None:
    path = saved(tmp_path, LogisticRegression(max_iter=500).fit(X, Y))
    assert served(path, PREDICT_PROBA="true").predict_v1({"instances": X[:2].tolist()})["predictions"].shape == (2, 3)
    assert served(path, PREDICT_PROBA="False").predict_v1({"instances": X[:2].tolist()})["predictions"].shape == (2,)
    with pytest.raises(LoadFailed, match="PREDICT_PROBA is 'yes'; set it to true or false"):
        served(path, PREDICT_PROBA="yes")
    with pytest.raises(LoadFailed, match=r"without predict_proba \(PREDICT_PROBA is set\)"):
        served(saved(tmp_path, LinearRegression().fit(X, Y)), PREDICT_PROBA="true")


def test_texts_reach_a_vectorizer_as_text(tmp_path: Path) -> None:
    words = ["good wine", "bad wine", "good bread", "bad bread"]
    model = make_pipeline(TfidfVectorizer(), MultinomialNB()).fit(words, ["yes", "no", "yes", "no"])
    bound = served(saved(tmp_path, model))
    assert bound.predict_v1({"instances": ["good", "bad"]})["predictions"].tolist() == ["yes", "no"]
    for shape in ((2,), (2, 1)):
        answer = bound.infer(v2(texts("input-0", "good", "bad", shape=shape))).outputs[0]
        assert (answer.datatype, answer.data.tolist()) == ("BYTES", [b"yes", b"no"])
    with pytest.raises(InvalidInput, match="not UTF-8"):
        bound.infer(v2(Tensor("x", "BYTES", (1,), np.array([b"\xff"], dtype=object))))


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ([], "holds no model file"),
        (["a.txt", "b.md"], r"ending in \.joblib, \.pkl, \.pickle, \.skops is needed, and it holds a\.txt, b\.md"),
        (["a.joblib", "b.pkl"], r"more than one model file \(a\.joblib, b\.pkl\)"),
    ],
)
def test_the_folder_holds_one_model_file(tmp_path: Path, files: list[str], text: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(LoadFailed, match=text):
        served(tmp_path)


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LoadFailed, match="holds a dict without predict"):
        served(saved(tmp_path, {"a": 1}))
    with pytest.raises(LoadFailed, match="does not exist"):
        served(tmp_path / "nothing")


def test_another_versions_model_says_so_when_it_fails(
    kserve: Path, payload: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        bound = served(kserve / "models" / "sklearn-mixedtype.joblib")
    warned = [record for record in caplog.records if "was saved with scikit-learn 1.3.0" in record.getMessage()]
    assert len(warned) == 1
    with pytest.raises(InferenceError, match=r"scikit-learn 1\.3\.0 saved the model .* install scikit-learn==1\.3\.0"):
        bound.predict_v1(payload("sklearn_mixed"))


@pytest.mark.slow
def test_kserves_mixed_model_answers_under_an_older_scikit_learn(
    kserve: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The answer of KServe's own test, by this runtime, with a scikit-learn that can run the model."""
    uv = shutil.which("uv") or shutil.which("uv", path=str(ROOT / ".venv" / "bin"))
    if uv is None:
        pytest.skip("uv is not installed, which makes the environment with the older scikit-learn")
    folder = tmp_path_factory.mktemp("older")
    python = folder / "venv" / "bin" / "python"
    made = subprocess.run(
        [uv, "venv", "--python", sys.executable, str(folder / "venv")], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    wanted = ["scikit-learn==1.5.2", "pandas>=2.2", "-e", str(ROOT)]
    installed = subprocess.run(
        [uv, "pip", "install", "--python", str(python), *wanted], capture_output=True, text=True, timeout=600
    )
    if installed.returncode != 0:
        pytest.skip(f"the older scikit-learn cannot be installed here: {installed.stderr.strip()[-300:]}")
    script = """
import json, sys
from pathlib import Path
from colonnade.model.binding import bind
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.sklearn import SklearnRuntime
from colonnade.wire import v2
data = Path(sys.argv[1])
bound = bind(SklearnRuntime().load("mixed", data / "models" / "sklearn-mixedtype.joblib", LoadOptions(env={})))
body = (data / "payloads" / "sklearn_mixed_v2.json").read_bytes()
first = bound.predict_v1(json.loads((data / "payloads" / "sklearn_mixed.json").read_bytes()))["predictions"]
second = bound.infer(v2.decode(body, None, "mixed", None)).outputs[0].data
print(json.dumps([first.tolist(), second.tolist()]))
"""
    ran = subprocess.run([str(python), "-c", script, str(kserve)], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[[12.202832815138274], [12.202832815138274]]"


@pytest.mark.parametrize(
    ("model", "env", "output"),
    [
        (LogisticRegression(max_iter=300).fit(X, Y), {}, ("INT64", (-1,))),
        (LogisticRegression(max_iter=300).fit(X, Y), {"PREDICT_PROBA": "true"}, ("FP64", (-1, 3))),
        (LogisticRegression(max_iter=300).fit(X, np.array(["a", "b", "c"])[Y]), {}, ("BYTES", (-1,))),
        (LinearRegression().fit(X, np.stack([Y, Y], axis=1)), {}, ("FP64", (-1, 2))),
    ],
)
def test_the_metadata_says_features_and_answer(
    tmp_path: Path, model: Any, env: dict[str, str], output: tuple[str, tuple[int, ...]]
) -> None:
    bound = served(saved(tmp_path, model), **env)
    assert [(spec.name, spec.datatype, spec.shape) for spec in bound.inputs] == [("input-0", "FP64", (-1, 4))]
    assert [(spec.name, spec.datatype, spec.shape) for spec in bound.outputs] == [("output-0", *output)]
    whole = bound.infer(v2(Tensor.of("anything", X[:2].astype(np.int32))))
    assert whole.outputs[0].shape[1:] == output[1][1:]


def test_a_model_that_needs_frames_fails_to_load_without_pandas(tmp_path: Path, mixed: BoundModel) -> None:
    assert mixed.model.name == "iris"
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from pathlib import Path\n"
        "from colonnade.runtimes.base import LoadOptions\n"
        "from colonnade.runtimes.sklearn import SklearnRuntime\n"
        f"SklearnRuntime().load('m', Path({str(tmp_path)!r}), LoadOptions(env={{}}))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "pip install colonnade[pandas]" in ended.stderr
