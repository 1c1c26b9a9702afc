"""The live side of the route table: services with their replicas, connections to them, and the swap of tables.

A swap keeps what both tables name: a service stays the same object with other replicas, so a request that was matched
before the swap and is sent after it (its body came late, or its first replica failed) goes where the new table says. A
replica that stays keeps its warm connections and its count of requests. One that is gone takes no new request and is
closed when its last one has ended. So a swap under load fails nothing.
"""

from __future__ import annotations

from time import monotonic

import msgspec

from colonnade import defaults
from colonnade.gateway.balance import Balancer, Load
from colonnade.gateway.guard import Guard
from colonnade.gateway.metrics import GatewayMetrics, ServiceMetrics
from colonnade.gateway.routes import Backend, Matcher, Route, RouteTable
from colonnade.gateway.shares import Shares
from colonnade.net import Address, Upstream
from colonnade.net.http2 import Http2Upstream
from colonnade.net.mux import MuxUpstream


class Replica:
    """One backend: its connections and its load.

    Attributes:
        http: where HTTP goes.
        grpc: where gRPC goes: for a server of this product the same way; None if it speaks none.
    """

    __slots__ = ("_retired", "backend", "grpc", "http", "load")

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.load = Load()
        address = Address.parse(backend.http)
        self.http: Upstream | MuxUpstream
        self.grpc: Http2Upstream | MuxUpstream | None = None
        if backend.mux:
            self.http = self.grpc = MuxUpstream(address)
        else:
            self.http = Upstream(address)
            if backend.grpc is not None:
                self.grpc = Http2Upstream(Address.parse(backend.grpc))
        self._retired = False

    def take(self) -> None:
        """Count a request that goes to this replica; `release` must follow exactly once."""
        self.load.outstanding += 1

    def release(self) -> None:
        """Count the end of a request."""
        self.load.outstanding -= 1
        if self._retired and not self.load.outstanding:
            self._close()

    def retire(self) -> None:
        """Take no new request; close when those under way have ended."""
        self._retired = True
        if not self.load.outstanding:
            self._close()

    def _close(self) -> None:
        self.http.close()
        if self.grpc is not None:
            self.grpc.close()


class Service:
    """One route with its replicas, its guard and its counters, for as long as tables name it.

    Ask it at the time of sending.
    """

    __slots__ = ("balancer", "counts", "grpc_balancer", "guard", "route")

    def __init__(self, counts: ServiceMetrics, guard: Guard) -> None:
        self.route = Route("", "", "")
        self.counts = counts
        self.guard = guard
        counts.follow(guard)
        self.balancer: Balancer[Replica] = Balancer(())
        self.grpc_balancer: Balancer[Replica] = Balancer(())

    def update(self, route: Route, replicas: list[Replica]) -> None:
        """Serve what a new table says of this service."""
        self.route = route
        self.guard.update(route.policy, [one.load for one in replicas], monotonic())
        self.balancer.members = tuple(replicas)
        self.grpc_balancer.members = tuple(one for one in replicas if one.grpc is not None)

    def retire(self) -> None:
        """No table names it any more: requests that were matched and not sent find no replica."""
        self.update(msgspec.structs.replace(self.route, backends=(), ready=False, reason="it was deleted"), [])

    @property
    def ready(self) -> bool:
        """Whether a request has somewhere to go."""
        return self.route.ready and bool(self.balancer.members)


class Fleet:
    """Everything that is served, as of the last swap."""

    def __init__(self, metrics: GatewayMetrics, max_in_flight: int = defaults.MAX_IN_FLIGHT) -> None:
        self._metrics = metrics
        self._shares = Shares(max_in_flight)
        self._replicas: dict[Backend, Replica] = {}
        self._services: dict[tuple[str, str], Service] = {}
        self.table = RouteTable()
        self.matcher = Matcher(self.table)
        self.services: tuple[Service, ...] = ()

    def swap(self, table: RouteTable) -> None:
        """Serve `table` from the next request on; requests that were sent end on the replicas they have.

        Raises:
            InvalidInput: a backend's address cannot be read; nothing is changed then.
        """
        named = {backend for route in table.routes for backend in route.backends}
        fresh = {backend: Replica(backend) for backend in named - self._replicas.keys()}
        gone = self._replicas.keys() - named
        retired = [self._replicas[backend] for backend in gone]
        self._replicas = {backend: one for backend, one in self._replicas.items() if backend in named} | fresh
        services = {}
        for route in table.routes:
            key = (route.namespace, route.name)
            service = self._services.get(key)
            if service is None:
                service = Service(self._metrics.service(*key), Guard(self._shares, monotonic()))
            service.update(route, [self._replicas[backend] for backend in route.backends])
            services[key] = service
        for key in self._services.keys() - services.keys():
            self._services[key].retire()
        self._services = services
        self.services = tuple(services[route.namespace, route.name] for route in table.routes)
        self.matcher = Matcher(table)
        self.table = table
        self._metrics.keep(services.keys())
        for replica in retired:
            replica.retire()

    def close(self) -> None:
        """Close the connections to all replicas."""
        self.swap(RouteTable(self.table.version))
