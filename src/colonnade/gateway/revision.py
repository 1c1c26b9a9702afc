"""One revision of a component, live: its replicas, its guard, its counters, and the requests that wait for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import monotonic

from colonnade.gateway.balance import Balancer
from colonnade.gateway.guard import Guard
from colonnade.gateway.metrics import RevisionMetrics
from colonnade.gateway.replica import Replica
from colonnade.gateway.routes import Hold, Route
from colonnade.gateway.timeouts import Timeouts
from colonnade.gateway.waiting import Waiter, Waiting

_PATIENCE = Hold()  # with replicas that are busy


class Revision:
    """One target of a route, for as long as tables name it. Ask it at the time of sending.

    Attributes:
        name: of the revision; empty for that of a route without targets.
        route: what the last table says of the component.
        limit: requests that one replica may have at a time; 0 for no limit.
        ready: a request has somewhere to go, or may wait for it.
        weight: of its share of the requests.
        retired: no table names it any more; what was matched and not sent goes to another revision.
        held: called when a request begins to wait while none did and there is no replica.
    """

    __slots__ = (
        "_waking",
        "balancer",
        "counts",
        "grpc_balancer",
        "guard",
        "held",
        "limit",
        "name",
        "ready",
        "retired",
        "route",
        "waiting",
        "weight",
    )

    def __init__(
        self,
        name: str,
        counts: RevisionMetrics,
        guard: Guard,
        timeouts: Timeouts[Waiter],
        held: Callable[[Revision], None],
    ) -> None:
        self.name = name
        self.route = Route("", "", "")
        self.counts = counts
        self.guard = guard
        counts.follow(guard)
        self.held = held
        self.balancer: Balancer[Replica] = Balancer(())
        self.grpc_balancer: Balancer[Replica] = Balancer(())
        self.waiting = Waiting(timeouts)
        self.limit = 0
        self.weight = 0
        self.ready = False
        self.retired = False
        self._waking = False

    def update(self, route: Route, weight: int, replicas: list[Replica]) -> None:
        """Serve what a new table says of this revision."""
        self.route = route
        self.weight = weight
        self.limit = route.concurrency
        self.guard.update(route.policy, [one.load for one in replicas], monotonic())
        for gone in set(self.balancer.members).difference(replicas):
            gone.notify(None)
        for one in replicas:
            one.notify(self.wake if self.limit else None)
        self.balancer.members = tuple(replicas)
        self.grpc_balancer.members = tuple(one for one in replicas if one.grpc is not None)
        self.ready = route.ready and (bool(replicas) or route.hold is not None)

    def retire(self, route: Route) -> None:
        """No table names it any more. `route`: what there is now, of its component or in its place."""
        self.update(route, 0, [])
        self.retired = True
        self.dismiss()

    def pick(
        self, balancer: Balancer[Replica], now: float, tried: Collection[Replica], *, turn: bool
    ) -> Replica | None:
        """The replica for a request where each may have `limit` of them; None if it has to wait.

        Args:
            balancer: of this revision.
            now: monotonic seconds.
            tried: replicas that come last.
            turn: it has waited, and its turn has come.
        """
        if len(self.waiting) and not turn:
            return None
        full = [one for one in balancer.members if one.load.outstanding >= self.limit]
        if len(full) == len(balancer.members):
            return None
        return balancer.pick(now, (*full, *tried)) or balancer.pick(now, full)

    def wait(self, waiter: Waiter, size: int, since: float) -> bool | None:
        """Let a request of so many bytes wait, as it does `since` then (seconds of the event loop's clock); False if
        too many do, None if there is nothing to wait for.
        """
        members = self.balancer.members
        hold = self.route.hold or (_PATIENCE if members else None)
        if hold is None or self.retired or not self.ready or (members and not self.limit):
            return None
        if not self.waiting.add(waiter, size, hold, since):
            return False
        if not members and len(self.waiting) == 1:
            self.held(self)
        return True

    def wake(self) -> None:
        """Let those go on for which there is room now, in their order."""
        if self._waking:  # what was let go has ended at once; the loop below is still at it
            return
        self._waking = True
        try:
            while len(self.waiting) and self._has_room():
                self.waiting.pop().released()
        finally:
            self._waking = False

    def dismiss(self) -> None:
        """Let all go on that wait: they find out that this revision is not for them any more."""
        for _ in range(len(self.waiting)):
            self.waiting.pop().released()

    def give_up(self) -> None:
        """Let none wait any longer."""
        for _ in range(len(self.waiting)):
            self.waiting.pop().expired()

    def _has_room(self) -> bool:
        members = self.balancer.members
        return any(one.load.outstanding < self.limit for one in members) if self.limit else bool(members)
