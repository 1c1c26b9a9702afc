"""How a control plane ends, however often and in whatever moment it is told to, and what the next one finds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from colonnade.control.workload.podstatus import is_ready
from colonnade.platforms import process

from ..running_plane import CONSENT, MODEL, UP, Plane, python

Planes = Callable[[Path], Plane]


def living(state: Path) -> set[int]:
    """The processes of a state directory."""
    return {identity.pid for identity in process.strays(str(state.resolve()))}


def known(state: Path) -> set[int]:
    """The processes that the records of a state directory name."""
    files = [state / "gateway.json", *(state / "replicas").glob("*/replica.json")]
    records = [json.loads(file.read_bytes()) for file in files if file.exists()]
    return {record["identity"]["pid"] for record in records if record.get("identity") and not record.get("stopped")}


class Asked:
    """One request to a slow model, under way."""

    def __init__(self, plane: Plane, folder: Path) -> None:
        folder.mkdir()
        wait = f"        import time, pathlib; pathlib.Path({str(folder / 'in')!r}).touch(); time.sleep(1)\n"
        (folder / "model.py").write_text(MODEL.replace("        return {", f"{wait}        return {{"))
        plane.apply("slow", python(folder), **CONSENT)
        plane.until(lambda: plane.ready("slow"))
        self.answer: list[Any] = []
        self._thread = threading.Thread(target=lambda: self.answer.extend(plane.predict("slow")))
        self._thread.start()
        plane.until((folder / "in").exists)

    def wait(self) -> list[Any]:
        self._thread.join(30)
        return self.answer


def test_a_stop_that_is_asked_for_again_and_again_loses_no_request(planes: Planes, tmp_path: Path) -> None:
    plane = planes(tmp_path / "state")
    asked = Asked(plane, tmp_path / "slow")
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        plane.process.send_signal(number)
        plane.until(lambda: not (plane.state / "endpoints.json").exists())
    assert plane.stop() == 0
    assert asked.wait()[0] == "hello"
    assert not living(plane.state)


def test_what_is_killed_while_it_drains_leaves_what_the_next_one_ends(planes: Planes, tmp_path: Path) -> None:
    plane = planes(tmp_path / "state")
    asked = Asked(plane, tmp_path / "slow")
    plane.process.send_signal(signal.SIGTERM)
    plane.until(lambda: not (plane.state / "endpoints.json").exists())
    plane.kill()
    before = living(plane.state)
    assert len(before) == 2
    plane.start()
    assert living(plane.state) & before <= known(plane.state)
    plane.until(lambda: plane.ready("slow"))
    assert living(plane.state) == known(plane.state)
    assert plane.predict("slow")[0] == "hello"
    assert asked.wait()[0] == "hello"  # the gateway had drained by itself
    assert plane.stop() == 0
    assert not living(plane.state)


def test_a_replica_that_does_not_end_is_ended_by_the_next_control_plane(planes: Planes, tmp_path: Path) -> None:
    plane = planes(tmp_path / "state")
    code = "import http.server, os, signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); http.server.HTTPServer("
    code += "('127.0.0.1', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()"
    container = {"name": "kserve-container", "command": ["python", "-c", code]}
    plane.apply("deaf", {"containers": [container], "terminationGracePeriodSeconds": 1})
    plane.until(lambda: plane.ready("deaf"))
    (deaf,) = known(plane.state) - {json.loads((plane.state / "gateway.json").read_bytes())["identity"]["pid"]}
    plane.process.send_signal(signal.SIGTERM)
    plane.until(lambda: not known(plane.state))  # the gateway is gone, and the replica has been told
    plane.kill()
    assert living(plane.state) == {deaf}
    plane.start()
    assert deaf not in living(plane.state)
    plane.until(lambda: plane.ready("deaf"))
    assert living(plane.state) == known(plane.state)
    plane.stop()
    assert not living(plane.state)


def test_a_stop_ends_everything_also_when_the_state_directory_is_gone(
    planes: Planes, model: Path, tmp_path: Path
) -> None:
    plane = planes(tmp_path / "state")
    plane.apply("echo", python(model, minReplicas=2), **CONSENT)
    plane.until(lambda: sum(is_ready(pod) for pod in plane.pods("echo")) == 2)
    shutil.rmtree(plane.state)
    assert plane.stop() == 0
    assert not living(plane.state)


@pytest.mark.parametrize("moment", ["lock", "gateway.json", "kubeconfig"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_end_during_the_start_leaves_nothing_behind(
    planes: Planes, tmp_path: Path, moment: str, number: int
) -> None:
    state = tmp_path / "state"
    starting = start(state, (state / moment).exists)
    starting.send_signal(number)
    said, _ = starting.communicate(timeout=20)
    assert not said or moment == "kubeconfig", "it does not call itself ready"
    assert starting.returncode in ((0, -signal.SIGTERM) if number == signal.SIGTERM else (-signal.SIGKILL,))
    if number == signal.SIGTERM:
        assert not living(state)
    plane = planes(state)
    assert living(state) == known(state)
    assert plane.stop() == 0
    assert not living(state)


def test_a_stop_during_the_start_ends_what_was_adopted(planes: Planes, model: Path, tmp_path: Path) -> None:
    first = planes(tmp_path / "state")
    first.apply("echo", python(model), **CONSENT)
    first.until(lambda: first.ready("echo"))
    first.kill()
    assert len(living(first.state)) == 2
    holder = (first.state / "lock").read_bytes()
    second = start(first.state, lambda: (first.state / "lock").read_bytes() not in (holder, b""))
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=20)
    if second.returncode == 0:  # it had come to where it listens to signals
        assert not living(first.state)
    else:
        assert len(living(first.state)) == 2  # nothing was adopted yet
        third = planes(first.state)
        assert third.stop() == 0
    assert not living(first.state)


def start(state: Path, reached: Callable[[], bool]) -> subprocess.Popen[bytes]:
    """A control plane at a moment of its start."""
    process = subprocess.Popen([sys.executable, "-c", UP, str(state), "{}", "[]"], stdout=subprocess.PIPE)
    while not reached():
        assert process.poll() is None
        os.sched_yield()
    return process
