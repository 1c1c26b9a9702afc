"""From a stored InferenceGraph to what the gateway runs: the plan of its steps, and its routes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from colonnade.control.routes.routing import STOP, hosts
from colonnade.gateway.guard import Policy
from colonnade.gateway.routes import Backend, Route, Target
from colonnade.graph.plan import COMPONENT, Node, Plan, Step, label, origin
from colonnade.resources import graph_steps
from colonnade.resources import inferenceservice as services
from colonnade.resources.inferencegraph import RESPONSE, InferenceGraph, InferenceStep, url_failure

# A server elsewhere answers for itself: nothing is sent twice and nobody is shut out, unless the graph says so.
_AS_IT_IS = Policy(slow_start=0.0, eject_after=0, retry_percent=100, breaker_after=0)


def path_of(isvc: Mapping[str, Any], model: str) -> str:
    """What a step that names this service asks it for (KServe's rule: by the protocol of its predictor)."""
    protocol = services.parse(isvc).spec.predictor.protocol
    name = quote(model, safe="")
    return f"/v2/models/{name}/infer" if protocol in ("v2", "grpc-v2") else f"/v1/models/{name}:predict"


def plan(graph: InferenceGraph, paths: Mapping[str, str], headers: tuple[str, ...]) -> Plan:
    """The plan of a graph.

    Args:
        graph: a valid one.
        paths: what each service of its namespace is asked for.
        headers: patterns of the names of headers that are passed on.
    """
    nodes = graph.spec.nodes
    annotations = graph.metadata.annotations or {}
    timeouts, retries = graph_steps.timeouts(annotations, nodes), graph_steps.retries(annotations, nodes)

    def made(node: str, index: int, step: InferenceStep) -> Step:
        bare = Step(
            name=step.name or "",
            node=step.node_name or "",
            service=step.service_name or "",
            path=paths.get(step.service_name or "", ""),
            url=step.service_url or "",
            takes_response=step.data == RESPONSE,
            condition=step.condition or "",
            weight=step.weight or 0,
            hard=step.dependency == "Hard",
            maps_predictions=bool(step.map_predictions_to_instances),
        )
        name = label(node, index, bare)
        return Step(**{**_fields(bare), "timeout": timeouts.get(name), "retries": retries.get(name, 0)})

    limits = graph.spec.router_timeouts
    client = (limits.service_client if limits else None) or None
    return Plan(
        {
            name: Node(router.router_type, tuple(made(name, at, step) for at, step in enumerate(router.steps or ())))
            for name, router in nodes.items()
        },
        headers,
        None if client is None else float(client),
    )


def _fields(step: Step) -> dict[str, Any]:
    return {name: getattr(step, name) for name in step.__struct_fields__}


def routes(graph: InferenceGraph, plan: Plan, domain: str) -> Iterator[Route]:
    """The route of a graph, and one for each server elsewhere that its steps ask by URL."""
    name, namespace = graph.metadata.name or "", graph.metadata.namespace or ""
    stopped = (graph.metadata.annotations or {}).get(STOP) == "true"
    written = graph.spec.router_timeouts.server_write if graph.spec.router_timeouts else None
    limits = [float(seconds) for seconds in (graph.spec.timeout, written) if seconds]
    yield Route(
        namespace,
        name,
        "",
        hosts(name, namespace, domain),
        ready=not stopped,
        reason=f"it is stopped (annotation {STOP})" if stopped else "",
        timeout=min(limits, default=None),
        component=COMPONENT,
        graph=plan,
    )
    urls = [step.url for node in plan.nodes.values() for step in node.steps if step.url and not url_failure(step.url)]
    for component, address in sorted({origin(url) for url in urls}):
        backend = Backend(component, address, tls=component.startswith("https:"))
        target = Target(component, backends=(backend,))
        yield Route(namespace, name, "", (), (target,), ready=True, policy=_AS_IT_IS, component=component, entry=False)
