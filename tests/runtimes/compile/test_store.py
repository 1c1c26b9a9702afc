"""Conversions on disk: whole or not at all, by content, and trusted only where nobody else writes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from colonnade.errors import LoadFailed
from colonnade.runtimes import golden
from colonnade.runtimes.base import LoadOptions, model_file
from colonnade.runtimes.compile import job
from colonnade.runtimes.compile.golden import examples
from colonnade.runtimes.compile.packages import versions
from colonnade.runtimes.compile.report import Coverage, Report, refusal
from colonnade.runtimes.compile.store import Store, key

PACKAGES = {"skl2onnx": "1"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "compiled")
    made.create()
    return made


def test_a_conversion_is_found_again(store: Store) -> None:
    report = Report(compiled=True, datatypes={"FP32": Coverage("float", "label", 1, 0.0, "<i8")})
    store.put("a", report, {"float": b"graph"})
    found = store.find("a")
    assert found is not None
    assert found.report == report
    assert Path(found.graphs["float"]).read_bytes() == b"graph"
    assert store.find("b") is None


def test_the_first_one_stays(store: Store) -> None:
    store.put("a", refusal("first"), {})
    store.put("a", refusal("second"), {})
    found = store.find("a")
    assert found is not None
    assert found.report.reason == "first"
    assert [path.name for path in store.root.iterdir()] == ["a"]


@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_a_folder_that_others_write_to_is_not_trusted(store: Store, mode: int) -> None:
    store.put("a", refusal("no"), {})
    (store.root / "a").chmod(mode)
    with pytest.raises(LoadFailed, match="only this user can write to"):
        store.find("a")
    (store.root / "a").chmod(0o700)
    store.root.chmod(mode)
    with pytest.raises(LoadFailed, match="--compile-cache"):
        store.create()


def test_a_link_is_not_trusted(store: Store, tmp_path: Path) -> None:
    other = Store(tmp_path / "other")
    other.create()
    other.put("a", refusal("no"), {})
    (store.root / "a").symlink_to(other.root / "a")
    with pytest.raises(LoadFailed, match="only this user"):
        store.find("a")


def test_a_key_says_all_that_matters(tmp_path: Path) -> None:
    file = tmp_path / "model.joblib"
    file.write_bytes(b"model")
    options = LoadOptions(env={})
    base = key("sklearn", file, options, PACKAGES)
    assert base == key("sklearn", file, LoadOptions(env={"OTHER": "1"}), PACKAGES)
    others = {
        key("sklearn", file, LoadOptions(env={"PREDICT_PROBA": "true"}), PACKAGES),
        key("sklearn", file, LoadOptions(env={"OMP_NUM_THREADS": "2"}), PACKAGES),
        key("sklearn", file, LoadOptions(True, {}), PACKAGES),
        key("sklearn", file, options, {"skl2onnx": "2"}),
    }
    golden.beside(file).write_text("[]")
    others.add(key("sklearn", file, options, PACKAGES))
    file.write_bytes(b"other")
    others.add(key("sklearn", file, options, PACKAGES))
    assert len(others | {base}) == 7


def test_a_child_process_leaves_graphs_and_report(store: Store, tmp_path: Path) -> None:
    rows, targets = load_iris(return_X_y=True)
    file = tmp_path / "model.joblib"
    joblib.dump(DecisionTreeClassifier(random_state=0).fit(rows, targets), file)
    packages = versions("sklearn")
    assert packages is not None
    work = job.Job("sklearn", str(file), "k", str(store.root), packages)
    for _ in range(2):  # the second finds what the first has left
        ended = subprocess.run(job.command(work), capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
    found = store.find("k")
    assert found is not None
    assert found.report.compiled
    assert found.report.versions == packages
    assert [Path(path).name for path in found.graphs.values()] == ["float.onnx"]


def test_a_child_process_keeps_why_it_could_not(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "model.joblib"
    file.write_bytes(b"no pickle")
    work = job.Job("sklearn", str(file), "k", str(store.root), {})
    assert subprocess.run(job.command(work), capture_output=True, check=False).returncode == 0
    found = store.find("k")
    assert found is not None
    assert (found.report.compiled, str(file) in found.report.reason) == (False, True)


def test_golden_rows_are_read_from_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text('{"learner": {}}')
    model = tmp_path / "model.json"
    assert examples(model) == []
    tensor = '{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}'
    flat = '{"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]}'
    entries = (
        f'{{"inputs": [{tensor}], "outputs": [{tensor}]}}',
        f'{{"inputs": [{tensor}]}}',
        f'{{"request": {{"inputs": [{tensor}]}}, "response": {{"outputs": [{tensor}]}}, "rtol": 0.1}}',
        f'{{"inputs": [{flat}]}}, {{"request": {{"instances": [[1, 2]]}}}}',
        f'{{"request": {{"inputs": [{tensor}]}}, "error": 400}}',
    )
    golden.beside(model).write_text(f"[{','.join(entries)}]")
    first, second, loose = examples(model)
    assert first.rows.tolist() == [[1, 2]]
    assert first.answers is not None
    assert second.answers is None
    assert loose.answers is None, "only the replica knows how near is near enough"
    assert model_file(tmp_path, (".json",)).name == "model.json"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "is no list of objects"),
        ("[{}]", "entry 0: give a request"),
        ('[{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1]}]}]', "entry 0: "),
    ],
)
def test_golden_rows_that_cannot_be_read_name_the_entry(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / golden.GOLDEN).write_text(text)
    with pytest.raises(LoadFailed, match=message):
        examples(tmp_path)
