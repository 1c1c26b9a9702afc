"""The chain of causes, as a table: what the API shows, and what `why` must say of it."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.cli.advice import advice
from colonnade.cli.causes import diagnose, worst_pod


def service(*conditions: dict[str, Any], generation: int = 1, **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "iris", "generation": generation},
        "status": {"observedGeneration": 1, "conditions": list(conditions), **status},
    }


def ready(status: str, reason: str = "", message: str = "") -> dict[str, Any]:
    return {"type": "Ready", "status": status, "reason": reason, "message": message}


def pod(name: str, ready_status: str = "False", **container: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "status": {"conditions": [{"type": "Ready", "status": ready_status}], "containerStatuses": [container]},
    }


def test_a_ready_service_has_no_causes() -> None:
    diagnosis = diagnose(service(ready("True")), [], [])
    assert diagnosis.ready
    assert diagnosis.causes == ()


def test_a_change_not_yet_seen_is_not_ready() -> None:
    assert not diagnose(service(ready("True"), generation=2), [], []).ready


def test_a_model_that_cannot_be_found_names_the_file_and_the_fix() -> None:
    failure = {"reason": "ModelLoadFailed", "message": "/models/iris does not exist", "location": "/models/iris"}
    diagnosis = diagnose(
        service(
            ready("False", "PredictorNotReady"),
            modelStatus={"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": failure},
        ),
        [],
        [],
    )
    assert [cause.step for cause in diagnosis.causes] == ["condition Ready", "model"]
    assert "where: /models/iris" in diagnosis.causes[1].details
    assert any("storageUri" in hint for hint in diagnosis.advice)


def test_a_crash_shows_exit_code_restarts_and_log() -> None:
    crashed = pod(
        "iris-1",
        restartCount=4,
        state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 8 s"}},
        lastState={"terminated": {"exitCode": 3, "reason": "Error", "message": "needs the package foo"}},
    )
    log = [f"line {number}" for number in range(50)]
    diagnosis = diagnose(service(ready("False")), [crashed], log)
    text = "\n".join(cause.message for cause in diagnosis.causes)
    assert "CrashLoopBackOff" in text
    assert "exit code 3" in text
    assert diagnosis.causes[-1].details == ("needs the package foo", "restarts: 4")
    assert diagnosis.log[-1] == "line 49"
    assert len(diagnosis.log) == 12


@pytest.mark.parametrize(
    ("reason", "message", "hint"),
    [
        ("ModelLoadFailed", 'os.system is not allowed; annotation colonnade.dev/trust-code: "true" consents', "trust"),
        ("ModelLoadFailed", "xgboost is not installed: pip install 'colonnade[xgboost]'", "install the extra"),
        ("ModelLoadFailed", "s3:// is a scheme of KServe that this version does not fetch", "local path"),
        ("InvalidPredictorSpec", "image example/unknown:1 is not known", "`command`"),
        ("NoSupportingRuntime", "no runtime for tensorflow", "model format"),
        ("RuntimeUnhealthy", "Secret credentials does not hold the key token", "Secret"),
        ("Error", "colonnade.server: error: unrecognized arguments: --workers=2", "`args`"),
    ],
)
def test_advice_follows_reason_and_message(reason: str, message: str, hint: str) -> None:
    (found,) = advice([(reason, message)])
    assert hint in found


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("RuntimeUnhealthy", "the process ended with exit code 1"),
        ("RuntimeUnhealthy", "usage: python -m colonnade.server [-h] [--runtime {auto}] [--trust-code]"),
        ("ModelLoadFailed", "division by zero in model.py, line 3, version 2"),
    ],
)
def test_no_hint_is_given_for_words_that_only_look_alike(reason: str, message: str) -> None:
    assert advice([(reason, message)]) == []


def test_advice_reads_what_killed_a_replica() -> None:
    killed = pod("iris-1", state={"terminated": {"exitCode": 137, "signal": 9}})
    assert any("memory" in hint for hint in diagnose(service(ready("False")), [killed], []).advice)


def test_a_service_without_status_says_so() -> None:
    diagnosis = diagnose({"metadata": {"name": "iris", "generation": 1}}, [], [])
    assert not diagnosis.ready
    assert diagnosis.causes[0].step == "control plane"


def test_the_worst_pod_is_the_one_that_is_not_ready_and_restarts_most() -> None:
    pods = [pod("good", "True", restartCount=9), pod("new"), pod("bad", restartCount=3)]
    worst = worst_pod(pods)
    assert worst is not None
    assert worst["metadata"]["name"] == "bad"
    assert worst_pod([]) is None
