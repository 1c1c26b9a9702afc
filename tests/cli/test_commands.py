"""The command line without a platform: usage, exit codes, sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from colonnade.cli.exits import CommandFailed
from colonnade.cli.main import COMMANDS, main
from colonnade.cli.predict import detect, readable

ISVC = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: iris}
spec: {predictor: {sklearn: {storageUri: /models/iris}}}
"""


def run(state: Path, *words: str, data: str | None = None) -> Result:
    return CliRunner().invoke(main, ["--state-dir", str(state), *words], input=data)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(tmp_path: Path, name: str) -> None:
    shown = run(tmp_path, name, "--help")
    assert shown.exit_code == 0
    assert "Usage:" in shown.output


@pytest.mark.parametrize("words", [["get", "isvc"], ["why", "iris"], ["logs", "iris"], ["delete", "isvc", "iris"]])
def test_without_a_platform_the_exit_code_is_3_and_says_what_to_do(tmp_path: Path, words: list[str]) -> None:
    result = run(tmp_path, *words)
    assert result.exit_code == 3
    assert "colonnade up" in result.output


def test_a_grace_period_has_no_sign(tmp_path: Path) -> None:
    result = run(tmp_path / "state", "up", "--grace", "-1")
    assert (result.exit_code, "--grace" in result.output) == (2, True)
    assert not (tmp_path / "state").exists()


def test_check_gives_each_field_a_verdict(tmp_path: Path) -> None:
    result = run(tmp_path, "check", "-f", "-", "-o", "json", data=ISVC)
    assert result.exit_code == 0, result.output
    (report,) = json.loads(result.output)
    assert {field["path"] for field in report["fields"]} >= {"spec.predictor.sklearn.storageUri"}
    assert "unknown" not in report["verdicts"]


def test_check_fails_on_an_unknown_field_and_suggests_the_nearest(tmp_path: Path) -> None:
    result = run(tmp_path, "check", "-f", "-", data=ISVC.replace("storageUri", "storageUrl"))
    assert result.exit_code == 1
    assert "unknown" in result.output
    assert "storageUri" in result.output


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("/models/iris", "modelscope://owner/iris"), "modelscope://"),
        (("sklearn: {storageUri", "paddle: {storageUri"), "paddleserver"),
        (("sklearn: {storageUri: /models/iris}", "containers: [{name: a, image: me/mine}]"), "me/mine"),
        (("", ""), None),
    ],
)
def test_check_says_whether_the_service_would_run(tmp_path: Path, change: tuple[str, str], why: str | None) -> None:
    result = run(tmp_path, "check", "-f", "-", "-o", "json", data=ISVC.replace(*change))
    (report,) = json.loads(result.output)
    assert report["refused"] is None if why is None else why in report["refused"]


@pytest.mark.parametrize(
    ("words", "data", "said"),
    [
        (["apply", "-f", "-"], "a: [", "standard input"),
        (["apply", "-f", "https://example.com/isvc.yaml"], None, "download"),
        (["apply", "-f", "/nowhere/isvc.yaml"], None, "/nowhere/isvc.yaml"),
        (["apply", "-f", "-"], "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n", "Deployment"),
        (["predict", "iris", "--data", "/nowhere.json"], None, "/nowhere.json"),
        (["get", "deployments"], None, "inferenceservices"),
    ],
)
def test_bad_input_is_named(tmp_path: Path, words: list[str], data: str | None, said: str) -> None:
    result = run(tmp_path, *words, data=data)
    assert result.exit_code in (1, 3)
    assert said in result.output


@pytest.mark.parametrize(
    ("body", "protocol"),
    [
        ({"instances": [[1]]}, "v1"),
        ({"inputs": [{"name": "a", "shape": [1], "datatype": "FP32", "data": [1]}]}, "v2"),
        ({"inputs": [[1, 2]]}, "v1"),
        ({"inputs": [{"height": 1.0}]}, "v1"),
        ({"any": 1}, "v1"),
    ],
)
def test_the_protocol_is_read_off_the_body(body: dict[str, object], protocol: str) -> None:
    assert detect(json.dumps(body).encode()) == protocol


def test_a_binary_answer_is_shown_as_lists() -> None:
    tensor = b'{"name":"a","datatype":"INT32","shape":[2],"parameters":{"binary_data_size":8}}'
    head = b'{"model_name":"m","outputs":[%s]}' % tensor
    shown = readable(head + b"\x01\x00\x00\x00\x02\x00\x00\x00", str(len(head)))
    assert shown["outputs"] == [{"name": "a", "datatype": "INT32", "shape": [2], "parameters": {}, "data": [1, 2]}]


@pytest.mark.parametrize("body", [b"<html>", b"\xff"])
def test_an_answer_that_is_not_json_ends_with_a_sentence(body: bytes) -> None:
    with pytest.raises(CommandFailed, match="neither JSON"):
        readable(body, None)
