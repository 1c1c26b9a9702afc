"""One request for a graph: its body goes in, its steps are asked inside of this gateway, an answer comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from colonnade import defaults
from colonnade.gateway import own
from colonnade.gateway.forwarding import Header
from colonnade.gateway.graph_exchange import StepExchange
from colonnade.gateway.graph_step import StepCall, request_head
from colonnade.gateway.revision import Revision
from colonnade.gateway.service import Service
from colonnade.gateway.way import Way
from colonnade.graph.conditions import Choice
from colonnade.graph.execution import Cancel, Done, Hear, Run
from colonnade.graph.gjson import Budget
from colonnade.graph.outcome import JSON, Answer, Failure, Outcome
from colonnade.graph.plan import Plan, Step
from colonnade.net import Exchange
from colonnade.net.deadlines import earlier
from colonnade.net.head_parse import RequestHead

if TYPE_CHECKING:
    from colonnade.gateway.graphs import Graphs

CLIENT_GONE = 499  # counted, never sent


class Asked(NamedTuple):
    """Whom a step asks.

    Attributes:
        service: the route's, of this gateway.
        path: what it is asked for, with the query.
        host: what the request calls it; empty for a service of this gateway.
    """

    service: Service
    path: bytes
    host: bytes = b""


class GraphCall:
    """One request for a graph. Is the `Caller` of its run."""

    def __init__(self, graphs: Graphs, exchange: Exchange, way: Way, revision: Revision, plan: Plan) -> None:
        self._graphs = graphs
        self._exchange = exchange
        self._way = way
        self._revision = revision
        self.plan = plan
        self.request_id = exchange.headers.get(b"x-request-id") or graphs.proxy.request_id()
        self._fields: list[Header] = []  # for all steps
        self._run: Run | None = None
        self._kept = 0
        self._slot = 0
        self._status = 0  # of an answer that is passed on
        self._over = False
        self._started = perf_counter()

    def begin(self) -> None:
        """Take the body, and then run."""
        self._graphs.proxy.in_flight += 1
        self._revision.guard.begin(self._started)
        exchange = self._exchange
        exchange.on_disconnect(self._client_gone)
        if self._way.timeout is not None:
            deadline = asyncio.get_running_loop().time() + self._way.timeout
            self._slot = self._graphs.timeouts.add(self, deadline)
        try:
            self._fields = self._graphs.fields(exchange, self.plan)
            exchange.collect(self._collected)
        except Exception:
            self._finish(500)
            raise

    def _collected(self, body: bytes) -> None:
        if self._over:
            return
        try:
            self._run = run = Run(self.plan, self, self._done)
            run.start(body)
        except Exception:
            self._finish(500)
            raise

    # What the steps need.

    def call(self, step: Step, where: str, body: bytes, last: bool, done: Done) -> Cancel:
        """Ask a step's service or URL."""
        call = StepCall(self, step, where, body, self._exchange if last else None, done)
        call.begin()
        return call.cancel

    def share(self, node: str, weights: tuple[int, ...]) -> int:
        """The step of a Splitter whose turn it is."""
        route = self._way.service.route
        return self._graphs.turn((route.namespace, route.name, node), weights)

    def test(self, body: bytes, paths: Sequence[str], budget: Budget, done: Hear) -> Cancel:
        """Have a body tested on conditions beside this process."""

        def heard(found: Choice | Failure) -> None:
            try:
                done(found)
            except Exception:
                self._finish(500)
                raise

        return self._graphs.conditions.test(body, paths, budget, heard)

    def target(self, step: Step) -> Asked | str:
        """Whom a step asks, or why it can ask nobody."""
        return self._graphs.target(self._way.service.route, step)

    def head(self, path: bytes, host: bytes, length: int) -> RequestHead:
        """The head of a step's request."""
        fields = [(b"host", host), *self._fields] if host else self._fields
        return request_head(path, fields, self.request_id, length)

    def send(self, exchange: StepExchange, asked: Asked, limit: float | None) -> None:
        """Send a step's request, which may take `limit` seconds."""
        matcher = self._graphs.proxy.fleet.matcher
        allowed = earlier(limit, self.left())
        way = Way(matcher, asked.service, asked.path, False, allowed, headers=exchange.headers)
        self._graphs.send(exchange, way)

    def left(self) -> float | None:
        """Seconds until this request must have its answer; None without a limit."""
        timeout = self._way.timeout
        return None if timeout is None else max(0.001, timeout - (perf_counter() - self._started))

    def keep(self, size: int) -> bool:
        """Whether there is room for so many more bytes of answers."""
        self._kept += size
        return self._kept <= defaults.GRAPH_KEPT_BYTES

    def answering(self, status: int) -> None:
        """The answer of a step goes out as that of the graph."""
        self._status = status

    # Ends.

    def _done(self, outcome: Outcome) -> None:
        if self._over:
            return
        exchange = self._exchange
        identity = (b"x-request-id", self.request_id)
        try:
            if isinstance(outcome, Answer):
                if not outcome.passed_on:
                    fields = [*outcome.headers, identity]
                    exchange.reply(outcome.status, outcome.body, outcome.content_type, fields)
            else:
                exchange.reply(outcome.status, outcome.body(), JSON, [identity])
        finally:
            self._finish(outcome.status)

    def _client_gone(self) -> None:
        if not self._over:
            self._finish(self._status or CLIENT_GONE)

    def timed_out(self) -> None:
        """The time that the graph or the caller allows is over."""
        self._slot = 0
        if self._status:
            self._exchange.abort()
        else:
            way, route = self._way, self._way.service.route
            limit = "the caller's" if way.hurried else "the graph's"
            text = (
                f"InferenceGraph {route.namespace}/{route.name} did not answer within {way.timeout:g} s, {limit} limit."
            )
            self._exchange.reply(504, own.error(text))
        self._finish(504)

    def _finish(self, status: int) -> None:
        """Hold nothing any more, and leave no step under way."""
        if self._over:
            return
        self._over = True
        if self._run is not None:
            self._run.cancel()
        if self._slot:
            self._graphs.timeouts.remove(self, self._slot)
        self._graphs.proxy.in_flight -= 1
        seconds = perf_counter() - self._started
        self._revision.guard.end(self._started, seconds)
        self._revision.counts.http(status, seconds)
