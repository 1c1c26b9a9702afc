"""An InferenceGraph as the gateway runs it: nodes and steps with all that was known beforehand worked out.

The control plane makes a plan of a manifest: names of services have become the paths that these are asked for, the
annotations on steps have become numbers. It travels with the route table, so it is a plain value.
"""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

import msgspec

ROOT = "root"
COMPONENT = "graph"  # of the route of a graph

Kind = Literal["Sequence", "Splitter", "Ensemble", "Switch"]


class Step(msgspec.Struct, frozen=True, omit_defaults=True):
    """One step of a node. Exactly one of `node`, `service` and `url` says whom it asks.

    Attributes:
        name: unique in its node, or empty.
        node: another node of the graph.
        service: an InferenceService of the graph's namespace.
        path: what that service is asked for: `/v1/models/iris:predict`.
        url: any HTTP server, by an absolute URL.
        takes_response: it gets the answer of the step before it, and not what its node was given.
        condition: a GJSON path that must find something.
        weight: percent of the requests that a Splitter sends here.
        hard: its failure is the failure of its node.
        maps_predictions: an input with `predictions` is passed on as `instances`.
        timeout: seconds that one attempt may take, None for no limit of its own.
        retries: further attempts after one that failed for a reason that may pass.
    """

    name: str = ""
    node: str = ""
    service: str = ""
    path: str = ""
    url: str = ""
    takes_response: bool = False
    condition: str = ""
    weight: int = 0
    hard: bool = False
    maps_predictions: bool = False
    timeout: float | None = None
    retries: int = 0


class Node(msgspec.Struct, frozen=True):
    """Steps, and how they are gone through."""

    kind: Kind
    steps: tuple[Step, ...]


class Plan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A graph. It begins at the node `ROOT`, has no cycle, and every node that a step names is there.

    Attributes:
        headers: patterns of the names of request headers that are passed on to the steps.
        service_timeout: seconds that each call may take, whatever its step says; None for no limit. One that takes
            longer counts as not answered at all (KServe's `serviceClient`).
    """

    nodes: dict[str, Node]
    headers: tuple[str, ...] = ()
    service_timeout: float | None = None


def origin(url: str) -> tuple[str, str]:
    """The server of a URL as `https://host:443`, which is the component of its route, and its address, `host:443`."""
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    address = f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    return f"{parts.scheme}://{address}", address


def label(node: str, index: int, step: Step) -> str:
    """How a step is named in messages and annotations: its node, and its name or else its place in it."""
    return f"{node}/{step.name or index}"
