"""The graphs of a gateway: which request begins one, whom its steps ask, and which headers these get.

A step that names a service, or a URL whose host is one of this gateway's, is handed to the proxy as any request for
that service is, without leaving the process. A URL elsewhere has a route of its own in the table, which nobody but a
graph can reach.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from colonnade import defaults
from colonnade.gateway import own
from colonnade.gateway.forward import RETRY_SOON
from colonnade.gateway.forwarding import Header
from colonnade.gateway.graph_call import Asked, GraphCall
from colonnade.gateway.graph_conditions import Conditions
from colonnade.gateway.graph_exchange import StepExchange, StepForward
from colonnade.gateway.graph_observed import ObservedStep
from colonnade.gateway.routes import Route, not_ready
from colonnade.gateway.split import Split
from colonnade.gateway.timeouts import Timeouts
from colonnade.gateway.way import Way
from colonnade.graph.plan import Plan, Step, origin
from colonnade.net import Exchange

if TYPE_CHECKING:
    from colonnade.gateway.proxy import Proxy

HOPS = b"x-colonnade-graph-hops"
READY_PATH = b"/readyz"

_ALWAYS = frozenset({b"traceparent", b"tracestate"})
_NEVER = frozenset(
    {
        HOPS,
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"keep-alive",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    }
)


class Graphs:
    """What the graphs of one gateway share.

    Attributes:
        proxy: that forwards the requests of their steps.
        timeouts: ends those that take longer than their graph allows.
        conditions: tests large bodies.
    """

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.timeouts: Timeouts[GraphCall] = Timeouts(GraphCall.timed_out)
        self.conditions = Conditions()
        self._splits: dict[tuple[str, str, str], tuple[tuple[int, ...], Split]] = {}

    def begin(self, exchange: Exchange, way: Way) -> None:
        """Take a request for a graph."""
        route = way.service.route
        plan = route.graph
        revision = way.revision or way.service.choose(0.0)
        refused: tuple[int, str, list[Header]] | None = None
        if exchange.path.endswith(READY_PATH) and way.path == READY_PATH:
            status = 200 if route.ready and not self.proxy.draining else 503
            exchange.reply(status, b"", b"text/plain")
            return
        if plan is None or not route.ready:
            refused = 503, not_ready(route), RETRY_SOON
        elif exchange.method != b"POST":
            refused = 405, "A graph takes POST.", [(b"allow", b"POST")]
        elif _hops(exchange) >= defaults.GRAPH_MAX_HOPS:
            refused = (
                508,
                f"The request went from graph to graph {defaults.GRAPH_MAX_HOPS} times; they ask each other.",
                [],
            )
        if plan is not None and refused is None:
            GraphCall(self, exchange, way, revision, plan).begin()
        elif refused is not None:
            status, text, headers = refused
            revision.counts.http(status, 0.0)
            exchange.reply(status, own.error(text), headers=headers)

    def send(self, exchange: StepExchange, way: Way) -> None:
        """Send the request of a step."""
        if way.service.route.graph is not None:
            self.begin(exchange, way)
        else:
            self.proxy.forward(exchange, way, ObservedStep if way.service.observers else StepForward)

    def target(self, graph: Route, step: Step) -> Asked | str:
        """Whom a step of a graph asks, or why it can ask nobody."""
        fleet = self.proxy.fleet
        matcher = fleet.matcher
        if step.service:
            match = matcher.match(b"", f"/serving/{graph.namespace}/{quote(step.service, safe='')}{step.path}".encode())
            if match is None:
                return f"InferenceService {graph.namespace}/{step.service} does not exist"
            return Asked(fleet.services[match.service], match.path)
        host, path = _split(step.url)
        named = matcher.by_host(host)
        if named is not None:
            match = matcher.match(host, path.partition(b"?")[0])
            if match is not None and not match.lifecycle:
                return Asked(fleet.services[match.service], path, host)
        service = fleet.service((graph.namespace, graph.name, origin(step.url)[0]))
        return f"{step.url} cannot be asked" if service is None else Asked(service, path, host)

    def turn(self, key: tuple[str, str, str], weights: tuple[int, ...]) -> int:
        """The next step of a Splitter: exactly by weight, as traffic is split among revisions."""
        found = self._splits.get(key)
        if found is None or found[0] != weights:
            split = Split({str(index): weight for index, weight in enumerate(weights)})
            split.enter(random.randrange)
            found = self._splits[key] = (weights, split)
        return int(found[1].next())

    def forget(self) -> None:
        """The route table is another one: keep nothing of graphs that are gone."""
        graphs = {(route.namespace, route.name) for route in self.proxy.fleet.table.routes if route.graph is not None}
        self._splits = {key: split for key, split in self._splits.items() if key[:2] in graphs}

    def fields(self, exchange: Exchange, plan: Plan) -> list[Header]:
        """The header fields of all steps of a request: of its own those that the graph propagates, and no others."""
        pattern = _pattern(plan.headers)
        own_token = self.proxy.access.is_own(exchange.headers.get(b"authorization"))
        dropped = _NEVER | {b"authorization"} if own_token else _NEVER
        fields = [
            field
            for field in exchange.raw_headers
            if field[0] in _ALWAYS or (pattern is not None and field[0] not in dropped and pattern.search(field[0]))
        ]
        if not any(name == b"content-type" for name, _ in fields):
            fields.append((b"content-type", b"application/json"))
        fields.append((HOPS, b"%d" % (_hops(exchange) + 1)))
        return fields


@lru_cache(256)
def _pattern(patterns: Sequence[str]) -> re.Pattern[bytes] | None:
    """One pattern for all; what is no pattern is left out, as KServe leaves it out."""
    kept = []
    for pattern in patterns:
        try:
            re.compile(pattern.encode())
        except (re.error, UnicodeEncodeError):
            continue
        kept.append(b"(?:%b)" % pattern.encode())
    return re.compile(b"|".join(kept), re.IGNORECASE) if kept else None


@lru_cache(1024)
def _split(url: str) -> tuple[bytes, bytes]:
    """The `Host` value for a URL, and its path with the query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return host.encode(), f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}".encode()


def _hops(exchange: Exchange) -> int:
    given = exchange.headers.get(HOPS, b"0")
    return int(given) if given.isdigit() and len(given) < 4 else 0
