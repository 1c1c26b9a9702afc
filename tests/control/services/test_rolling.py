"""Rolling updates: when the traffic moves, when it does not, and that nobody who asks notices."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..running_plane import API, CONSENT, Plane, python


def test_a_rolling_update_moves_the_traffic_and_a_failing_one_does_not(plane: Plane, model: Path) -> None:
    plane.apply("roll", python(model, "one"), **CONSENT)
    plane.until(lambda: plane.ready("roll"))
    plane.apply("roll", python(model, "two"), **CONSENT)
    while (word := plane.predict("roll")[0]) == "one":  # every answer on the way is an answer
        time.sleep(0.02)
    assert word == "two"
    plane.until(lambda: plane.ready("roll"))
    predictor = plane.status("roll")["components"]["predictor"]
    assert predictor["latestRolledoutRevision"] == "roll-predictor-00002"
    assert predictor["previousRolledoutRevision"] == "roll-predictor-00001"

    plane.apply("roll", {"sklearn": {"storageUri": str(model)}})
    status = plane.until(lambda: (s := plane.status("roll")) and "lastFailureInfo" in s["modelStatus"] and s)
    assert status["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    assert status["modelStatus"]["states"] == {"activeModelState": "Loaded", "targetModelState": "FailedToLoad"}
    assert status["modelStatus"]["lastFailureInfo"]["modelRevisionName"] == "roll-predictor-00003"
    assert status["modelStatus"]["lastFailureInfo"]["exitCode"] == 3
    plane.until(lambda: "roll-predictor-00002 keeps serving" in plane.condition("roll")["message"])
    assert plane.predict("roll")[0] == "two"

    plane.apply("roll", {"model": {"modelFormat": {"name": "unknown"}, "storageUri": str(model)}})
    plane.until(lambda: plane.status("roll")["modelStatus"]["transitionStatus"] == "InvalidSpec")
    assert plane.status("roll")["modelStatus"]["lastFailureInfo"]["reason"] == "NoSupportingRuntime"
    assert plane.predict("roll")[0] == "two"


def test_what_serves_is_scaled_without_a_second_fetch(
    planes: Callable[[Path], Plane], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the platform is started anew in another folder, a relative path means nothing any more."""
    monkeypatch.chdir(model.parent)
    plane = planes(tmp_path / "state")
    plane.apply("grows", python(Path(model.name)), **CONSENT)
    plane.until(lambda: plane.ready("grows"))
    plane.kill()
    monkeypatch.chdir(tmp_path)
    plane = planes(tmp_path / "state")
    plane.apply("grows", python(Path(model.name), minReplicas=2), **CONSENT)
    plane.until(lambda: (plane.status("grows")["modelStatus"].get("copies") or {}).get("totalCopies") == 2)
    plane.until(lambda: plane.ready("grows") and len({plane.predict("grows")[1] for _ in range(8)}) == 2)

    plane.apply("grows", python(Path(model.name), "new", minReplicas=2), **CONSENT)
    plane.until(lambda: plane.condition("grows").get("status") == "False")
    assert "failed with message" in plane.condition("grows")["message"]
    assert plane.predict("grows")[0] == "hello"


def test_the_revisions_of_a_component_go_with_it(plane: Plane, model: Path) -> None:
    program = "import http.server, os; http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), "
    program += "http.server.SimpleHTTPRequestHandler).serve_forever()"
    container = {"name": "kserve-container", "command": ["python", "-c", program]}

    def put(spec: dict[str, Any]) -> None:
        manifest = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "spec": spec}
        manifest["metadata"] = {"name": "chain", "annotations": CONSENT}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        path = f"{API}/chain?fieldManager=test&force=true"
        assert plane.api.patch(path, content=json.dumps(manifest), headers=headers).is_success

    def kept() -> set[str]:
        found = plane.api.get("/apis/apps/v1/namespaces/default/controllerrevisions").json()["items"]
        return {each["metadata"]["name"] for each in found if each["metadata"]["name"].startswith("chain-")}

    put({"predictor": python(model), "transformer": {"containers": [container]}})
    plane.until(lambda: kept() == {"chain-predictor-00001", "chain-transformer-00001"})
    put({"predictor": python(model)})
    plane.until(lambda: kept() == {"chain-predictor-00001"})


def test_repeated_rolling_updates_under_load_lose_no_request(plane: Plane, model: Path) -> None:
    plane.apply("busy", python(model, "0", minReplicas=2), **CONSENT)
    plane.until(lambda: plane.ready("busy"))
    url = f"{plane.http}/serving/default/busy/v1/models/busy:predict"
    answers: Counter[str] = Counter()
    failures: list[str] = []
    stopped = threading.Event()

    def ask() -> None:
        with httpx.Client(timeout=30) as client:  # which sends the head and the body of a request apart
            while not stopped.is_set():
                try:
                    response = client.post(url, json={"instances": []})
                    response.raise_for_status()
                    answers[response.json()["predictions"][0]] += 1
                except httpx.HTTPError as error:
                    failures.append(repr(error))

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    try:
        for word in ("1", "2", "3"):
            plane.apply("busy", python(model, word, minReplicas=2), **CONSENT)
            plane.until(lambda word=word: answers[word] > 100)  # type: ignore[misc]
        plane.until(lambda: len(plane.pods("busy")) == 2)
    finally:
        stopped.set()
        for client in clients:
            client.join()
    assert not failures
    assert set(answers) == {"0", "1", "2", "3"}
