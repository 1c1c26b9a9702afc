"""The status of an InferenceGraph: a graph is ready when the services that its steps name are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from colonnade.control.routes.routing import STOP, hosts
from colonnade.control.services.status import Place
from colonnade.resources.inferencegraph import InferenceGraph, url_failure
from colonnade.resources.meta import DEPLOYMENT_MODE

_KNATIVE_MODES = ("Knative", "Serverless")


class Verdict(NamedTuple):
    """Whether a graph is ready: `True`, `False` or `Unknown`, and why not."""

    status: str
    reason: str = ""
    message: str = ""


def verdict(
    graph: InferenceGraph, services: Mapping[str, Mapping[str, Any]], *, name_taken: bool, routed: bool
) -> Verdict:
    """Whether a graph is ready.

    Args:
        graph: the graph.
        services: the InferenceServices of its namespace, by name.
        name_taken: a service has the graph's name, and so its address.
        routed: the gateway has acknowledged the graph's route.
    """
    if (graph.metadata.annotations or {}).get(STOP) == "true":
        return Verdict("False", "Stopped")
    if name_taken:
        text = f"an InferenceService is named {graph.metadata.name}, too, and has its address; rename one of them"
        return Verdict("False", "NameTaken", text)
    found = list(_steps(graph, services))
    worst = next((one for one in found if one.status == "False"), next(iter(found), None))
    if worst is not None:
        return worst
    return Verdict("True") if routed else Verdict("Unknown", "NotRouted", "the gateway is being told")


def _steps(graph: InferenceGraph, services: Mapping[str, Mapping[str, Any]]) -> Iterator[Verdict]:
    """What keeps the graph from being ready, step by step."""
    for node, router in graph.spec.nodes.items():
        for index, step in enumerate(router.steps or ()):
            if step.service_url and (failure := url_failure(step.service_url)):
                text = f"spec.nodes.{node}.steps[{index}].serviceUrl: {failure}"
                yield Verdict("False", "InvalidServiceUrl", text)
            if not step.service_name:
                continue
            isvc = services.get(step.service_name)
            if isvc is None:
                text = f"Failed to find graph service {step.service_name}"
                yield Verdict("False", "InferenceServiceNotFound", text)
                continue
            status = next((one["status"] for one in _conditions(isvc) if one["type"] == "Ready"), "Unknown")
            if status != "True":
                yield Verdict(status, "InferenceServiceNotReady", f"service {step.service_name} is not ready")


def _conditions(obj: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list((obj.get("status") or {}).get("conditions") or [])


def status(obj: Mapping[str, Any], found: Verdict, place: Place, now: str) -> dict[str, Any]:
    """The whole new status of a graph. `obj` has that of before, `now` is the time for what changes, RFC 3339."""
    old = obj.get("status") or {}
    metadata = obj["metadata"]
    stopped = found.reason == "Stopped"
    knative = (metadata.get("annotations") or {}).get(DEPLOYMENT_MODE) in _KNATIVE_MODES
    facts = [("Ready", found), ("Stopped", Verdict("True" if stopped else "False"))]
    since = {one["type"]: one for one in _conditions(obj)}
    conditions = []
    for kind, fact in facts:
        before = since.get(kind, {})
        same = before.get("status") == fact.status
        condition = {
            "type": kind,
            "status": fact.status,
            "lastTransitionTime": before.get("lastTransitionTime", now) if same else now,
        }
        if fact.reason:
            condition["reason"] = fact.reason
        if fact.message:
            condition["message"] = fact.message
        conditions.append(condition)
    new: dict[str, Any] = {
        "observedGeneration": metadata.get("generation", 1),
        "conditions": conditions,
        "deploymentMode": "Knative" if knative else "Standard",
    }
    served = found.status == "True" or (old.get("url") and found.reason not in ("Stopped", "NameTaken"))
    if served:
        names = hosts(metadata["name"], metadata["namespace"], place.domain)
        new["url"] = f"{place.scheme}://{names[1 if knative else 0]}"
    return new
