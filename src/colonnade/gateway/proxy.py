"""Takes each HTTP request: who is it for, may it pass, and on to a replica.

Callbacks only: a request makes one `Forward` and no task or future (a hop costs some 14 us; a task
alone would add a quarter). What happens to one request after that is in `forward`.
"""

from __future__ import annotations

import os
from itertools import count
from time import monotonic

from colonnade.errors import InvalidInput
from colonnade.gateway import own
from colonnade.gateway.access import REFUSED, Access
from colonnade.gateway.fleet import Fleet
from colonnade.gateway.forward import RETRY_SOON, Forward
from colonnade.gateway.graphs import Graphs
from colonnade.gateway.metrics import GatewayMetrics
from colonnade.gateway.observed import Observed
from colonnade.gateway.routes import LIFECYCLE, not_ready
from colonnade.gateway.scrape import Scrape
from colonnade.gateway.service import RouteKey
from colonnade.gateway.timeouts import Timeouts
from colonnade.gateway.tunnel import Tunnel
from colonnade.gateway.way import Way
from colonnade.net import Exchange, Header, deadlines
from colonnade.net.handshake import offers_websocket
from colonnade.wire.failures import retry_after


class Proxy:
    """The application of the gateway's public HTTP server.

    Attributes:
        draining: readiness is denied; requests are still served.
        in_flight: requests that are with replicas now.
        timeouts: ends those that take longer than their route allows.
        graphs: takes those that are for an InferenceGraph.
    """

    def __init__(self, fleet: Fleet, access: Access, metrics: GatewayMetrics, scrape: Scrape) -> None:
        self.fleet = fleet
        self.access = access
        self.metrics = metrics
        self._scrape = scrape
        self.draining = False
        self.in_flight = 0
        self.timeouts: Timeouts[Forward] = Timeouts(Forward.timed_out)
        self.graphs = Graphs(self)
        metrics.follow_in_flight("http", lambda: self.in_flight)
        # One random part per process and a count: unique across gateways, at the price of an addition.
        self._id_prefix = os.urandom(6).hex().encode()
        self._ids = count()

    def request_id(self) -> bytes:
        """A new id for a request that came without one."""
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    def __call__(self, exchange: Exchange, via: RouteKey | None = None) -> None:
        """Take one request. `via`: the route whose own port it came on."""
        way: Way | None = exchange.memo
        if way is None or way.matcher is not self.fleet.matcher:
            way = self._decide(exchange, via)
            if way is None:
                return
            exchange.memo = way
        if way.service.route.graph is None:
            self.forward(exchange, way)
        else:
            self.graphs.begin(exchange, way)

    def forward(self, exchange: Exchange, way: Way, make: type[Forward] | None = None) -> None:
        """Send a request on its way, if its service takes it now. `make`: what accompanies it there, if that is no
        matter of the service."""
        now = monotonic()
        revision = way.revision
        cookie: Header | None = None
        if revision is None:
            revision, cookie = way.choose(now)
        if not revision.ready:
            revision.counts.http(503, 0.0)
            exchange.reply(503, own.error(not_ready(revision.route)), headers=RETRY_SOON)
            return
        refused = revision.guard.admit(now, executes=exchange.method == b"POST")
        if refused is None:
            if b"upgrade" in exchange.headers and offers_websocket(exchange):
                Tunnel(self, exchange, way, revision).begin()
            else:
                if make is None:
                    make = Observed if way.service.observers else Forward
                make(self, exchange, way, revision, cookie).begin()
        else:
            revision.counts.shed(refused.reason)
            revision.counts.http(refused.status, 0.0)
            text = f"Service {revision.route.namespace}/{revision.route.name} takes no request now: {refused.message}."
            exchange.reply(refused.status, own.error(text), headers=retry_after(refused.retry_after))

    def _decide(self, exchange: Exchange, via: RouteKey | None) -> Way | None:
        """The way of all requests with this head; None if this one is answered here."""
        fields = exchange.headers
        path = exchange.path
        matcher = self.fleet.matcher
        match = matcher.match(fields.get(b"host", b""), path) if via is None else matcher.at(via, path)
        if match is None and path in own.FREE and via is None:
            self._own(exchange)
            return None
        authorization = fields.get(b"authorization")
        if via is None and not self.access.admits(authorization):
            exchange.reply(401, own.error(REFUSED), headers=[(b"www-authenticate", b'Bearer realm="colonnade"')])
            return None
        if match is None:
            if path in own.PATHS and via is None:
                self._own(exchange)
            else:
                refusal = matcher.refuse(path)
                self.metrics.unrouted.inc()
                exchange.reply(refusal.status, own.error(refusal.message))
            return None
        service = self.fleet.services[match.service]
        if match.lifecycle:
            service.counts.http(405, 0.0)
            exchange.reply(405, own.error(LIFECYCLE), headers=[(b"allow", b"")])
            return None
        try:
            allowed = deadlines.allowed(fields)
        except InvalidInput as error:
            service.counts.http(400, 0.0)
            exchange.reply(400, own.error(error.message))
            return None
        if allowed == 0.0:
            service.counts.http(504, 0.0)
            exchange.reply(504, own.error("The request's deadline had passed when it arrived; nothing was executed."))
            return None
        query = exchange.query
        target = b"%b?%b" % (match.path, query) if query else match.path
        hides = self.access.is_own(authorization)
        return Way(matcher, service, target, hides, allowed, headers=fields, tag=match.revision)

    def _own(self, exchange: Exchange) -> None:
        path = exchange.path
        methods = own.allowed(path)
        if exchange.method not in methods:
            text = f"{path.decode()} takes {', '.join(method.decode() for method in methods)}."
            exchange.reply(405, own.error(text), headers=[(b"allow", b", ".join(methods))])
        elif exchange.method == own.OPTIONS:
            exchange.reply(204, headers=[(b"allow", b", ".join(methods))])
        elif path == own.METRICS:
            self._scrape.answer(exchange)
        elif path == own.INDEX:

            def indexed(body: bytes) -> None:
                answer = own.index(body, self.fleet.table)
                exchange.reply(answer.status, answer.body)

            exchange.collect(indexed)
        else:
            answer = own.answer(path, self.fleet.table, draining=self.draining)
            exchange.reply(answer.status, answer.body)
