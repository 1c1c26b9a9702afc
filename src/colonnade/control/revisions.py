"""Revisions: which state of a predictor a replica belongs to. Pure.

A revision is one content of the component's template. Whatever would make a replica behave otherwise makes a new one;
what only says how many replicas or how long a request may take does not. The count is kept in the service's
`status.annotations` (a field of Knative's own status type), so that it survives a stop, and on each pod.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any, NamedTuple

import msgspec

from colonnade import defaults, flags

SERVICE_LABEL = "serving.kserve.io/inferenceservice"
REVISION_LABEL = "serving.knative.dev/revision"
REVISION_ANNOTATION = "colonnade.dev/revision"  # on the service's status: `{number}:{hash}`
HASH_ANNOTATION = "colonnade.dev/revision-hash"  # on pods
DRAINING_ANNOTATION = "colonnade.dev/draining"  # on pods that get no new requests and are about to go

# Scale and routing: no part of what a replica is.
_NOT_TEMPLATE = frozenset(
    {"minReplicas", "maxReplicas", "scaleTarget", "scaleMetric", "scaleMetricType", "autoScaling", "timeout"}
    | {"canaryTrafficPercent", "containerConcurrency", "deploymentStrategy", "logger"}
)
_TEMPLATE_ANNOTATIONS = (defaults.DIRECT, *flags.ANNOTATIONS)
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own for generated names: no vowels, no look-alikes


class Revision(NamedTuple):
    """One content of a predictor. `number` counts from 1 for each service."""

    number: int
    digest: str

    def name(self, service: str) -> str:
        """As Knative names it: `{service}-predictor-00001`."""
        return f"{service}-predictor-{self.number:05d}"


def digest(isvc: dict[str, Any]) -> str:
    """The hash of what a replica of this (defaulted) service is made of: 16 hex digits."""
    predictor = {key: value for key, value in isvc["spec"]["predictor"].items() if key not in _NOT_TEMPLATE}
    annotations = isvc["metadata"].get("annotations") or {}
    content: list[Any] = [predictor, annotations.get(defaults.TRUST_CODE)]
    content += [{name: annotations[name]} for name in _TEMPLATE_ANNOTATIONS if name in annotations]
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:16]


def current(isvc: dict[str, Any], content: str) -> Revision:
    """The revision of content hash `content`: the last created one if that has it, else the one after it."""
    last = recorded(isvc)
    if last is not None and last.digest == content:
        return last
    return Revision(1 if last is None else last.number + 1, content)


def recorded(isvc: dict[str, Any]) -> Revision | None:
    """The last created revision that the service's status remembers."""
    text = ((isvc.get("status") or {}).get("annotations") or {}).get(REVISION_ANNOTATION, "")
    number, _, content = str(text).partition(":")
    return Revision(int(number), content) if number.isdigit() and content else None


def record(revision: Revision) -> dict[str, str]:
    """What `recorded` reads, as annotations of the status."""
    return {REVISION_ANNOTATION: f"{revision.number}:{revision.digest}"}


def pod_name(service: str, revision: Revision) -> str:
    """A new name for a replica: `{revision}-deployment-{5 characters}`."""
    return f"{revision.name(service)}-deployment-{''.join(secrets.choice(_ALPHABET) for _ in range(5))}"


def labels(service: str, revision: Revision) -> dict[str, str]:
    """The labels by which users and tools of KServe find the pods of a service."""
    return {
        SERVICE_LABEL: service,
        "component": "predictor",
        "app": f"isvc.{service}-predictor",
        "serving.knative.dev/service": f"{service}-predictor",
        "serving.knative.dev/configuration": f"{service}-predictor",
        REVISION_LABEL: revision.name(service),
    }


def of_pod(pod: dict[str, Any]) -> str:
    """The name of the revision a pod belongs to, or ""."""
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))


def service_of(pod: dict[str, Any]) -> str:
    """The name of the service a pod belongs to, or ""."""
    return str((pod["metadata"].get("labels") or {}).get(SERVICE_LABEL, ""))


def draining(pod: dict[str, Any]) -> bool:
    """Whether a pod is on its way out."""
    return DRAINING_ANNOTATION in (pod["metadata"].get("annotations") or {})


def owner(isvc: dict[str, Any]) -> dict[str, Any]:
    """The owner reference from a pod to its service."""
    return {
        "apiVersion": isvc["apiVersion"],
        "kind": isvc["kind"],
        "name": isvc["metadata"]["name"],
        "uid": isvc["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
