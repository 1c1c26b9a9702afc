"""Every sample of KServe has an outcome, a refusal names its field, and the committed page says the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from colonnade.resources.verdicts import check_text

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def compatibility() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compatibility", ROOT / "docs" / "compatibility.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def isvc(predictor: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "a"},
        "spec": {"predictor": predictor, **spec},
    }


SKLEARN = {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "gs://b/m"}}
TRITON = {"model": {"modelFormat": {"name": "triton"}, "storageUri": "gs://b/m"}}


@pytest.mark.parametrize(
    ("obj", "verdict", "field"),
    [
        (isvc(SKLEARN), "runs", ""),
        (isvc({**SKLEARN, "serviceAccountName": "sa"}), "emulated", "spec.predictor.serviceAccountName"),
        (isvc(TRITON), "with its server", "spec.predictor.model.modelFormat"),
        (isvc({"model": {"modelFormat": {"name": "spark"}}}), "refused", "spec.predictor.model.modelFormat"),
        (isvc({"model": {**SKLEARN["model"], "runtime": "x"}}), "refused", "spec.predictor.model.runtime"),
        (isvc({"model": {**SKLEARN["model"], "args": ["--nope"]}}), "refused", "spec.predictor.model.args[0]"),
        (isvc({"containers": [{"image": "me/x"}]}), "refused", "spec.predictor.containers[0]"),
        (isvc(SKLEARN, transformer={"containers": [{"image": "x"}]}), "refused", "spec.transformer.containers[0]"),
        (isvc({**SKLEARN, "minReplicas": -1}), "refused", "spec.predictor.minReplicas"),
        ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}}, "refused", "kind"),
    ],
)
def test_the_outcome_and_the_field_that_decided(
    compatibility: ModuleType, obj: dict[str, Any], verdict: str, field: str
) -> None:
    (document,) = check_text(yaml.safe_dump(obj), "a.yaml")
    found = compatibility.outcome(document)
    assert (found.verdict, found.field) == (verdict, field), found.reason
    assert (found.reason == "") == (verdict == "runs")


def test_every_sample_is_on_the_page_and_a_refusal_has_its_reason(compatibility: ModuleType) -> None:
    if not compatibility.KSERVE.is_dir():
        pytest.skip(f"KServe's data files are not at {compatibility.KSERVE}")
    page = compatibility.page()
    assert page == (ROOT / "docs" / "reference" / "kserve-compatibility.md").read_text(), "run docs/generate.py"
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if ".yaml | " in line]
    files = {file.name for part in compatibility.PARTS for file in (compatibility.KSERVE / part).glob("*.yaml")}
    assert {row[0] for row in rows} == files
    for row in rows:
        if row[2] != "runs":
            assert len(row) == 5, row
            assert row[3], row
