"""The chain of causes behind an InferenceGraph that is not Ready: its own condition, and what keeps its services from
being Ready. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from colonnade.cli.api import Object
from colonnade.cli.causes import Cause, Diagnosis, condition_causes, is_ready

# What only another manifest mends: the name is a service's, or a step has a URL that nothing can be sent to.
_REFUSALS = ("NameTaken", "InvalidServiceUrl")


def services_of(graph: Object) -> list[str]:
    """The names of the services that the graph's steps call, each once, in order."""
    nodes = (graph.get("spec") or {}).get("nodes") or {}
    steps = [step for node in nodes.values() for step in node.get("steps") or ()]
    return list(dict.fromkeys(step["serviceName"] for step in steps if step.get("serviceName")))


def absent(name: str) -> Diagnosis:
    """Of a service that a step names and that does not exist."""
    cause = Cause("namespace", "there is no InferenceService of this name")
    return Diagnosis(name, ready=False, causes=(cause,), advice=(f"apply the InferenceService {name}",), failed=True)


def diagnose_graph(graph: Object, services: Sequence[Diagnosis]) -> Diagnosis:
    """The chain of causes.

    Args:
        graph: the InferenceGraph.
        services: the diagnoses of those that its steps call.
    """
    name = graph["metadata"]["name"]
    if is_ready(graph):
        return Diagnosis(name, ready=True)
    lacking = [service for service in services if not service.ready]
    causes = [*condition_causes(graph), *_behind(lacking)]
    hints = list(dict.fromkeys(hint for service in lacking for hint in service.advice))
    if not causes:
        causes = [Cause("control plane", "the graph has not been looked at yet")]
    if not hints:
        hints = [f"`colonnade describe ig {name}` shows its conditions and events"]
    return Diagnosis(
        name,
        ready=False,
        causes=tuple(causes),
        advice=tuple(hints),
        log=next((service.log for service in lacking if service.log), ()),
        failed=is_refused(graph) or any(service.failed for service in lacking),
    )


def is_refused(graph: Object) -> bool:
    """Whether the graph as it is now asked for can never run: waiting longer would not help."""
    status = graph.get("status") or {}
    observed = status.get("observedGeneration", 0) >= graph["metadata"].get("generation", 0)
    return observed and any(entry.get("reason") in _REFUSALS for entry in status.get("conditions") or ())


def _behind(services: Sequence[Diagnosis]) -> Iterator[Cause]:
    for service in services:
        for cause in service.causes:
            yield Cause(f"service {service.name}, {cause.step}", cause.message, cause.details)
