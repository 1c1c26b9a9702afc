"""The kinds and their tables."""

from __future__ import annotations

import gzip
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from colonnade.resources import kinds
from colonnade.resources.columns import age, cells, columns, duration
from colonnade.resources.kinds import Kind

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CREATED = (NOW - timedelta(minutes=5, seconds=10)).strftime("%Y-%m-%dT%H:%M:%SZ")


def row(kind: Kind, obj: dict[str, Any]) -> dict[str, Any]:
    """A row by its headings."""
    values = cells(kind, obj, NOW)
    return dict(zip((column.name for column in columns(kind)), values, strict=True))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (310, "5m10s"),
        (599, "9m59s"),
        (600, "10m"),
        (179 * 60 + 59, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 5 * 60, "3h5m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (50 * 3600, "2d2h"),
        (8 * 86400, "8d"),
        (400 * 86400, "400d"),
        (730 * 86400, "2y"),
        (740 * 86400, "2y10d"),
        (9 * 365 * 86400 + 86400, "9y"),
    ],
)
def test_durations_are_written_as_kubectl_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("value", [None, "", "yesterday", 5])
def test_an_age_without_a_time_is_unknown(value: object) -> None:
    assert age(value, NOW) == "<unknown>"


def test_lookups() -> None:
    assert kinds.by_kind("serving.kserve.io/v1beta1", "InferenceService") is kinds.INFERENCE_SERVICE
    assert kinds.by_plural("", "v1", "pods") is kinds.POD
    assert kinds.by_kind("v1", "Service") is None
    assert kinds.by_kind(None, ["x"]) is None
    assert kinds.by_plural("apps", "v1", "deployments") is None
    assert kinds.INFERENCE_SERVICE.api_version == "serving.kserve.io/v1beta1"
    assert kinds.SECRET.api_version == "v1"
    assert kinds.POD.list_kind == "PodList"


def test_the_service_has_kserves_names_and_columns(kserve: Path) -> None:
    text = gzip.decompress((kserve / "crds" / "inferenceservices.yaml.gz").read_bytes()).decode()
    crd = yaml.safe_load(text.partition("    schema:\n")[0])["spec"]
    kind = kinds.INFERENCE_SERVICE
    assert (kind.plural, kind.singular, list(kind.short_names)) == tuple(
        crd["names"][name] for name in ("plural", "singular", "shortNames")
    )
    wanted = [column["name"] for column in crd["versions"][0]["additionalPrinterColumns"]]
    assert [column.name for column in kind.columns] == ["Name", *wanted]


def test_all_kinds_of_kserves_crds_are_known(kserve: Path) -> None:
    for file in (kserve / "crds").glob("*.gz"):
        name = re.findall("^    kind: (.*)$", gzip.decompress(file.read_bytes()).decode(), re.MULTILINE)[0]
        assert name in {kind.kind for kind in kinds.KINDS} | set(kinds.NOT_SERVED)


def test_a_ready_service() -> None:
    obj = {
        "metadata": {"name": "iris", "creationTimestamp": CREATED},
        "status": {
            "url": "http://iris-default.example.com",
            "conditions": [{"type": "PredictorReady", "status": "False"}, {"type": "Ready", "status": "True"}],
            "components": {
                "predictor": {
                    "traffic": [
                        {"revisionName": "iris-1", "tag": "prev", "percent": 90},
                        {"revisionName": "iris-2", "latestRevision": True, "percent": 10},
                    ]
                }
            },
        },
    }
    assert row(kinds.INFERENCE_SERVICE, obj) == {
        "Name": "iris",
        "URL": "http://iris-default.example.com",
        "Ready": "True",
        "Prev": 90,
        "Latest": 10,
        "PrevRolledoutRevision": "iris-1",
        "LatestReadyRevision": "iris-2",
        "Age": "5m10s",
    }


def test_a_new_service_has_blank_cells() -> None:
    found = row(kinds.INFERENCE_SERVICE, {"metadata": {"name": "iris", "creationTimestamp": CREATED}})
    assert found["URL"] is found["Ready"] is found["Latest"] is None


@pytest.mark.parametrize(
    ("status", "ready", "state", "restarts"),
    [
        ({"phase": "Pending"}, "0/1", "Pending", "0"),
        ({"phase": "Running", "containerStatuses": [{"ready": True, "restartCount": 0}]}, "1/1", "Running", "0"),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    {
                        "ready": False,
                        "restartCount": 3,
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {"terminated": {"finishedAt": CREATED}},
                    }
                ],
            },
            "0/1",
            "CrashLoopBackOff",
            "3 (5m10s ago)",
        ),
        ({"containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}, "0/1", "ExitCode:3", "0"),
    ],
)
def test_pods(status: dict[str, Any], ready: str, state: str, restarts: str) -> None:
    found = row(kinds.POD, {"metadata": {"name": "p"}, "spec": {"containers": [{}]}, "status": status})
    assert (found["Ready"], found["Status"], found["Restarts"]) == (ready, state, restarts)


def test_a_pod_on_its_way_out() -> None:
    obj = {"metadata": {"name": "p", "deletionTimestamp": CREATED}, "status": {"phase": "Running"}}
    assert row(kinds.POD, obj)["Status"] == "Terminating"


def test_events() -> None:
    obj = {
        "metadata": {"name": "iris.1"},
        "involvedObject": {"kind": "InferenceService", "name": "iris"},
        "type": "Warning",
        "reason": "Crashed",
        "message": "exit code 3\n",
        "source": {"component": "colonnade"},
        "firstTimestamp": CREATED,
        "lastTimestamp": NOW.isoformat(),
        "count": 4,
    }
    found = row(kinds.EVENT, obj)
    assert found["Last Seen"] == "0s"
    assert found["First Seen"] == "5m10s"
    assert found["Object"] == "inferenceservice/iris"
    assert found["Message"] == "exit code 3"
    assert found["Count"] == 4


def test_namespace_config_map_and_secret() -> None:
    meta = {"name": "a", "creationTimestamp": CREATED}
    assert cells(kinds.NAMESPACE, {"metadata": meta, "status": {"phase": "Active"}}, NOW) == ["a", "Active", "5m10s"]
    assert cells(kinds.CONFIG_MAP, {"metadata": meta, "data": {"x": "1"}, "binaryData": {"y": ""}}, NOW)[1] == 2
    assert cells(kinds.SECRET, {"metadata": meta, "data": {"x": ""}}, NOW)[1:3] == ["Opaque", 1]


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.kind)
@pytest.mark.parametrize("obj", [{}, {"metadata": 1, "status": [], "spec": ""}, {"metadata": {"name": 3}, "data": 4}])
def test_malformed_objects_have_a_row_too(kind: Kind, obj: dict[str, Any]) -> None:
    assert len(cells(kind, obj, NOW)) == len(columns(kind))
