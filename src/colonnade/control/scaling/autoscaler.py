"""The shell round `autoscale`: what gateway and machine tell goes in, a number of replicas for each revision comes out.

It keeps the windows and the states, asks for a decision every two seconds and when a request waits for a first replica,
and tells the controller of services when a number has changed. `Deployments` reads the number; nothing is stored, since
after a restart the replicas that run are the number to begin with. What is idle at zero costs nothing here: it is left
alone until its service changes or a request comes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

import msgspec

from colonnade import defaults
from colonnade.autoscale import decision, settings
from colonnade.autoscale.decision import Decision, Fixed, Seen, Settings, State
from colonnade.autoscale.measured import MeasuredRule, Target
from colonnade.autoscale.requests import Load, RequestRule
from colonnade.autoscale.windows import Window
from colonnade.control.events import Events
from colonnade.control.index import Index
from colonnade.control.workload import components, revisions
from colonnade.control.workload.podstatus import is_ready
from colonnade.control.workload.revisions import Revision
from colonnade.control.workqueue import Key
from colonnade.errors import InvalidInput

log = logging.getLogger(__name__)

MEASURE_PERIOD = 15.0  # Kubernetes' and KEDA's own for values
SILENCE = 5.0  # seconds after which a gateway process that tells nothing is not heard
FORGOTTEN = 90.0  # seconds after which a revision that no reconciler asks for is no longer scaled


class ScaleKey(NamedTuple):
    """One revision of one component."""

    namespace: str
    service: str
    component: str
    revision: str


class Sample(msgspec.Struct, frozen=True):
    """The part of a gateway's line that is scaled by: see `gateway.stats`."""

    namespace: str
    service: str
    component: str
    revision: str
    concurrency: float = 0.0
    requests: float = 0.0
    held: int = 0
    seconds: float = 1.0


class Scaled(NamedTuple):
    """How a revision is scaled now: replicas wanted and ready, requests that wait, and the last decision or None."""

    key: ScaleKey
    wanted: int
    ready: int
    held: int
    last: Decision | None


class Meter(Protocol):
    """Who reads the values of targets. See `measuring`."""

    async def values(
        self, namespace: str, targets: tuple[Target, ...], pods: list[dict[str, Any]]
    ) -> tuple[float | None, ...]:
        """The value of each target over these replicas; None for what is not known."""


@dataclass(slots=True)
class _Scaled:
    """A revision that is scaled."""

    settings: Settings
    state: State
    asked: float
    window: Window
    used: float
    held: dict[int, tuple[float, int]] = field(default_factory=dict)
    last: Decision | None = None

    def waiting(self, now: float) -> int:
        """Requests that wait at processes that were heard lately; one that died has none."""
        return sum(count for at, count in self.held.values() if now - at < SILENCE)


class Autoscaler:
    """Says how many replicas each revision needs. Belongs to one event loop.

    Args:
        index: the services and their pods.
        changed: called with a service for which a number changed.
        limit: replicas of a component whose manifest sets no limit; as many as this process may use cores if None.
        clock: seconds that only go forward.
    """

    def __init__(
        self,
        index: Index,
        events: Events,
        meter: Meter,
        changed: Callable[[Key], None],
        *,
        limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._index = index
        self._events = events
        self._meter = meter
        self._changed = changed
        self._limit = limit or len(os.sched_getaffinity(0))
        self._clock = clock
        self._scaled: dict[ScaleKey, _Scaled] = {}
        self._heard: dict[int, float] = {}

    def wanted(self, namespace: str, revision: Revision, held: int = 0) -> int | None:
        """How many replicas a revision shall have now; None for a canary, whose number its manifest fixes.

        A revision that is asked for is scaled from then on, and by its manifest as it is at this moment. It has at
        least `held`, since a rollout needs them; once that is over, they stay for a window of its own load.
        """
        key = ScaleKey(namespace, revision.service, revision.component.name, revision.name)
        isvc = self._index.service(Key(namespace, revision.service))
        of = None if isvc is None else _settings(isvc, revision, self._limit)
        if of is None:
            self._scaled.pop(key, None)
            return None
        of = replace(of, held=held)
        now = self._clock()
        found = self._scaled.get(key)
        if found is None:
            begun = decision.begin(of, len(self._pods(key)), now, known=revision.proven)
            found = self._scaled[key] = _Scaled(of, begun, now, Window(now), now)
        found.asked = now
        if found.settings != of:
            if of.held < found.settings.held:
                found.state = decision.begin(of, found.state.wanted, now, known=found.state.reached)
                found.window = Window(now)
            found.settings = of
            self._decide(key, found, now, tell=False)
        return found.state.wanted

    def observe(self, worker: int, line: dict[str, Any]) -> None:
        """Take in what a gateway process told; {} says that it lives, and what it does not tell of is idle.

        A request that waits for a first replica is decided on at once.
        """
        now = self._clock()
        self._heard[worker] = now
        if "revision" not in line:
            return
        told = msgspec.convert(line, Sample)
        key = ScaleKey(told.namespace, told.service, told.component, told.revision)
        found = self._scaled.get(key)
        if found is None:
            return  # of a revision that is gone, or not begun: what goes on is told again in a second
        found.window.add(now, told.seconds, told.concurrency, told.requests)
        found.held[worker] = now, told.held
        if told.concurrency or told.requests or told.held:
            found.used = now
        if told.held and not found.state.wanted:
            self._decide(key, found, now)

    def poke(self, key: ScaleKey) -> None:
        """Decide on a revision now. One that is measured waits for its next measurement, unless it is at zero."""
        found = self._scaled.get(key)
        if found is not None and (not found.state.wanted or not isinstance(found.settings.rule, MeasuredRule)):
            self._decide(key, found, self._clock())

    def idle(self) -> Iterator[tuple[ScaleKey, float]]:
        """The revisions that may go to zero and that no request uses, each with the seconds since one did.

        None, unless all of the gateway is heard: what it does not tell of is not known to be unused.
        """
        now = self._clock()
        if not self._heard or any(now - at >= SILENCE for at in self._heard.values()):
            return
        for key, found in self._scaled.items():
            able = found.state.wanted and found.state.reached and not found.settings.least
            if able and not found.waiting(now) and now - found.used >= defaults.EVICT_AFTER_IDLE:
                yield key, now - found.used

    def rest(self, key: ScaleKey) -> None:
        """Scale a revision to zero now, until a request waits for it."""
        found, now = self._scaled[key], self._clock()
        found.state = decision.begin(found.settings, 0, now, known=True)
        found.window = Window(now)
        self._changed(Key(key.namespace, key.service))

    def scaled(self) -> Iterator[Scaled]:
        """The revisions that are scaled."""
        now = self._clock()
        for key, found in self._scaled.items():
            ready = sum(map(is_ready, self._pods(key)))
            yield Scaled(key, found.state.wanted, ready, found.waiting(now), found.last)

    def last(self, key: ScaleKey) -> Decision | None:
        """The last decision on a revision, with its reason and numbers."""
        found = self._scaled.get(key)
        return None if found is None else found.last

    async def run(self) -> None:
        """Decide again and again, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tick())
            group.create_task(self._measure())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(defaults.AUTOSCALE_TICK)
            now = self._clock()
            for key, found in list(self._scaled.items()):
                if now - found.asked > FORGOTTEN:
                    del self._scaled[key]
                elif found.state.wanted or found.waiting(now):
                    try:
                        self.poke(key)
                    except Exception:
                        log.exception("a service could not be scaled", extra={"revision": key.revision})

    async def _measure(self) -> None:
        """Read values, each revision's at its own pace: one slow metric server keeps nobody else waiting."""
        reading: dict[ScaleKey, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                reading = {key: task for key, task in reading.items() if not task.done()}
                for key, found in self._scaled.items():
                    if isinstance(found.settings.rule, MeasuredRule) and key not in reading:
                        reading[key] = group.create_task(self._read(key, found, found.settings.rule))
                await asyncio.sleep(defaults.AUTOSCALE_TICK)

    async def _read(self, key: ScaleKey, found: _Scaled, rule: MeasuredRule) -> None:
        try:
            ready = [pod for pod in self._pods(key) if is_ready(pod)]
            values = await self._meter.values(key.namespace, rule.targets, ready)
            if found.settings.rule == rule:
                now = self._clock()
                self._decide(key, found, now, seen=Seen(len(ready), values=values, held=found.waiting(now)))
        except Exception:
            log.exception("what a service is scaled by could not be read", extra={"revision": key.revision})
        await asyncio.sleep(MEASURE_PERIOD)

    def _decide(
        self, key: ScaleKey, found: _Scaled, now: float, *, seen: Seen | None = None, tell: bool = True
    ) -> None:
        before = found.state.wanted
        found.last = decision.decide(seen or self._seen(key, found, now), found.settings, found.state, now)
        found.state = found.last.state
        if found.last.wanted == before or not tell:
            return
        service = Key(key.namespace, key.service)
        isvc = self._index.service(service)
        if isvc is not None:
            text = f"New size: {found.last.wanted}, was {before}, of {key.revision}; reason: {found.last.reason}"
            self._events.record(isvc, "SuccessfulRescale", text)
        self._changed(service)

    def _seen(self, key: ScaleKey, found: _Scaled, now: float) -> Seen:
        ready = sum(map(is_ready, self._pods(key)))
        rule = found.settings.rule
        if isinstance(rule, RequestRule):
            heard = [at for at in self._heard.values() if now - at < SILENCE]
            load = _load(found.window, rule, max(heard)) if heard else None
            return Seen(ready, load, held=found.waiting(now), whole=len(heard) == len(self._heard))
        targets = rule.targets if isinstance(rule, MeasuredRule) else ()
        return Seen(ready, values=(None,) * len(targets), held=found.waiting(now))

    def _pods(self, key: ScaleKey) -> list[dict[str, Any]]:
        return [
            pod
            for pod in self._index.pods(Key(key.namespace, key.service))
            if revisions.of_pod(pod) == key.revision and not revisions.draining(pod)
        ]


def _load(window: Window, rule: RequestRule, heard: float) -> Load:
    return Load(
        window.mean(rule.metric, rule.stable_window, heard, weighted=rule.weighted),
        window.mean(rule.metric, rule.panic_window, heard, weighted=rule.weighted),
    )


def _settings(isvc: Mapping[str, Any], revision: Revision, limit: int) -> Settings | None:
    """The settings of a revision's component as the manifest has them now; None for a canary."""
    component = next((each for each in components.of(isvc) if each.name == revision.component.name), None)
    if component is None or component.variant != revision.component.variant:
        return None
    try:
        found = settings.of(isvc["metadata"], component.spec)
    except InvalidInput as error:
        least = component.spec.get("minReplicas")
        return Settings(Fixed(error.message), least=1 if least is None else max(1, int(least)))
    if found.most == found.least and isinstance(found.rule, MeasuredRule):
        return replace(found, rule=Fixed(f"minReplicas and maxReplicas are {found.least}"))  # nothing to measure for
    return found if found.most else replace(found, most=max(limit, found.least))
