"""InferenceGraph → routes and status. No process runs for a graph: the gateway executes it.

The graphs are kept at hand, told by the store's own notices, since the router asks for their routes with each table. A
graph is looked at again when it changes, when a service that it names does, and when the gateway has taken its route.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from colonnade.control.events import Events
from colonnade.control.graphs import graph_routes, graph_status
from colonnade.control.index import Index
from colonnade.control.objects import Ref, timestamp, utcnow
from colonnade.control.services.status import Place
from colonnade.control.store import Change, Store
from colonnade.control.workqueue import Key
from colonnade.errors import Error
from colonnade.gateway.routes import Route, RouteTable
from colonnade.graph.plan import COMPONENT
from colonnade.resources import inferencegraph
from colonnade.resources.inferencegraph import InferenceGraph

log = logging.getLogger(__name__)

GROUP, RESOURCE = "serving.kserve.io", "inferencegraphs"
SETTINGS = Ref("", "configmaps", "kserve", "inferenceservice-config")  # KServe's own; its key `router` is for graphs


class InferenceGraphs:
    """Reconciles InferenceGraphs: `reconcile` and `keys` for a `Controller`, `routes` and `pushed` for a `Router`."""

    def __init__(self, store: Store, events: Events, index: Index, domain: str, look: Callable[[Key], None]) -> None:
        """`look` asks the controller for a look at a graph."""
        self._store = store
        self._events = events
        self._index = index
        self._domain = domain
        self._look = look
        self._graphs: dict[Key, dict[str, Any]] = {}
        self._routed: set[Key] = set()
        self.place: Place | None = None
        for found in store.list(GROUP, RESOURCE)[0]:
            self._graphs[Key(found["metadata"]["namespace"], found["metadata"]["name"])] = found
        store.subscribe(self._changed)

    def keys(self) -> Iterable[Key]:
        """All graphs."""
        return list(self._graphs)

    def naming(self, service: Key) -> list[Key]:
        """The graphs that a change of a service concerns: those that name it, and the one of its name."""
        return [
            key
            for key, graph in self._graphs.items()
            if key.namespace == service.namespace and (key == service or service.name in _named(graph))
        ]

    def _changed(self, change: Change) -> None:
        ref = change.ref
        if (ref.group, ref.resource) != (GROUP, RESOURCE):
            return
        key = Key(ref.namespace, ref.name)
        if change.type == "DELETED":
            self._graphs.pop(key, None)
        else:
            self._graphs[key] = change.object

    # For the router.

    def routes(self, services: Sequence[Route]) -> list[Route]:
        """The routes of all graphs. `services` are those of the InferenceServices."""
        if not self._graphs:
            return []
        entries = {Key(route.namespace, route.name): route for route in services if route.entry}
        headers = self._headers()
        found: list[Route] = []
        for key in sorted(self._graphs):
            if self._index.service(key) is not None:  # it has the address
                continue
            try:
                graph = inferencegraph.parse(self._graphs[key])
                paths = {
                    name: graph_routes.path_of(isvc, entries[Key(key.namespace, name)].model)
                    for name, isvc in self._services(key.namespace, _named(self._graphs[key])).items()
                    if Key(key.namespace, name) in entries
                }
                found += graph_routes.routes(graph, graph_routes.plan(graph, paths, headers), self._domain)
            except (Error, ValueError) as error:  # stored by a version with other rules
                log.warning("a graph has no route", extra={"graph": str(key), "error": str(error)})
        return found

    def pushed(self, table: RouteTable) -> None:
        """The gateway has taken a table."""
        routed = {Key(route.namespace, route.name) for route in table.routes if route.component == COMPONENT}
        changed, self._routed = routed ^ self._routed, routed
        for key in changed:
            self._look(key)

    def _headers(self) -> tuple[str, ...]:
        """The patterns of headers that are passed on to steps, from KServe's ConfigMap."""
        settings = self._store.get(SETTINGS)
        text = str(((settings or {}).get("data") or {}).get("router") or "")
        return _propagated(text) if text else ()

    def _services(self, namespace: str, names: Iterable[str]) -> dict[str, dict[str, Any]]:
        found = ((name, self._index.service(Key(namespace, name))) for name in names)
        return {name: isvc for name, isvc in found if isvc is not None}

    # For the controller.

    async def reconcile(self, key: Key) -> float | None:
        """Write the status of one graph."""
        obj = self._graphs.get(key)
        if obj is None or self.place is None:
            return None
        graph: InferenceGraph = inferencegraph.parse(obj)
        verdict = graph_status.verdict(
            graph,
            self._services(key.namespace, _named(obj)),
            name_taken=self._index.service(key) is not None,
            routed=key in self._routed,
        )
        old = obj.get("status") or {}
        new = graph_status.status(obj, verdict, self.place, timestamp(utcnow()))
        if new == old:
            return None
        ref = Ref(GROUP, RESOURCE, *key)
        stored = self._store.get(ref)
        if stored is None:
            return None
        self._store.update(ref, {**stored, "status": new}, status=True)
        self._tell(obj, old, verdict)
        return None

    def _tell(self, obj: dict[str, Any], old: dict[str, Any], verdict: graph_status.Verdict) -> None:
        """KServe's events for a graph that becomes ready, or ceases to be."""
        name = obj["metadata"]["name"]
        was = any(one["type"] == "Ready" and one["status"] == "True" for one in old.get("conditions") or [])
        if verdict.status == "True" and not was:
            self._events.record(obj, "InferenceGraphReady", f"InferenceGraph [{name}] is Ready")
        elif was and verdict.status != "True":
            why = f": {verdict.message}" if verdict.message else ""
            text = f"InferenceGraph [{name}] is no longer Ready{why}"
            self._events.record(obj, "InferenceGraphNotReady", text, "Warning")


def _named(obj: dict[str, Any]) -> set[str]:
    """The names of the services that a graph's steps name."""
    nodes = (obj.get("spec") or {}).get("nodes") or {}
    return {
        step["serviceName"] for node in nodes.values() for step in node.get("steps") or () if step.get("serviceName")
    }


@lru_cache(8)
def _propagated(text: str) -> tuple[str, ...]:
    """The list `headers.propagate` of the settings of KServe's router; empty if they cannot be read."""
    try:
        settings = msgspec.json.decode(text, type=_Settings)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning(
            "key router of ConfigMap kserve/inferenceservice-config is passed over", extra={"error": str(error)}
        )
        return ()
    return tuple(settings.headers.get("propagate", ()))


class _Settings(msgspec.Struct, frozen=True):
    """What is read of the router's settings."""

    headers: dict[str, list[str]] = {}
