"""The live side of the route table: services, their revisions and replicas, and the swap of tables.

A swap keeps what both tables name: a service and a revision stay the same objects with other replicas, so a request
that was matched before the swap and is sent after it (its body came late, it waited, or its first replica failed) goes
where the new table says. A replica that stays keeps its warm connections and its count of requests. One that is gone
takes no new request and is closed when its last one has ended. So a swap under load fails nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from colonnade import defaults
from colonnade.gateway.matching import Matcher
from colonnade.gateway.metrics import GatewayMetrics
from colonnade.gateway.payloads.channel import Channel
from colonnade.gateway.replica import Replica
from colonnade.gateway.revision import Revision
from colonnade.gateway.routes import Backend, RouteTable
from colonnade.gateway.service import RouteKey, Service, key_of
from colonnade.gateway.shares import Shares
from colonnade.gateway.slots import Slots
from colonnade.gateway.timeouts import Timeouts
from colonnade.gateway.waiting import Waiter


class Fleet:
    """Everything that is served, as of the last swap.

    Attributes:
        table: of the last swap.
        services: one for each of its routes, in the same order.
        waits: ends the waiting of requests that have waited too long.
        on_swap: called with each table that is in force.
        on_held: called when a request begins to wait for a revision that has no replica.
    """

    def __init__(
        self,
        metrics: GatewayMetrics,
        max_in_flight: int = defaults.MAX_IN_FLIGHT,
        slots: Slots | None = None,
        payloads: Channel | None = None,
    ) -> None:
        """`slots`: what counts the requests of a replica, if there are other processes that send it some. `payloads`
        takes what is logged.
        """
        self._slots = slots
        self._payloads = payloads
        self._metrics = metrics
        self._shares = Shares(max_in_flight)
        self._replicas: dict[Backend, Replica] = {}
        self._services: dict[RouteKey, Service] = {}
        self.waits: Timeouts[Waiter] = Timeouts(lambda waiter: waiter.expired())
        self.on_swap: Callable[[RouteTable], None] = lambda table: None
        self.on_held: Callable[[Revision], None] = lambda revision: None
        self.table = RouteTable()
        self.matcher = Matcher(self.table)
        self.services: tuple[Service, ...] = ()

    def swap(self, table: RouteTable) -> None:
        """Serve `table` from the next request on; requests that were sent end on the replicas they have.

        Raises:
            InvalidInput: a backend's address cannot be read; nothing is changed then.
        """
        named = {backend for route in table.routes for backend in route.backends}
        fresh = {backend: self._replica(backend) for backend in named - self._replicas.keys()}
        gone = self._replicas.keys() - named
        retired = [self._replicas[backend] for backend in gone]
        self._replicas = {backend: one for backend, one in self._replicas.items() if backend in named} | fresh
        before, self._services = self._services, {}
        left: list[Revision] = []
        for route in table.routes:
            key = key_of(route)
            service = before.get(key)
            if service is None:
                service = self._service()
            left += service.update(route, self._replicas)
            self._services[key] = service
        self.services = tuple(self._services[key_of(route)] for route in table.routes)
        self.matcher = Matcher(table)
        self.table = table
        for key in before.keys() - self._services.keys():
            before[key].retire()
        for revision in left:
            revision.retire(revision.route)
        for service in self.services:
            service.wake()
        kept = {(*key, name) for key, service in self._services.items() for name in ("", *service.revisions)}
        self._metrics.keep(kept)
        for replica in retired:
            replica.retire()
        self.on_swap(table)

    def service(self, key: RouteKey) -> Service | None:
        """The service of this namespace, name and component."""
        return self._services.get(key)

    def give_up(self) -> None:
        """Tell all requests that wait for a replica that there is none for them."""
        for service in self.services:
            for revision in service.revisions.values():
                revision.give_up()

    def close(self) -> None:
        """Close the connections to all replicas."""
        self.swap(RouteTable(self.table.version))

    def _service(self) -> Service:
        return Service(self._metrics, self._shares, self.waits, lambda revision: self.on_held(revision), self._payloads)

    def _replica(self, backend: Backend) -> Replica:
        return Replica(backend, None if self._slots is None else self._slots.of(backend.http))
