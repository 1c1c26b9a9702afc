"""One route, live: its revisions, and which of them takes the next request."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from time import monotonic

import msgspec

from colonnade.gateway.guard import Guard
from colonnade.gateway.metrics import GatewayMetrics, RevisionMetrics
from colonnade.gateway.observed import Observer
from colonnade.gateway.payloads.channel import Channel
from colonnade.gateway.payloads.settings import Origin
from colonnade.gateway.payloads.tap import Tap
from colonnade.gateway.replica import Replica
from colonnade.gateway.revision import Revision
from colonnade.gateway.routes import Backend, Route, Target
from colonnade.gateway.shadow import Mirror
from colonnade.gateway.shares import Shares
from colonnade.gateway.split import Split
from colonnade.gateway.sticky import Sticky, stuck
from colonnade.gateway.timeouts import Timeouts
from colonnade.gateway.waiting import Waiter

RouteKey = tuple[str, str, str]
"""Namespace, service and component."""


def key_of(route: Route) -> RouteKey:
    """What a route is known by from one table to the next."""
    return route.namespace, route.name, route.component


class Service:
    """One route with its revisions, for as long as tables name it.

    Attributes:
        route: what the last table says.
        revisions: by name, in the order of the table; never empty.
        sole: the one that takes every request, if there is only one with a weight.
        sticky: what tells callers apart, if they stay with their revision.
        observers: who wants to see requests and their answers.
    """

    __slots__ = (
        "_held",
        "_metrics",
        "_mirror",
        "_payloads",
        "_share",
        "_split",
        "_tap",
        "_timeouts",
        "observers",
        "revisions",
        "route",
        "sole",
        "sticky",
    )

    def __init__(
        self,
        metrics: GatewayMetrics,
        shares: Shares,
        timeouts: Timeouts[Waiter],
        held: Callable[[Revision], None],
        payloads: Channel | None = None,
    ) -> None:
        """`held` is called when a request begins to wait for a revision without replicas."""
        self._payloads = payloads
        self._tap: Tap | None = None
        self._metrics = metrics
        self._share = shares.share()  # of all its revisions: a canary makes a service no larger
        self._timeouts = timeouts
        self._held = held
        self._split = Split({"": 1})
        self.route = Route("", "", "")
        self.revisions: dict[str, Revision] = {}
        self.sole: Revision | None = None
        self.sticky: Sticky | None = None
        self.observers: tuple[Observer, ...] = ()
        self._mirror: Mirror | None = None

    @property
    def counts(self) -> RevisionMetrics:
        """For requests that are answered before a revision is chosen."""
        return self._metrics.revision((*key_of(self.route), ""))

    def update(self, route: Route, replicas: Mapping[Backend, Replica]) -> list[Revision]:
        """Serve what a new table says. Returns the revisions that it does not name any more, to be retired when the
        whole table is in force.
        """
        self.route = route
        targets = route.targets or (Target(""),)
        before = self.revisions
        self.revisions = {}
        for target in targets:
            revision = before.get(target.revision) or self._new(target.revision)
            revision.update(route, target.weight, [replicas[backend] for backend in target.backends])
            self.revisions[target.revision] = revision
        weights = {target.revision: target.weight for target in targets}
        if weights != self._split.weights:
            split = Split(weights)
            if before:
                split.follow(self._split)
            else:
                split.enter(random.randrange)
            self._split = split
        weighty = [name for name, weight in weights.items() if weight > 0]
        self.sole = self.revisions[weighty[0]] if len(weighty) == 1 else None
        self.sticky = Sticky.read(route.sticky)
        self._mirror = self._mirrored(route)
        self._tap = self._tapped(route)
        self.observers = tuple(one for one in (self._mirror, self._tap) if one is not None)
        return [revision for name, revision in before.items() if name not in self.revisions]

    def wake(self) -> None:
        """Let those go on that waited for what the table brought, or took."""
        for revision in self.revisions.values():
            if not revision.ready or (revision.weight == 0 and not revision.balancer.members):
                revision.dismiss()
            else:
                revision.wake()

    def retire(self) -> None:
        """No table names it any more: requests that were matched and not sent find no replica."""
        self.route = msgspec.structs.replace(self.route, targets=(), ready=False, reason="it was deleted", logging=None)
        self._tap = self._tapped(self.route)
        for revision in self.revisions.values():
            revision.retire(self.route)

    def choose(self, now: float) -> Revision:
        """The revision of the next request that no host, header or cookie has decided.

        The share of a revision that takes none now, since it has no replica or none of them answers, goes to the
        others.
        """
        if self.sole is not None:
            return self.sole
        revision = self.revisions[self._split.next()]
        return revision if _takes(revision, now) else self._other(revision, now)

    def of_caller(self, value: bytes) -> Revision | None:
        """The revision of the caller with this value; None if that takes no request now."""
        revision = self.sole or self.revisions.get(stuck(value, self._split.weights))
        return revision if revision is not None and revision.ready else None

    def newcomer(self, now: float) -> tuple[Revision, bytes]:
        """The revision of a caller who has no cookie yet, and the value that brings it back there."""
        value = os.urandom(12).hex().encode()
        return self.of_caller(value) or self.choose(now), value

    def _mirrored(self, route: Route) -> Mirror | None:
        """What copies requests to the shadow of the route; the same as before if that is the same."""
        wanted = route.shadow
        revision = None if wanted is None else self.revisions.get(wanted.revision)
        if wanted is None or revision is None:
            return None
        before = self._mirror
        if before is not None and (before.settings, before.revision) == (wanted, revision):
            return before
        return Mirror(wanted, revision)

    def _tapped(self, route: Route) -> Tap | None:
        """What logs the payloads of the route; the same as before if that is the same."""
        before, wanted = self._tap, route.logging
        if before is not None and before.settings == wanted:
            return before
        if self._payloads is None:
            return None
        if before is not None:
            self._payloads.close(before)
        return None if wanted is None else self._payloads.open(Origin(*key_of(route)), wanted)

    def _other(self, revision: Revision, now: float) -> Revision:
        others = [one for one in self.revisions.values() if one.weight > 0 and _takes(one, now)]
        return max(others, key=lambda one: one.weight, default=revision)

    def _new(self, name: str) -> Revision:
        counts = self._metrics.revision((*key_of(self.route), name))
        return Revision(name, counts, Guard(self._share, monotonic()), self._timeouts, self._held)


def _takes(revision: Revision, now: float) -> bool:
    return revision.ready and not revision.guard.rests(now)
