"""Revisions: which state of a component a replica belongs to. Pure.

A revision is one content of a component's template. Whatever would make a replica behave otherwise makes a new one;
what only says how many replicas or how long a request may take does not. Each is kept as a `ControllerRevision`
(`apps/v1`), the object in which Kubernetes keeps the history of its own workloads, so that an earlier one can be run
again, and history survives a restart. Revisions of a component are counted from 1, those of variants together with the
others, and a number is not given twice while the service has the component.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from colonnade.control.workload.components import Component

GROUP = "apps"
RESOURCE = "controllerrevisions"
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
COMPONENT_LABEL = "component"
REVISION_LABEL = "serving.knative.dev/revision"
VARIANT_LABEL = "colonnade.dev/variant"
HASH_ANNOTATION = "colonnade.dev/revision-hash"
PROVEN_ANNOTATION = "colonnade.dev/ready-since"  # when a replica of the revision was ready first
FELL_ANNOTATION = "colonnade.dev/fell"  # why the traffic left the revision, which had failed soon after it was ready
REJECTED_ANNOTATION = "colonnade.dev/rejected"  # why an analysis took the traffic from the revision
DRAINING_ANNOTATION = "colonnade.dev/draining"  # on pods that get no new requests and are about to go

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes' own for generated names: no vowels, no look-alikes


@dataclass(frozen=True)
class Revision:
    """One content of a component.

    Attributes:
        number: of its name.
        digest: of the template, 16 hex digits.
        template: see `components.template`.
        proven: a replica of it has been ready.
        rejected: why an analysis took the traffic from it, or "".
        created: RFC 3339, "" if it is not stored yet.
        since: Unix time at which a replica of it was ready first, 0 if none was.
        fell: how it failed soon after it was ready, or "".
        renumbered: its number in the history, if its content was wanted again while it ran, else 0.
    """

    service: str
    component: Component
    number: int
    digest: str
    template: Mapping[str, Any] = field(default_factory=dict, hash=False, compare=False)
    proven: bool = False
    rejected: str = ""
    created: str = ""
    since: float = 0.0
    fell: str = ""
    renumbered: int = 0

    @property
    def order(self) -> int:
        """Its number in the history: the greatest is that of the newest revision."""
        return self.renumbered or self.number

    @property
    def name(self) -> str:
        """As Knative names it: `{service}-predictor-00001`."""
        return f"{self.service}-{self.component.infix}-{self.number:05d}"


def digest(template: Mapping[str, Any], runtime: object = None) -> str:
    """The hash of what a replica is made of: the component's template and the runtime that serves it."""
    content = [template["spec"], template["annotations"], runtime]
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()[:16]


def wanted(
    service: str,
    component: Component,
    template: Mapping[str, Any],
    content: str,
    known: Iterable[Revision],
    running: Container[str] = (),
) -> Revision:
    """The revision of content hash `content`: the newest one of the variant if it has that, else a new one.

    An earlier one of that content that runs becomes the newest again, as the ReplicaSet of a Deployment does: whoever
    goes back waits for no new replicas. `running` has the names of those that do, and to which one may go back.
    """
    of_component = [each for each in known if each.component.name == component.name]
    of_variant = [each for each in of_component if each.component.variant == component.variant]
    latest = newest(of_variant)
    if latest is not None and latest.digest == content:
        return latest
    number = max((each.order for each in of_component), default=0) + 1
    same = newest(each for each in of_variant if each.digest == content and each.name in running and not each.rejected)
    return Revision(service, component, number, content, template) if same is None else replace(same, renumbered=number)


def newest(known: Iterable[Revision]) -> Revision | None:
    """The one that was wanted last; None of none."""
    return max(known, key=lambda each: each.order, default=None)


def stored(isvc: Mapping[str, Any], revision: Revision) -> dict[str, Any]:
    """The ControllerRevision of a revision."""
    annotations = {HASH_ANNOTATION: revision.digest}
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": revision.name,
            "namespace": isvc["metadata"]["namespace"],
            "labels": labels(revision),
            "annotations": annotations,
            "ownerReferences": [owner(isvc)],
        },
        "revision": revision.order,
        "data": revision.template,
    }


def read(found: Mapping[str, Any]) -> Revision:
    """The revision that a ControllerRevision of ours keeps."""
    metadata = found["metadata"]
    annotations, marks = metadata.get("annotations") or {}, metadata["labels"]
    spec = found["data"]["spec"]
    number, order = int(metadata["name"].rpartition("-")[2]), int(found["revision"])
    ready = annotations.get(PROVEN_ANNOTATION)
    return Revision(
        marks[SERVICE_LABEL],
        Component(marks[COMPONENT_LABEL], marks.get(VARIANT_LABEL, ""), spec),
        number,
        annotations[HASH_ANNOTATION],
        found["data"],
        ready is not None,
        annotations.get(REJECTED_ANNOTATION, ""),
        metadata.get("creationTimestamp", ""),
        0.0 if ready is None else datetime.fromisoformat(ready).timestamp(),
        annotations.get(FELL_ANNOTATION, ""),
        order if order != number else 0,
    )


def pod_name(revision: Revision) -> str:
    """A new name for a replica: `{revision}-deployment-{5 characters}`."""
    return f"{revision.name}-deployment-{''.join(secrets.choice(_ALPHABET) for _ in range(5))}"


def labels(revision: Revision) -> dict[str, str]:
    """The labels by which users and tools of KServe find the pods of a service."""
    workload = f"{revision.service}-{revision.component.infix}"
    variant = {VARIANT_LABEL: revision.component.variant} if revision.component.variant else {}
    return {
        SERVICE_LABEL: revision.service,
        COMPONENT_LABEL: revision.component.name,
        "app": f"isvc.{workload}",
        "serving.knative.dev/service": workload,
        "serving.knative.dev/configuration": workload,
        REVISION_LABEL: revision.name,
        **variant,
    }


def of_pod(pod: Mapping[str, Any]) -> str:
    """The name of the revision a pod belongs to, or ""."""
    return str((pod["metadata"].get("labels") or {}).get(REVISION_LABEL, ""))


def service_of(found: Mapping[str, Any]) -> str:
    """The name of the service that a pod or a ControllerRevision belongs to, or ""."""
    return str((found["metadata"].get("labels") or {}).get(SERVICE_LABEL, ""))


def component_of(found: Mapping[str, Any]) -> str:
    """The name of the component that a pod or a ControllerRevision belongs to, or ""."""
    return str((found["metadata"].get("labels") or {}).get(COMPONENT_LABEL, ""))


def draining(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is on its way out."""
    return DRAINING_ANNOTATION in (pod["metadata"].get("annotations") or {})


def owner(isvc: Mapping[str, Any]) -> dict[str, Any]:
    """The owner reference to a service."""
    return {
        "apiVersion": isvc["apiVersion"],
        "kind": isvc["kind"],
        "name": isvc["metadata"]["name"],
        "uid": isvc["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owned(found: Mapping[str, Any], isvc: Mapping[str, Any]) -> bool:
    """Whether an object belongs to this service, and not to an earlier one of its name."""
    references = found["metadata"].get("ownerReferences") or []
    return any(reference.get("uid") == isvc["metadata"]["uid"] for reference in references)
