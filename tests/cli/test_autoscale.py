"""`colonnade autoscale simulate` on traces of both shapes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from colonnade.cli.main import main

TRACE = "time,concurrency\n0,0\n20,140\n60,0\n"
MANIFEST = """
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: iris
  annotations: {autoscaling.knative.dev/window: 10s}
spec:
  predictor:
    minReplicas: 0
    maxReplicas: 3
    sklearn: {storageUri: /models/iris}
"""


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def simulate(*words: str | Path, data: str | None = None) -> Result:
    return CliRunner().invoke(main, ["autoscale", "simulate", *map(str, words)], input=data)


def test_it_prints_changes_lines_and_a_summary(trace: Path) -> None:
    found = simulate(trace)
    assert found.exit_code == 0, found.output
    assert "concurrency, target 70 a replica, 0 to any number of replicas" in found.output
    assert "in panic" in found.output
    assert "wanted" in found.output
    assert "█" in found.output
    assert "at most 2 replicas" in found.output


def test_a_manifest_and_annotations_over_it_say_how(trace: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "isvc.yaml"
    manifest.write_text(MANIFEST)
    words = (trace, "-f", manifest, "--annotation", "target=10", "-o", "json", "--tail-seconds", "60")
    found = json.loads(simulate(*words).output)
    assert found["summary"]["most"] == 3
    assert len(found["seconds"]) == 61 + 60
    assert found["seconds"][-1]["wanted"] == 0
    gone = next(each["second"] for each in found["seconds"] if each["second"] > 60 and not each["wanted"])
    assert gone < 90  # by a window of 10 s


def test_the_plot_is_a_picture(trace: Path, tmp_path: Path) -> None:
    picture = tmp_path / "course.svg"
    found = simulate(trace, "--plot", picture)
    assert str(picture) in found.output
    assert ET.parse(picture).getroot().tag.endswith("svg")


def test_a_log_of_requests_from_standard_input() -> None:
    lines = "".join(json.dumps({"arrival": number / 10, "duration": 2.0}) + "\n" for number in range(300))
    found = json.loads(simulate("-", "--annotation", "metric=rps", "-o", "json", data=lines).output)
    assert max(each["load"] for each in found["seconds"]) == 10.0


@pytest.mark.parametrize(
    ("words", "data", "said"),
    [
        (("absent.csv",), None, "No such file"),
        (("-",), "", "no rows"),
        (("-", "--annotation", "target"), TRACE, "write KEY=VALUE"),
        (("-", "--annotation", "window=1s"), TRACE, "expected 6s <= 1s <= 1h0m0s"),
        (("-", "-f", "absent.yaml"), TRACE, "absent.yaml"),
        (("-", "--plot", "/nowhere/at/all.svg"), TRACE, "/nowhere/at/all.svg"),
    ],
)
def test_bad_input_is_named(words: tuple[str, ...], data: str | None, said: str) -> None:
    found = simulate(*words, data=data)
    assert found.exit_code == 1
    assert said in found.output


def test_a_manifest_without_the_component_is_told(trace: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "isvc.yaml"
    manifest.write_text(MANIFEST)
    found = simulate(trace, "-f", manifest, "--component", "transformer")
    assert found.exit_code == 1
    assert "no spec.transformer" in found.output
