"""The status of a pod in each state of its process."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.workload.podstatus import (
    Compiled,
    Unschedulable,
    Waiting,
    compiled_summary,
    is_ready,
    last_lines,
    never_fits,
    pod_status,
    terminated,
    unscheduled,
)
from colonnade.platforms.base import ReplicaSpec, ReplicaState, Termination

POD = {"metadata": {"name": "p", "namespace": "ns"}, "spec": {"containers": [{"name": "c"}]}}
SPEC = ReplicaSpec("p", "ns", ("x",), "unix:/s")


def state(**fields: Any) -> ReplicaState:
    return ReplicaState(SPEC, **{"pid": 7, "started": 100.0, "running": True, **fields})


def test_before_the_first_start() -> None:
    found = pod_status(POD, None, 0, None, "", 50.0)
    assert (found["phase"], is_ready({"status": found})) == ("Pending", False)
    assert found["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}


def test_running_and_not_ready_says_why() -> None:
    found = pod_status(POD, state(reason="GET /x answered 503"), 0, None, "", 101.0)
    assert found["phase"] == "Running"
    assert "GET /x answered 503" in found["conditions"][-1]["message"]
    assert found["containerStatuses"][0]["state"] == {"running": {"startedAt": "1970-01-01T00:01:40Z"}}


def test_one_that_was_not_admitted_waits_and_one_that_never_is_says_so() -> None:
    found = pod_status(POD, None, 0, None, "", 50.0, unscheduled=Unschedulable("0/1 nodes", never=False))
    assert found["phase"] == "Pending"
    assert found["conditions"] == [
        {
            "type": "PodScheduled",
            "status": "False",
            "lastTransitionTime": "1970-01-01T00:00:50Z",
            "reason": "Unschedulable",
            "message": "0/1 nodes",
        }
    ]
    pod = {**POD, "status": found}
    assert (unscheduled(pod), never_fits(pod), is_ready(pod)) == ("0/1 nodes", False, False)
    refused = pod_status(pod, None, 0, None, "", 51.0, unscheduled=Unschedulable("0/1 nodes", never=True))
    assert never_fits({"status": refused})
    admitted = pod_status({**POD, "status": refused}, state(), 0, None, "", 52.0)
    assert (unscheduled({"status": admitted}), never_fits({"status": admitted})) == ("", False)


def test_one_that_was_ended_for_its_memory() -> None:
    ended = terminated(state(running=False, finished=105.0, signal=9, out_of_memory="it had 2 of 1"), "last words")
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)
    assert ended["message"] == "ended for its memory: it had 2 of 1\nlast words"


def test_ready_keeps_its_time() -> None:
    first = pod_status(POD, state(ready=True), 0, None, "", 110.0)
    second = pod_status({**POD, "status": first}, state(ready=True), 0, None, "", 190.0)
    assert second == first
    assert is_ready({"status": second})


def test_a_crash_loop_shows_the_last_end() -> None:
    ended = state(running=False, finished=105.0, exit_code=3)
    found = pod_status(POD, ended, 2, Waiting("CrashLoopBackOff", "back-off 1s"), "boom", 106.0)
    container = found["containerStatuses"][0]
    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1s"}}
    assert container["lastState"]["terminated"]["message"] == "boom"
    again = pod_status({**POD, "status": found}, state(started=107.0), 3, None, "", 107.0)
    assert again["containerStatuses"][0]["lastState"] == container["lastState"]
    assert again["containerStatuses"][0]["restartCount"] == 3


@pytest.mark.parametrize(
    ("fields", "code", "reason", "words"),
    [
        ({"exit_code": 0}, 0, "Completed", "tail"),
        ({"exit_code": 1}, 1, "Error", "tail"),
        ({"signal": 9}, 137, "Error", "ended by SIGKILL; the kernel does so when memory runs out\ntail"),
        ({"signal": 11}, 139, "Error", "ended by SIGSEGV\ntail"),
        (
            {},
            137,
            "ContainerStatusUnknown",
            "how it ended is not known: an earlier control plane started it\ntail",
        ),
        ({"exit_code": 3, "termination": Termination("ModelLoadFailed", "no file")}, 3, "ModelLoadFailed", "no file"),
    ],
)
def test_how_it_ended(fields: dict[str, Any], code: int, reason: str, words: str) -> None:
    found = terminated(state(running=False, finished=105.0, **fields), "tail")
    assert (found["exitCode"], found["reason"], found["message"]) == (code, reason, words)


def test_of_a_log_the_end_is_shown() -> None:
    assert last_lines(b"\n".join(b"%d" % n for n in range(100))).split("\n") == [str(n) for n in range(80, 100)]
    assert len(last_lines(b"x" * 9999)) == 2048
    assert last_lines(b"\xff\n\n") == "�"


def test_what_became_of_the_compiled_form_is_a_condition() -> None:
    converting, compiled = Compiled("converting", "the original serves"), Compiled("compiled", "9 µs a call")
    first = pod_status(POD, state(ready=True), 0, None, "", 110.0, converting)
    found = {each["type"]: each for each in first["conditions"]}["colonnade.dev/Compiled"]
    assert (found["status"], found["reason"], found["message"]) == ("False", "Converting", "the original serves")
    second = {**POD, "status": pod_status(POD, state(ready=True), 0, None, "", 120.0, compiled)}
    assert (compiled_summary(second), compiled_summary(POD)) == ("9 µs a call", "")
