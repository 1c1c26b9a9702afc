"""Artefact safety on the running platform: what must not be loaded gets no process, and the status says why."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from ..running_plane import CONSENT, Plane, python

X, Y = load_iris(return_X_y=True)


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def sklearn(path: Path, **fields: Any) -> dict[str, Any]:
    return {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": str(path)}, **fields}


def recorded(plane: Plane, name: str) -> dict[str, Any]:
    [entry] = json.loads(plane.status(name)["annotations"]["colonnade.dev/artefact"])
    assert isinstance(entry, dict)
    return entry


def events(plane: Plane, name: str) -> list[tuple[str, str]]:
    items = plane.api.get("/api/v1/namespaces/default/events").json()["items"]
    return [(item["type"], item["reason"]) for item in items if item["involvedObject"]["name"] == name]


def failed(plane: Plane, name: str) -> dict[str, Any]:
    status = plane.until(lambda: (found := plane.status(name)) and "lastFailureInfo" in found["modelStatus"] and found)
    assert status["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    assert status["modelStatus"]["states"]["targetModelState"] == "FailedToLoad"
    info: dict[str, Any] = status["modelStatus"]["lastFailureInfo"]
    assert info["reason"] == "ModelLoadFailed"
    return info


@pytest.mark.parametrize("kind", ["code", "cut", "link out", "pin"])
def test_what_must_not_be_loaded_gets_no_process(plane: Plane, tmp_path: Path, kind: str) -> None:
    name, folder, annotations = f"bad-{kind.split()[0]}", tmp_path / "model", {}
    folder.mkdir()
    joblib.dump(LogisticRegression(max_iter=1000).fit(X, Y), folder / "model.joblib")
    if kind == "code":
        (folder / "model.joblib").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
        reason = "posix.system"
    elif kind == "cut":
        (folder / "model.joblib").write_bytes((folder / "model.joblib").read_bytes()[:-20])
        reason = "it is no complete pickle"
    elif kind == "link out":
        (folder / "passwd").symlink_to("/etc/passwd")
        reason = "lies outside of the model"
    else:
        annotations["colonnade.dev/model-digest"] = "sha256:" + "0" * 64
        reason = "this is not the model that was pinned"
    plane.apply(name, sklearn(folder), **annotations)
    assert reason in failed(plane, name)["message"]
    assert plane.pods(name) == []
    found = plane.condition(name, "ArtefactSafe")
    assert (found["status"], found["reason"], found["severity"]) == ("False", "ArtefactRefused", "Info")
    assert recorded(plane, name)["verdict"] == "Refused"
    assert ("Warning", "ArtefactRefused") in events(plane, name)
    assert not (tmp_path / "ran").exists()


def test_the_status_says_what_was_scanned_and_goes_on_saying_it(plane: Plane, tmp_path: Path) -> None:
    joblib.dump(LogisticRegression(max_iter=1000).fit(X, Y), tmp_path / "model.joblib")
    plane.apply("good", sklearn(tmp_path / "model.joblib"))
    plane.until(lambda: plane.ready("good"))
    entry = recorded(plane, "good")
    assert (entry["verdict"], entry["files"], entry["formats"]) == ("Passed", 1, {"pickle": 1})
    assert plane.condition("good", "ArtefactSafe")["status"] == "True"
    assert ("Normal", "ArtefactScanned") in events(plane, "good")
    plane.apply("good", sklearn(tmp_path / "model.joblib"), **{"colonnade.dev/model-digest": entry["digest"]})
    plane.until(lambda: plane.status("good")["components"]["predictor"]["latestReadyRevision"].endswith("2"))
    assert recorded(plane, "good")["digest"] == entry["digest"]


def test_a_bad_artefact_does_not_take_the_place_of_what_serves(plane: Plane, model: Path, tmp_path: Path) -> None:
    plane.apply("swap", python(model, "one"), **CONSENT)
    plane.until(lambda: plane.ready("swap"))
    assert plane.condition("swap", "ArtefactSafe")["reason"] == "CodeConsented"
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    plane.apply("swap", sklearn(tmp_path / "model.pkl"), **{"colonnade.dev/trust-code": "false"})
    failed(plane, "swap")
    assert plane.predict("swap")[0] == "one"
    assert not (tmp_path / "ran").exists()


def test_a_wrong_golden_answer_keeps_a_revision_from_the_traffic(plane: Plane, model: Path, tmp_path: Path) -> None:
    case = {"request": {"instances": []}, "response": {"predictions": ["one"]}}
    folder = tmp_path / "golden"
    folder.mkdir()
    (folder / "model.py").write_text((model / "model.py").read_text())
    plane.apply("golden", python(folder, "one"))
    plane.until(lambda: plane.ready("golden"))
    case["response"]["predictions"] = [plane.predict("golden")[0], *plane.predict("golden")[1:]]
    (folder / "golden.json").write_text(json.dumps([case]))
    plane.apply("golden", python(folder, "two"))
    assert "does not answer as its golden.json says" in failed(plane, "golden")["message"]
    assert plane.predict("golden")[0] == "one"


FOREIGN = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"predictions": [os.environ["WORD"]]}).encode())
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_a_wrong_golden_answer_of_another_program_keeps_it_from_the_traffic(plane: Plane, tmp_path: Path) -> None:
    case = {"request": {"instances": [1]}, "response": {"predictions": ["one"]}}
    (tmp_path / "golden.json").write_text(json.dumps([case]))

    def predictor(word: str) -> dict[str, Any]:
        env = [{"name": "STORAGE_URI", "value": str(tmp_path)}, {"name": "WORD", "value": word}]
        return {"containers": [{"name": "kserve-container", "command": [sys.executable, "-c", FOREIGN], "env": env}]}

    plane.apply("foreign", predictor("one"))
    plane.until(lambda: plane.ready("foreign"))
    assert plane.predict("foreign") == ["one"]
    plane.apply("foreign", predictor("two"))
    assert "case 0: predictions[0] is 'two', and should be 'one'" in failed(plane, "foreign")["message"]
    assert plane.predict("foreign") == ["one"]


def running(plane: Plane, name: str) -> list[dict[str, Any]]:
    """The pods of a service whose process runs."""
    statuses = ((pod, pod["status"].get("containerStatuses") or [{}]) for pod in plane.pods(name))
    return [pod for pod, [status] in statuses if "running" in (status.get("state") or {})]


def end(pod: dict[str, Any]) -> None:
    """Kill a pod's process."""
    [status] = pod["status"]["containerStatuses"]
    os.kill(int(status["containerID"].removeprefix("process://")), signal.SIGKILL)


@pytest.mark.parametrize("kind", ["pin", "code"])
def test_what_was_exchanged_where_it_lies_is_not_started(plane: Plane, tmp_path: Path, kind: str) -> None:
    name, file = f"exchanged-{kind}", tmp_path / "model.joblib"
    joblib.dump(LogisticRegression(max_iter=1000).fit(X, Y), file)
    honest = file.read_bytes()
    pin = {"colonnade.dev/model-digest": f"sha256:{hashlib.sha256(honest).hexdigest()}"} if kind == "pin" else {}
    plane.apply(name, sklearn(file), **pin)
    plane.until(lambda: plane.ready(name))

    if kind == "pin":
        joblib.dump(LogisticRegression(max_iter=1000).fit(X, Y == 1), file)
        reason = "this is not the model that was pinned"
    else:
        file.write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
        reason = "posix.system"
    plane.apply(name, sklearn(file, minReplicas=2), **pin)  # a copy of the pod that serves
    found = plane.until(lambda: (it := plane.condition(name, "ArtefactSafe")) and it["status"] == "False" and it)
    assert reason in found["message"]
    plane.until(lambda: plane.status(name)["modelStatus"]["copies"] == {"failedCopies": 1, "totalCopies": 2})
    assert len(running(plane, name)) == 1, "the one that runs is left alone"

    end(running(plane, name)[0])
    plane.until(lambda: len(plane.pods(name)) == 2 and not running(plane, name))
    assert reason in failed(plane, name)["message"]
    assert recorded(plane, name)["verdict"] == "Refused"
    assert reason in plane.condition(name)["message"]
    reasons = {pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] for pod in plane.pods(name)}
    assert "ArtefactRefused" in reasons
    assert not (tmp_path / "ran").exists()

    file.write_bytes(honest)
    plane.until(lambda: plane.ready(name) and plane.condition(name, "ArtefactSafe")["status"] == "True", 60.0)
    assert recorded(plane, name)["verdict"] == "Passed"


def test_an_honest_change_where_it_lies_is_told(plane: Plane, tmp_path: Path) -> None:
    joblib.dump(LogisticRegression(max_iter=1000).fit(X, Y), tmp_path / "model.joblib")
    plane.apply("changed", sklearn(tmp_path / "model.joblib"))
    plane.until(lambda: plane.ready("changed"))
    before = recorded(plane, "changed")["digest"]
    joblib.dump(LogisticRegression(max_iter=1000).fit(X, Y == 1), tmp_path / "model.joblib")
    end(running(plane, "changed")[0])
    plane.until(lambda: plane.ready("changed") and recorded(plane, "changed")["digest"] != before)
