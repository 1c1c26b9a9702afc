"""Objects for the tests of the control plane."""

from __future__ import annotations

from typing import Any

from colonnade.control.workload import revisions
from colonnade.control.workload.components import Component
from colonnade.control.workload.revisions import Revision
from colonnade.resources.defaulting import default


def isvc(predictor: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    """A defaulted InferenceService `iris` in namespace `ns`."""
    spec = {"sklearn": {"storageUri": "/models/iris"}} if predictor is None else predictor
    return default(
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": {"name": "iris", "namespace": "ns", "uid": "u1", "generation": 1, **metadata},
            "spec": {"predictor": spec},
        }
    )


def revision(number: int = 1, component: str = "predictor", **fields: Any) -> Revision:
    """A revision of `iris`."""
    return Revision("iris", Component(component, fields.pop("variant", ""), {}), number, "x", **fields)


def pod(name: str, number: int = 1, *, ready: bool = True, **fields: Any) -> dict[str, Any]:
    """A pod of revision `number` of `iris`."""
    annotations = {revisions.DRAINING_ANNOTATION: "2026-01-01T00:00:00Z"} if fields.pop("draining", False) else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "labels": revisions.labels(revision(number, fields.pop("component", "predictor"))),
            "annotations": annotations,
            "ownerReferences": [{"uid": "u1"}],
            "creationTimestamp": fields.pop("created", "2026-01-01T00:00:00Z"),
        },
        "spec": {"containers": [{"name": "kserve-container"}]},
        "status": {"conditions": [{"type": "Ready", "status": "True" if ready else "False"}], **fields},
    }


def crashed(name: str, number: int = 1, reason: str = "ModelLoadFailed") -> dict[str, Any]:
    """A pod in a crash loop."""
    container = {
        "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
        "lastState": {
            "terminated": {"exitCode": 3, "reason": reason, "message": "m", "finishedAt": "2026-01-01T00:00:00Z"}
        },
    }
    return pod(name, number, ready=False, containerStatuses=[container])
