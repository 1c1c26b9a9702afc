"""`colonnade check` on services that come together with their runtimes."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner

from colonnade.cli.main import main

RUNTIME = """
apiVersion: serving.kserve.io/v1alpha1
kind: ServingRuntime
metadata: {name: mine, namespace: team}
spec:
  supportedModelFormats: [{name: spark, autoSelect: true}]
  containers: [{name: kserve-container, command: [serve]}]
"""
SERVICE = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: a, namespace: team}
spec: {predictor: {model: {modelFormat: {name: spark}, storageUri: /m}}}
"""


def reports(*documents: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(main, ["check", "-f", "-", "-o", "json"], input="---".join(documents))
    found: list[dict[str, Any]] = json.loads(result.output)
    return found


def test_a_service_may_need_a_runtime_of_the_same_file() -> None:
    (alone,) = reports(SERVICE)
    assert "No runtime found to support specified framework/version: modelFormat spark" in alone["refused"]
    service, runtime = reports(SERVICE, RUNTIME)
    assert service["refused"] is None
    assert runtime["verdicts"].keys() <= {"runs", "emulated"}
    assert reports(SERVICE.replace("team", "other"), RUNTIME)[0]["refused"] is not None


def test_a_runtime_of_the_cluster_replaces_the_built_in_one() -> None:
    replaced = RUNTIME.replace("ServingRuntime", "ClusterServingRuntime").replace(
        "{name: mine, namespace: team}", "{name: kserve-paddleserver}"
    )
    paddle = SERVICE.replace("spark", "paddle")
    assert "its server paddleserver is not on the PATH" in reports(paddle)[0]["refused"]
    assert reports(paddle, replaced.replace("spark", "paddle"))[0]["refused"] is None


def test_an_invalid_runtime_helps_nobody() -> None:
    service, runtime = reports(SERVICE, RUNTIME.replace("kserve-container", "other"))
    assert "one container must be named kserve-container" in runtime["invalid"]
    assert service["refused"] is not None
