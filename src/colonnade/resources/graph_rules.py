"""The rules of an InferenceGraph: KServe's, in its texts, and what would be an endless or a hopeless graph.

KServe does not look for cycles, for nodes that do not exist or for nodes without steps: its router fails at each
request then, or never ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from colonnade import defaults
from colonnade.resources import graph_steps
from colonnade.resources.inferencegraph import ROOT, InferenceGraph, InferenceRouter, InferenceStep
from colonnade.resources.meta import ISVC_NAME
from colonnade.resources.strict import Cause, suggestion

MAX_CONDITION = 4096  # characters; the same as `graph.gjson` reads

NO_ROOT = "root node not found, InferenceGraph needs a node with name 'root' as the root node of the graph"


def name_failure(name: str) -> str | None:
    """KServe's text for a name that no InferenceGraph can have, or None."""
    if re.fullmatch(ISVC_NAME, name):
        return None
    return (
        f'The InferenceGraph "{name}" is invalid: a InferenceGraph name must consist of lower case alphanumeric '
        'characters or \'-\', and must start with alphabetical character. (e.g. "my-name" or "abc-123", '
        f"regex used for validation is '{ISVC_NAME}')"
    )


def rules(graph: InferenceGraph) -> Iterator[Cause]:
    """Each broken rule with its field."""
    name, nodes = graph.metadata.name or "", graph.spec.nodes
    if ROOT not in nodes:
        yield "spec.nodes", NO_ROOT
    for node, router in nodes.items():
        yield from _node(name, node, router, nodes)
    sound = all(step.node_name in nodes for router in nodes.values() for step in router.steps or () if step.node_name)
    if ROOT in nodes and sound:
        yield from _walks(nodes)
    yield from _limits(graph)


def _node(graph: str, node: str, router: InferenceRouter, nodes: Mapping[str, InferenceRouter]) -> Iterator[Cause]:
    path = f"spec.nodes.{node}.steps"
    steps = router.steps or []
    if not steps:
        yield path, f'Node "{node}" of InferenceGraph "{graph}" has no steps; give it at least one'
    names: set[str] = set()
    for index, step in enumerate(steps):
        if step.name and step.name in names:
            text = f'Node "{node}" of InferenceGraph "{graph}" contains more than one step with name "{step.name}"'
            yield f"{path}[{index}].name", text
        names.add(step.name or "")
        yield from _step(f"{path}[{index}]", f'Step {index} ("{step.name or ""}") in node "{node}"', graph, step, nodes)
    if router.router_type == "Splitter":
        yield from _weights(graph, node, path, steps)


def _step(
    path: str, what: str, graph: str, step: InferenceStep, nodes: Mapping[str, InferenceRouter]
) -> Iterator[Cause]:
    given = [target for target in (step.node_name, step.service_name, step.service_url) if target]
    if not given:
        yield path, f'{what} of InferenceGraph "{graph}" does not specify an inference target'
    elif len(given) > 1:
        text = f'{what} of InferenceGraph "{graph}" specifies more than one of nodeName, serviceName, serviceUrl'
        yield path, text
    if step.node_name and step.node_name not in nodes:
        yield f"{path}.nodeName", f"node {step.node_name!r} is not in spec.nodes{suggestion(step.node_name, nodes)}"
    if len(step.condition or "") > MAX_CONDITION:
        yield f"{path}.condition", f"a condition has at most {MAX_CONDITION} characters"


def _weights(graph: str, node: str, path: str, steps: list[InferenceStep]) -> Iterator[Cause]:
    total = 0
    for index, step in enumerate(steps):
        if step.weight is None:
            text = f"InferenceGraph[{graph}] Node[{node}] Route[{step.service_name or ''}] missing the 'Weight'"
            yield f"{path}[{index}].weight", text
            return
        if step.weight < 0:
            yield f"{path}[{index}].weight", f"weight cannot be less than 0, not {step.weight}; give percent"
        total += step.weight
    if total != 100:
        yield (
            path,
            f"InferenceGraph[{graph}] Node[{node}] splitter node: the sum of traffic weights for all routing targets "
            "should be 100",
        )


def _walks(nodes: Mapping[str, InferenceRouter]) -> Iterator[Cause]:
    """A walk that would not end, or would be too long: found before any request is."""
    cycle = _cycle(nodes)
    if cycle:
        text = f"the nodes {' -> '.join(cycle)} lead back to where they began; a graph must end"
        yield f"spec.nodes.{cycle[-2]}.steps", text
        return
    depth, calls = _extent(nodes)
    if depth[ROOT] > defaults.GRAPH_MAX_DEPTH:
        text = f"nodes lie {depth[ROOT]} deep in each other; {defaults.GRAPH_MAX_DEPTH} are allowed"
        yield "spec.nodes", text
    if calls[ROOT] > defaults.GRAPH_MAX_CALLS:
        text = f"one request can make {calls[ROOT]} calls; {defaults.GRAPH_MAX_CALLS} are allowed"
        yield "spec.nodes", text


def _cycle(nodes: Mapping[str, InferenceRouter]) -> list[str]:
    """The names along a cycle, the first one again at its end; empty if there is none."""
    done: set[str] = set()
    for start in nodes:
        way: list[str] = []
        waiting: list[tuple[str, bool]] = [(start, False)]
        while waiting:
            node, left = waiting.pop()
            if left:
                done.add(way.pop())
            elif node in way:
                return [*way[way.index(node) :], node]
            elif node not in done:
                way.append(node)
                waiting.append((node, True))
                waiting += [(inner, False) for inner in _inner(nodes[node])]
    return []


def _extent(nodes: Mapping[str, InferenceRouter]) -> tuple[dict[str, int], dict[str, int]]:
    """How deep nodes lie in each node of a graph without cycles, and the calls that one request can make there."""
    depth: dict[str, int] = {}
    calls: dict[str, int] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting[-1]
        missing = [inner for inner in _inner(nodes[node]) if inner not in depth]
        if missing:
            waiting += missing
            continue
        waiting.pop()
        router = nodes[node]
        each = [calls[step.node_name] if step.node_name else 1 for step in router.steps or ()]
        alternatives = router.router_type in ("Switch", "Splitter")
        calls[node] = max(each, default=0) if alternatives else sum(each)
        depth[node] = 1 + max((depth[inner] for inner in _inner(router)), default=0)
    return depth, calls


def _inner(router: InferenceRouter) -> list[str]:
    return [step.node_name for step in router.steps or () if step.node_name]


def _limits(graph: InferenceGraph) -> Iterator[Cause]:
    annotations = graph.metadata.annotations or {}
    for key, read in ((defaults.STEP_TIMEOUT, graph_steps.timeouts), (defaults.STEP_RETRIES, graph_steps.retries)):
        try:
            read(annotations, graph.spec.nodes)
        except ValueError as error:
            yield f"metadata.annotations[{key}]", str(error)
    spec = graph.spec
    given = {"timeout": spec.timeout}
    if spec.router_timeouts is not None:
        given["routerTimeouts.serverWrite"] = spec.router_timeouts.server_write
        given["routerTimeouts.serviceClient"] = spec.router_timeouts.service_client
    for field, seconds in given.items():
        if seconds is not None and seconds < 0:
            yield f"spec.{field}", f"{field} cannot be less than 0, not {seconds}; give seconds"
