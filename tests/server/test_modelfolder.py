"""Many models in one replica: begun with a list, loaded, exchanged and unloaded by name while it serves."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from colonnade.errors import LoadFailed
from colonnade.runtimes.modellist import LISTING, read

from .replica import Replica, Start

ASKED = {"instances": [[1.0, 2.0]]}

CODE = """
import colonnade

class Eight(colonnade.Model):
    def predict(self, payload: dict):
        return {"predictions": [8]}
"""


def constant(folder: Path, value: int) -> Path:
    """A model that answers with one number."""
    made = DummyClassifier(strategy="constant", constant=value).fit(np.zeros((2, 2)), np.array([0, value]))
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(made, folder / "model.joblib")
    return folder


class Folder:
    """A folder of models, and its list."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.listed: dict[str, dict[str, Any]] = {}

    def put(self, name: str, path: Path, version: str = "1", framework: str = "sklearn", **more: Any) -> None:
        spec = {"storageUri": f"s3://b/{name}", "framework": framework, "memory": "1Mi"}
        self.listed[name] = {"modelName": name, "modelSpec": spec, "path": str(path), "version": version, **more}
        self.write()

    def write(self) -> None:
        (self.root / LISTING).write_text(json.dumps(list(self.listed.values())))


@pytest.fixture
def folder() -> Iterator[Folder]:
    root = Path(tempfile.mkdtemp(prefix="models-"))
    yield Folder(root)
    shutil.rmtree(root)


def started(start: Start, folder: Folder) -> Replica:
    return start("--multi-model", "--model-dir", str(folder.root), "--trust-code").ready()


def asked(replica: Replica, name: str) -> Any:
    answer = replica.http.post(f"/v1/models/{name}:predict", json=ASKED)
    return answer.json()["predictions"] if answer.status_code == 200 else answer.status_code


def change(replica: Replica, name: str, verb: str) -> int:
    return replica.http.post(f"/v2/repository/models/{name}/{verb}").status_code


def test_it_is_ready_without_models_and_takes_them_one_by_one(start: Start, folder: Folder) -> None:
    replica = started(start, folder)
    assert replica.http.get("/v2/models").json() == {"models": []}
    assert asked(replica, "a") == 404
    assert change(replica, "a", "load") == 404
    folder.put("a", constant(folder.root / "first", 3))
    assert change(replica, "a", "load") == 200
    assert asked(replica, "a") == [3]
    assert change(replica, "a", "unload") == 200
    assert asked(replica, "a") == 404
    assert change(replica, "a", "unload") == 404
    assert change(replica, "a", "load") == 200
    assert asked(replica, "a") == [3]


def test_it_begins_with_all_that_is_listed_and_one_that_fails_is_alone(start: Start, folder: Folder) -> None:
    for number in range(60):
        folder.put(f"m{number}", constant(folder.root / f"of-{number}", number + 1))
    folder.put("gone", folder.root / "nowhere")
    folder.put("strange", folder.root / "of-1", framework="abacus")
    replica = started(start, folder)
    assert [asked(replica, f"m{number}") for number in range(60)] == [[number + 1] for number in range(60)]
    assert asked(replica, "gone") == 503
    assert asked(replica, "strange") == 404
    refused = replica.http.post("/v2/repository/models/strange/load")
    assert "abacus" in refused.text


def test_a_new_version_takes_over_without_a_failed_request_and_the_same_one_is_left_alone(
    start: Start, folder: Folder
) -> None:
    folder.put("a", constant(folder.root / "first", 1))
    replica = started(start, folder)
    constant(folder.root / "first", 9)
    assert change(replica, "a", "load") == 200
    assert asked(replica, "a") == [1]
    folder.put("a", constant(folder.root / "second", 2), version="2")
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(asked, replica, "a") for _ in range(200)]
        assert change(replica, "a", "load") == 200
        assert {tuple(answer.result()) for answer in answers} <= {(1,), (2,)}
    assert asked(replica, "a") == [2]
    folder.put("a", folder.root / "nowhere", version="3")
    assert change(replica, "a", "load") == 503
    assert asked(replica, "a") == [2]


def test_loads_and_unloads_at_one_time_end_in_one_state(start: Start, folder: Folder) -> None:
    folder.put("a", constant(folder.root / "first", 1))
    replica = started(start, folder)
    with ThreadPoolExecutor(8) as pool:
        verbs = ["load", "unload"] * 20
        assert set(pool.map(lambda verb: change(replica, "a", verb), verbs)) <= {200, 404}
    assert change(replica, "a", "load") == 200
    assert asked(replica, "a") == [1]


def test_a_model_that_lies_there_without_a_list_is_taken(start: Start, folder: Folder) -> None:
    replica = started(start, folder)
    constant(folder.root / "agent", 5)
    assert change(replica, "agent", "load") == 200
    assert asked(replica, "agent") == [5]
    for name in ("..", "%2e%2e", "x%2fy", "agent%2f..%2fagent", LISTING):
        assert change(replica, name, "load") == 404


def test_consent_is_given_model_by_model(start: Start, folder: Folder) -> None:
    (folder.root / "code").mkdir()
    (folder.root / "code" / "model.py").write_text(CODE)
    for name, consent in (("yes", True), ("no", False), ("unsaid", None)):
        folder.put(name, folder.root / "code", framework="python", trustCode=consent)
    replica = started(start, folder)  # with the consent of its command line
    assert [asked(replica, name) for name in ("yes", "no", "unsaid")] == [[8], 503, [8]]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"modelSpec": {}}]', "\xff"])
def test_a_list_that_cannot_be_read_is_named(folder: Folder, text: str) -> None:
    (folder.root / LISTING).write_bytes(text.encode("latin-1"))
    with pytest.raises(LoadFailed, match=LISTING):
        read(folder.root)


def test_no_list_is_no_model(folder: Folder) -> None:
    assert read(folder.root) == {}
