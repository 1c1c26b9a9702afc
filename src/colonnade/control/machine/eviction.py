"""Makes room: services that sleep when nobody asks them are put to sleep early when another one waits for room.

Which ones, `platforms.budget.evict` decides: the longest unused first, and never more than it takes. Who is unused, the
autoscaler knows from the gateway; it also puts them to sleep, in its own way, so that a request in flight is answered
and the next one wakes the service again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from colonnade.control.events import Events
from colonnade.control.index import Index
from colonnade.control.machine.budget import Budget, key_of
from colonnade.control.objects import Ref
from colonnade.control.scaling.autoscaler import ScaleKey
from colonnade.control.store import Store
from colonnade.control.workload import claims, revisions
from colonnade.control.workload.podstatus import is_ready
from colonnade.control.workqueue import Key
from colonnade.platforms.budget import Held, Idle, Lack, Waiting, evict, place

log = logging.getLogger(__name__)

LOOK = 1.0  # seconds between looks while somebody waits
GOING = 30.0  # seconds after which one that was put to sleep and is still there counts as staying


class Sleepers(Protocol):
    """Who may be put to sleep. See `autoscaler`."""

    def idle(self) -> Iterator[tuple[ScaleKey, float]]:
        """The revisions that may go to zero and that no request uses, each with the seconds since one did."""

    def rest(self, key: ScaleKey) -> None:
        """Scale a revision to zero until it is asked for."""


class _Wait(NamedTuple):
    pod: Waiting
    lack: Lack
    service: Key


class Eviction:
    """Looks for room for the first in line."""

    def __init__(
        self,
        budget: Budget,
        store: Store,
        index: Index,
        sleepers: Sleepers,
        events: Events,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._budget = budget
        self._store = store
        self._index = index
        self._sleepers = sleepers
        self._events = events
        self._clock = clock
        self._going: dict[str, float] = {}

    async def run(self) -> None:
        """Make room again and again, until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            try:
                self.step()
            except Exception:
                log.exception("room could not be made")

    def step(self) -> None:
        """Put services to sleep if the first in line needs it and nothing is on its way out for it already."""
        first = self._first()
        if first is None:
            self._going.clear()
            return
        now, held = self._clock(), self._budget.held
        self._going = {key: until for key, until in self._going.items() if key in held and now < until}
        staying = {key: each for key, each in held.items() if key not in self._going and not self._draining(key)}
        if isinstance(place(self._budget.machine, list(staying.values()), first.pod.claim), Held):
            return
        idle = {one.key: (one, key) for one, key in self._idle(first.service, staying)}
        for one in evict(self._budget.machine, staying, first.pod.claim, [one for one, _ in idle.values()]):
            self._going |= dict.fromkeys(one.members, now + GOING)
            self._rest(idle[one.key][1], first, now - one.used)

    def _first(self) -> _Wait | None:
        """The first in line that could fit."""
        for waiting, lack in self._budget.waiting:
            service = self._service(waiting.key)
            if not lack.never and service is not None:
                return _Wait(waiting, lack, service)
        return None

    def _idle(self, service: Key, staying: dict[str, Held]) -> Iterator[tuple[Idle, ScaleKey]]:
        """What could sleep, but for the service that needs the room."""
        for key, unused in self._sleepers.idle():
            if Key(key.namespace, key.service) == service:
                continue
            pods = [
                pod
                for pod in self._index.pods(Key(key.namespace, key.service))
                if revisions.of_pod(pod) == key.revision and not revisions.draining(pod)
            ]
            names = (f"{key.namespace}/{pod['metadata']['name']}" for pod in pods)
            members = frozenset(name for name in names if name in staying)
            if members and all(map(is_ready, pods)):  # one that still starts was asked for just now
                yield Idle(f"{key.namespace}/{key.revision}", self._clock() - unused, members), key

    def _rest(self, key: ScaleKey, first: _Wait, unused: float) -> None:
        victim = self._index.service(Key(key.namespace, key.service))
        needing = self._index.service(first.service)
        why = claims.unschedulable(first.lack, self._budget.machine)
        if victim is not None:
            text = f"Scaled {key.revision} to zero, unused for {unused:.0f} s, to make room for {first.service}"
            self._events.record(victim, "Evicted", text)
        if needing is not None:
            text = f"{why} Scaled {key.namespace}/{key.service}, unused for {unused:.0f} s, to zero to make room"
            self._events.record(needing, "MakingRoom", text)
        self._sleepers.rest(key)

    def _pod(self, text: str) -> dict[str, Any] | None:
        return self._store.get(Ref("", "pods", *key_of(text)))

    def _service(self, text: str) -> Key | None:
        pod = self._pod(text)
        return None if pod is None else Key(key_of(text).namespace, revisions.service_of(pod))

    def _draining(self, text: str) -> bool:
        pod = self._pod(text)
        return pod is None or revisions.draining(pod)
