"""Takes each HTTP request: who is it for, may it pass, and on to a replica.

Callbacks only: a request makes one `Forward` and no task or future (a hop costs some 14 us; a task
alone would add a quarter). What happens to one request after that is in `forward`.
"""

from __future__ import annotations

import os
from itertools import count

from colonnade.gateway import own
from colonnade.gateway.access import REFUSED, Access
from colonnade.gateway.fleet import Fleet
from colonnade.gateway.forward import RETRY_SOON, Forward
from colonnade.gateway.metrics import GatewayMetrics
from colonnade.gateway.routes import LIFECYCLE, not_ready
from colonnade.net import Exchange
from colonnade.observe.metrics import CONTENT_TYPE

MAX_IN_FLIGHT = 4096  # requests forwarded at one time; more are told to come back


class Proxy:
    """The application of the gateway's public HTTP server.

    Attributes:
        draining: readiness is denied; requests are still served.
        in_flight: requests that are with replicas now.
    """

    def __init__(
        self, fleet: Fleet, access: Access, metrics: GatewayMetrics, *, max_in_flight: int = MAX_IN_FLIGHT
    ) -> None:
        self.fleet = fleet
        self.access = access
        self.metrics = metrics
        self.draining = False
        self.in_flight = 0
        self._max_in_flight = max_in_flight
        metrics.follow_in_flight("http", lambda: self.in_flight)
        # One random part per process and a count: unique across gateways, at the price of an addition.
        self._id_prefix = os.urandom(6).hex().encode()
        self._ids = count()

    def request_id(self) -> bytes:
        """A new id for a request that came without one."""
        return b"%b-%x" % (self._id_prefix, next(self._ids))

    def __call__(self, exchange: Exchange) -> None:
        """Take one request."""
        fields = exchange.headers
        path = exchange.path
        match = self.fleet.matcher.match(fields.get(b"host", b""), path)
        if match is None and path in own.FREE:
            self._own(exchange)
            return
        authorization = fields.get(b"authorization")
        if not self.access.admits(authorization):
            exchange.reply(401, own.error(REFUSED), headers=[(b"www-authenticate", b'Bearer realm="colonnade"')])
            return
        if match is None:
            if path in own.PATHS:
                self._own(exchange)
            else:
                refusal = self.fleet.matcher.refuse(path)
                self.metrics.unrouted.inc()
                exchange.reply(refusal.status, own.error(refusal.message))
            return
        service = self.fleet.services[match.service]
        if match.lifecycle:
            service.counts.http(405, 0.0)
            exchange.reply(405, own.error(LIFECYCLE), headers=[(b"allow", b"")])
        elif not service.ready:
            service.counts.http(503, 0.0)
            exchange.reply(503, own.error(not_ready(service.route)), headers=RETRY_SOON)
        elif self.in_flight >= self._max_in_flight:
            service.counts.http(503, 0.0)
            text = f"The gateway forwards {self._max_in_flight} requests already, its limit; try again."
            exchange.reply(503, own.error(text), headers=RETRY_SOON)
        else:
            Forward(self, exchange, service, match.path, self.access.is_own(authorization)).begin()

    def _own(self, exchange: Exchange) -> None:
        path = exchange.path
        methods = own.allowed(path)
        if exchange.method not in methods:
            text = f"{path.decode()} takes {' and '.join(method.decode() for method in methods)}."
            exchange.reply(405, own.error(text), headers=[(b"allow", b", ".join(methods))])
        elif path == own.METRICS:
            exchange.reply(200, self.metrics.render(), CONTENT_TYPE.encode())
        elif path == own.INDEX:

            def indexed(body: bytes) -> None:
                answer = own.index(body, self.fleet.table)
                exchange.reply(answer.status, answer.body)

            exchange.collect(indexed)
        else:
            answer = own.answer(path, self.fleet.table, draining=self.draining)
            exchange.reply(answer.status, answer.body)
