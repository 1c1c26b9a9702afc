"""Golden requests to programs that are not ours, with real processes: no wrong one ever counts as ready."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.replicas.trials import GOLDEN_ANNOTATION, noted
from colonnade.control.templates.template import BEHIND_ANNOTATION, MODEL_ANNOTATION, TRANSPORT_ANNOTATION
from colonnade.control.workload import podstatus
from colonnade.platforms.local import LocalPlatform

from .test_pods import KEY, REF, House

SERVER = """
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def say(self, status, answer):
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.say(200, {})
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print("asked", self.path, flush=True)
        if self.path == "/v1/models/sums:predict":
            return self.say(200, {"predictions": [sum(row) for row in asked["instances"]]})
        if self.path != "/v2/models/sums/infer":
            return self.say(404, {"error": "no such model"})
        [given] = asked["inputs"]
        if given["datatype"] != "FP32":
            return self.say(400, {"error": "FP32 only"})
        output = {"name": "sum", "datatype": "FP32", "shape": [1], "data": [sum(given["data"])]}
        self.say(200, {"model_name": "sums", "outputs": [output]})
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
X = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2.0]}
SUM = {"name": "sum", "datatype": "FP32", "shape": [1], "data": [3.5]}
RIGHT: list[dict[str, Any]] = [
    {"request": {"instances": [[1, 2], [3, 4]]}, "response": {"predictions": [3, 7]}},
    {"inputs": [X], "outputs": [SUM]},
    {"request": {"inputs": [{**X, "datatype": "FP64"}]}, "error": 400},
]
WRONG: dict[str, tuple[Any, str]] = {
    "V1": ([{"request": {"instances": [[1, 2]]}, "response": {"predictions": [4]}}], "case 0: predictions[0] is 3"),
    "V2": ([*RIGHT, {"inputs": [X], "outputs": [{**SUM, "data": [4.0]}]}], "case 3: output 'sum' at [0] is 3.5"),
    "answered": ([{"request": {"inputs": [X]}, "error": 400}], "it is answered, and should be refused with 400"),
    "file": ({"request": {}}, "is no list of objects"),
}


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[LocalPlatform]:
    async with LocalPlatform(tmp_path / "state") as platform:
        yield platform
        for state in platform.list():
            await platform.stop(state.spec.key, 0.0)


def create(house: House, folder: Path, cases: Any, code: str = SERVER) -> None:
    folder.mkdir(exist_ok=True)
    if cases is not None:
        (folder / "golden.json").write_text(json.dumps(cases))
    annotations = {TRANSPORT_ANNOTATION: "port", MODEL_ANNOTATION: "sums"}
    container = {"name": "c", "command": [sys.executable, "-c", code], "env": [{"name": "PORT", "value": "$(PORT)"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"annotations": annotations}}
    house.store.create(REF, noted({**pod, "spec": {"containers": [container]}}, folder))


def ready(house: House) -> bool:
    return podstatus.is_ready(house.store.get(REF) or {})


@pytest.mark.parametrize("cases", [RIGHT, [], None], ids=["right", "no case", "no file"])
async def test_one_that_answers_as_it_should_gets_ready(tmp_path: Path, platform: LocalPlatform, cases: Any) -> None:
    house = House(tmp_path, platform)
    create(house, tmp_path / "model", cases)
    await house.until(lambda: ready(house))
    assert house.output().count("asked") == len(cases or [])
    house.store.close()


@pytest.mark.parametrize("kind", WRONG)
async def test_one_that_answers_otherwise_never_gets_ready(tmp_path: Path, platform: LocalPlatform, kind: str) -> None:
    cases, message = WRONG[kind]
    house = House(tmp_path, platform)
    create(house, tmp_path / "model", cases)
    was_ready = []
    await house.until(lambda: was_ready.append(ready(house)) or house.container()["restartCount"] == 1)
    ended = house.container()["lastState"]["terminated"]
    assert ended["reason"] == "ModelLoadFailed"
    assert message in ended["message"]
    assert not any(was_ready)
    house.store.close()


async def test_one_that_hangs_while_it_is_asked_is_ended(tmp_path: Path, platform: LocalPlatform) -> None:
    house = House(tmp_path, platform, ready_timeout=1.0)
    code = SERVER.replace('print("asked"', 'import time; time.sleep(60); print("asked"')
    create(house, tmp_path / "model", RIGHT, code)
    was_ready = []
    await house.until(lambda: was_ready.append(ready(house)) or house.container()["restartCount"] == 1)
    assert not any(was_ready)
    house.store.close()


async def test_what_an_earlier_control_plane_has_asked_is_not_asked_again(
    tmp_path: Path, platform: LocalPlatform
) -> None:
    house = House(tmp_path, platform)
    create(house, tmp_path / "model", RIGHT)
    await house.until(lambda: ready(house))
    (tmp_path / "model" / "golden.json").write_text(json.dumps(WRONG["V1"][0]))  # would fail now
    house.store.close()
    later = House(tmp_path, platform)
    later.pods.refresh()
    assert ready(later)
    assert await later.pods.reconcile(KEY) is None
    assert ready(later)
    assert later.output().count("asked") == len(RIGHT)
    later.store.close()


def test_our_own_server_asks_itself(tmp_path: Path) -> None:
    alone: dict[str, Any] = {
        "metadata": {"annotations": {TRANSPORT_ANNOTATION: "socket"}},
        "spec": {"containers": [{}]},
    }
    assert noted(alone, tmp_path) == alone
    behind = {**alone, "spec": {"containers": [{}, {}]}}
    behind["metadata"] = {"annotations": {TRANSPORT_ANNOTATION: "port", BEHIND_ANNOTATION: "socket"}}
    assert noted(behind, tmp_path) == behind
    behind["metadata"] = {"annotations": {TRANSPORT_ANNOTATION: "socket", BEHIND_ANNOTATION: "port"}}
    assert noted(behind, tmp_path)["metadata"]["annotations"][GOLDEN_ANNOTATION] == str(tmp_path / "golden.json")
