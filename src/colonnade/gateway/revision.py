"""One revision of a component, live: its replicas, its guard, its counters, and the requests that wait for it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection
from time import monotonic

from colonnade import defaults
from colonnade.gateway.balance import Balancer
from colonnade.gateway.guard import Guard
from colonnade.gateway.metrics import RevisionMetrics
from colonnade.gateway.replica import Replica
from colonnade.gateway.routes import Hold, Route
from colonnade.gateway.slots import POLL
from colonnade.gateway.timeouts import Timeouts
from colonnade.gateway.waiting import Waiter, Waiting

_PATIENCE = Hold(seconds=defaults.QUEUED_SECONDS)  # with replicas that are busy


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
        "_poll",
        "_reserved",
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
        self._reserved: Replica | None = None  # for the one that is let go
        self._poll: asyncio.TimerHandle | None = None

    def update(self, route: Route, weight: int, replicas: list[Replica]) -> None:
        """Serve what a new table says of this revision."""
        self.route = route
        self.weight = weight
        self.limit = route.concurrency
        self.guard.update(route.policy, [one.load for one in replicas], monotonic())
        for gone in set(self.balancer.members).difference(replicas):
            gone.notify(None)
        for one in replicas:
            one.notify(self._freed if self.limit else None)
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
        reserved = self._reserved
        if turn and reserved is not None and reserved in balancer.members:
            self._reserved = None
            return reserved
        if (len(self.waiting) and not turn) or not self.ready:
            return None
        return self._free(balancer, now, tried)

    def wait(self, waiter: Waiter, size: int, since: float) -> bool | None:
        """Let a request of so many bytes wait, as it does `since` then (seconds of the event loop's clock); False if
        too many do, None if there is nothing to wait for.
        """
        members = self.balancer.members
        hold = _PATIENCE if members else self.route.hold
        if hold is None or self.retired or not self.ready or (members and not self.limit):
            return None
        if not self.waiting.add(waiter, size, hold, since):
            return False
        if not members and len(self.waiting) == 1:
            self.held(self)
        if members:
            self._look_later()
        return True

    def wake(self, most: int | None = None) -> None:
        """Let those go on for which there is room now, in their order, and no more than `most`."""
        if self._waking:  # what was let go has ended at once; the loop below is still at it
            return
        self._waking = True
        try:
            while len(self.waiting) and most != 0 and self._reserve():
                self.waiting.pop().released()
                self._release_reserved()
                most = None if most is None else most - 1
        finally:
            self._waking = False
        if len(self.waiting):
            self._look_later()

    def dismiss(self) -> None:
        """Let all go on that wait: they find out that this revision is not for them any more."""
        for _ in range(len(self.waiting)):
            self.waiting.pop().released()

    def give_up(self) -> None:
        """Let none wait any longer."""
        for _ in range(len(self.waiting)):
            self.waiting.pop().expired()

    def _free(self, balancer: Balancer[Replica], now: float, tried: Collection[Replica]) -> Replica | None:
        """The best replica that may have one more request, counted for it where it counts for all processes."""
        full = [one for one in balancer.members if one.load.outstanding >= self.limit]
        while len(full) < len(balancer.members):
            replica = balancer.pick(now, (*full, *tried)) or balancer.pick(now, full)
            if replica is None or replica.slots is None or replica.slots.take(self.limit):
                return replica
            full.append(replica)
        return None

    def _reserve(self) -> bool:
        """Whether there is room for the first one that waits; if that is limited, it is reserved."""
        if not self.limit:
            return bool(self.balancer.members)
        self._reserved = self._free(self.balancer, monotonic(), ())
        return self._reserved is not None

    def _release_reserved(self) -> None:
        replica, self._reserved = self._reserved, None
        if replica is not None and replica.slots is not None:
            replica.slots.keep(replica.load.outstanding)

    def _freed(self) -> None:
        """A replica has ended a request."""
        if len(self.waiting):
            shared = [one.slots for one in self.balancer.members if one.slots is not None]
            if all(slots.modest(self.limit) for slots in shared):
                self.wake(1 if shared else None)
            else:
                self._look_later()

    def _look_later(self) -> None:
        """Look again soon, if another process may have freed a slot: it tells nobody."""
        shared = any(one.slots is not None for one in self.balancer.members)
        if shared and self.limit and self._poll is None:
            after = POLL * (0.5 + random.random())  # noqa: S311
            self._poll = asyncio.get_running_loop().call_later(after, self._look)

    def _look(self) -> None:
        self._poll = None
        parts = (one.slots.part(self.limit) for one in self.balancer.members if one.slots is not None)
        self.wake(max(1, sum(parts)))  # what is left is for another process first
