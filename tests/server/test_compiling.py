"""The compiled form in a replica: made beside it, found by the next one, and the original where it does not reach."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier

from colonnade.errors import LoadFailed, Unavailable
from colonnade.runtimes.base import LoadOptions
from colonnade.runtimes.compile import job, store
from colonnade.runtimes.compile.report import Report
from colonnade.server.compiling import Compiling, Mode, State

from .replica import Replica, Start, until

X, Y = load_iris(return_X_y=True)


def _status(replica: Replica) -> dict[str, Any]:
    answer = replica.http.get("/v2/models/m/compile")
    assert answer.status_code == 200
    status: dict[str, Any] = answer.json()
    return status


def _settled(replica: Replica) -> dict[str, Any]:
    until(lambda: _status(replica)["state"] != "converting", "the end of the conversion")
    return _status(replica)


def _ask(replica: Replica, rows: np.ndarray, datatype: str) -> list[int]:
    tensor = {"name": "x", "shape": list(rows.shape), "datatype": datatype, "data": rows.tolist()}
    answer = replica.http.post("/v2/models/m/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    output: dict[str, Any] = answer.json()["outputs"][0]
    assert (output["name"], output["datatype"]) == ("output-0", "INT64")
    return list(output["data"])


@pytest.fixture
def forest(tmp_path: Path) -> Path:
    joblib.dump(RandomForestClassifier(20, random_state=0).fit(X, Y), tmp_path / "model.joblib")
    return tmp_path / "model.joblib"


def test_the_original_serves_until_the_compiled_form_is_there_and_the_next_replica_finds_it(
    forest: Path, tmp_path: Path, start: Start
) -> None:
    report = tmp_path / "report.json"
    flags = ("--model-name", "m", "--model-dir", str(forest), "--compile-cache", str(tmp_path / "cache"))
    first = start(*flags, "--compile-report", str(report)).ready()
    model = joblib.load(forest)
    expected, odd = model.predict(X).tolist(), np.array([[1e30, 3.0, 1.0, 0.2]])
    assert _ask(first, X, "FP64") == expected
    status = _settled(first)
    assert (status["mode"], status["state"]) == ("auto", "compiled"), status
    assert {"FP32", "FP64", "INT64"} <= set(status["report"]["datatypes"])
    until(lambda: msgspec.json.decode(report.read_bytes())["state"] == "compiled", "the report")
    assert _ask(first, X, "FP64") == expected
    metadata = first.http.get("/v2/models/m").json()
    first.close()

    second = start(*flags).ready()
    assert _status(second)["state"] == "compiled"
    assert _ask(second, X, "FP32") == expected
    assert second.http.get("/v2/models/m").json() == metadata
    assert "sklearn" not in Path(f"/proc/{second.process.pid}/maps").read_text()
    narrow = second.http.post("/v1/models/m:predict", json={"instances": [[1, 2, 3]]})
    assert (narrow.status_code, narrow.json()["error"]) == (
        400,
        "the model expects 4 features per row and the request has 3",
    )
    assert second.http.post("/v1/models/m:predict", json={"instances": X.tolist()}).json() == {"predictions": expected}
    assert "sklearn" not in Path(f"/proc/{second.process.pid}/maps").read_text()

    for _ in range(3):  # rows that only the original reads, between those of the graph
        assert _ask(second, odd, "FP64") == model.predict(odd).tolist()
        assert _ask(second, X, "FP32") == expected
    assert "sklearn" in Path(f"/proc/{second.process.pid}/maps").read_text()
    assert second.http.get("/v2/models/n/compile").status_code == 404


def test_a_model_that_stays_as_it_is_says_why(tmp_path: Path, start: Start) -> None:
    near = KNeighborsClassifier(metric="haversine").fit(X[:, :2], Y)  # a distance that no operator of ONNX computes
    joblib.dump(near, tmp_path / "model.joblib")
    cache = tmp_path / "cache"
    flags = ("--model-name", "m", "--model-dir", str(tmp_path), "--compile-cache", str(cache))
    replica = start(*flags).ready()
    status = _settled(replica)
    assert status["state"] == "original"
    assert "haversine" in status["summary"]
    assert _ask(replica, X[:1, :2], "FP64") == [0]

    required = start(*flags, "--compile", "require", "--termination-file", str(tmp_path / "why"))
    assert required.wait() == 3
    said = msgspec.json.decode((tmp_path / "why").read_bytes())["message"]
    assert "the model is not compiled" in said
    assert "haversine" in said


def test_a_compiled_form_may_be_required_or_forbidden(forest: Path, tmp_path: Path, start: Start) -> None:
    flags = ("--model-name", "m", "--model-dir", str(forest), "--compile-cache", str(tmp_path / "cache"))
    forbidden = start(*flags, "--compile", "off").ready()
    assert _status(forbidden)["summary"] == "not compiled: --compile is off"
    required = start(*flags, "--compile", "require").ready()
    assert _status(required)["state"] == "compiled"


def test_a_folder_that_others_may_write_to_is_not_used(forest: Path, tmp_path: Path, start: Start) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    flags = ("--model-name", "m", "--model-dir", str(forest), "--compile-cache", str(cache))
    replica = start(*flags).ready()
    assert "only this user can write to" in _status(replica)["summary"]
    assert list(cache.iterdir()) == []
    assert _ask(replica, X[:1], "FP32") == [0]


def test_a_replica_that_stops_takes_its_conversion_along(forest: Path, tmp_path: Path, start: Start) -> None:
    flags = ("--model-name", "m", "--model-dir", str(forest), "--compile-cache", str(tmp_path / "cache"))
    replica = start(*flags).ready()

    def children() -> list[str]:
        path = Path(f"/proc/{replica.process.pid}/task/{replica.process.pid}/children")
        return path.read_text().split()

    (child,) = until(children, "a child")
    replica.signal()
    assert replica.wait() == 0
    until(lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes(), "end")


def test_models_of_scripts_have_no_compiled_form(start: Start) -> None:
    code = """
        from colonnade import Model

        class Own(Model):
            def predict(self, x):
                return x
    """
    replica = start("--model-name", "m", code=code).ready()
    assert "models of python are not converted" in _status(replica)["summary"]


@asynccontextmanager
async def _converting(
    forest: Path, folder: Path, again: Callable[[], Awaitable[None]], mode: Mode = Mode.AUTO
) -> AsyncIterator[Compiling]:
    """A model that serves as it is, with its conversion under way."""
    compiling = Compiling(mode, folder, None, asyncio.get_running_loop())
    compiling.load("sklearn", "m", forest, LoadOptions(trust_code=True))
    assert compiling.status.state is State.CONVERTING
    task = asyncio.create_task(compiling.convert(again))
    yield compiling
    assert not task.done(), "the next conversion has its turn"
    task.cancel()


async def _ended(compiling: Compiling) -> str:
    async with asyncio.timeout(10):
        while compiling.status.state is State.CONVERTING:
            await asyncio.sleep(0.01)
    assert compiling.status.state is State.ORIGINAL
    return compiling.status.summary


async def _never() -> None:
    pytest.fail("there is nothing to be loaded again")


@pytest.mark.parametrize(
    ("child", "said"),
    [
        ([sys.executable, "-c", ""], "the converter has left nothing in"),
        ([sys.executable, "-c", "raise SystemExit('no memory')"], "ended with code 1: no memory"),
    ],
)
async def test_a_child_that_leaves_nothing_is_told(
    forest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, child: list[str], said: str
) -> None:
    monkeypatch.setattr(job, "command", lambda work: child)
    async with _converting(forest, tmp_path / "cache", _never) as compiling:
        assert said in await _ended(compiling)
    required = Compiling(Mode.REQUIRE, tmp_path / "cache", None, asyncio.get_running_loop())
    with pytest.raises(LoadFailed, match=said):
        required.load("sklearn", "m", forest, LoadOptions(trust_code=True))


async def test_a_converter_that_cannot_be_started_is_logged(
    forest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(job, "command", lambda work: [str(tmp_path / "none")])
    with caplog.at_level(logging.ERROR):
        async with _converting(forest, tmp_path / "cache", _never) as compiling:
            assert "not compiled: Internal error" in await _ended(compiling)
    assert any(record.exc_info and record.exc_info[0] is FileNotFoundError for record in caplog.records)


@pytest.mark.parametrize(
    ("error", "said"), [(Unavailable("there is no room"), "there is no room"), (KeyError("odd"), "Internal error")]
)
async def test_a_reload_that_fails_is_told(
    forest: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    compiled = store.Compiled(Report(compiled=True, reason="", versions={}), {})
    finds = iter([None, compiled])
    monkeypatch.setattr(store.Store, "find", lambda self, key: next(finds))
    monkeypatch.setattr(job, "command", lambda work: [sys.executable, "-c", ""])

    async def again() -> None:
        raise error

    async with _converting(forest, tmp_path / "cache", again) as compiling:
        summary = await _ended(compiling)
        assert "the model cannot be loaded again with its graph" in summary
        assert said in summary
