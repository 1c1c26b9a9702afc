"""What each revision has to do, told once a second: what scaling and the analysis of a rollout decide by.

Whoever reads gets a line per revision that had anything to do since its last line, and one with zeros when that is
over; idle revisions cost nothing. A request that begins to wait for a revision without replicas is told at once, since
its caller is waiting for a decision.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import NamedTuple

import msgspec

from colonnade.gateway.fleet import Fleet
from colonnade.gateway.revision import Revision

PERIOD = 1.0  # seconds between lines
CONTENT_TYPE = "application/x-ndjson"
HEARTBEAT = b"{}\n"  # nothing to tell


class Line(msgspec.Struct, frozen=True):
    """The work of one revision in one gateway process.

    Of the `seconds` since its last line:

    Attributes:
        concurrency: mean number of requests under way, those that wait included.
        requests: that came.
        held: that wait now.
        late: that have been under way for a second or more now, in each bucket of `observe.latency` by their age; empty
            if none has.
        replicas: ready ones now, as the gateway knows them.

    Since `epoch` (seconds of Unix time), which is another one when the counts begin anew:

    Attributes:
        answers: requests that ended, however they did; without those that the gateway shed.
        errors: of them, those that ended with 5xx, or with a gRPC code that means the same.
        latencies: answers in each bucket of `observe.latency`.
        broken: attempts that a replica did not answer, those that a retry made good included.
        shadow: requests that were to be copied to this revision, by what came of them (see `shadow.Outcome`).
        payloads: requests whose payloads were to be logged, likewise (see `payloads.messages.Outcome`).
    """

    namespace: str
    service: str
    component: str
    revision: str
    concurrency: float
    requests: int
    held: int
    late: list[int]
    seconds: float
    replicas: int
    epoch: float
    answers: int
    errors: int
    latencies: list[int]
    broken: int
    shadow: dict[str, int]
    payloads: dict[str, int]


class _Seen(NamedTuple):
    """A revision as its last line told it."""

    at: float
    spent: float = 0.0
    arrivals: int = 0
    busy: bool = False  # it had something to do, so that the end of that is to be told

    @classmethod
    def of(cls, revision: Revision, now: float, *, busy: bool) -> _Seen:
        guard = revision.guard
        return cls(now, guard.spent(now), guard.arrivals, busy)


class Sampler:
    """Makes the lines of one reader. Times are those of `time.perf_counter`, as in `Guard.spent`."""

    def __init__(self, revisions: Iterable[Revision], now: float) -> None:
        """`revisions`: whose past is not to be told."""
        self._seen = {one: _Seen.of(one, now, busy=one.guard.in_flight > 0) for one in revisions}
        self._last = now

    def lines(self, revisions: Iterable[Revision], now: float) -> list[Line]:
        """What is to be told of these revisions; others are forgotten."""
        kept = {}
        found = []
        for revision in revisions:
            seen = self._seen.get(revision) or _Seen(self._last)
            guard = revision.guard
            moved = guard.in_flight > 0 or guard.arrivals != seen.arrivals
            moved = moved or (seen.busy and guard.spent(now) != seen.spent)  # what was under way ended in between
            if moved or seen.busy:
                fresh = _Seen.of(revision, now, busy=moved)
                found.append(self._line(revision, seen, fresh))
                seen = fresh
            kept[revision] = seen
        self._seen = kept
        self._last = now
        return found

    def one(self, revision: Revision, now: float) -> Line:
        """What is to be told of this one already."""
        seen = self._seen.get(revision) or _Seen(self._last)
        self._seen[revision] = fresh = _Seen.of(revision, now, busy=True)
        return self._line(revision, seen, fresh)

    def _line(self, revision: Revision, seen: _Seen, fresh: _Seen) -> Line:
        begun = seen.at if seen.busy else max(seen.at, self._last)  # nothing was to be told of the time before
        return _line(revision, seen, fresh, fresh.at - begun)


def _line(revision: Revision, seen: _Seen, fresh: _Seen, seconds: float) -> Line:
    route, counts = revision.route, revision.counts
    under_way = float(revision.guard.in_flight)
    ended = counts.ended()
    return Line(
        route.namespace,
        route.name,
        route.component,
        revision.name,
        concurrency=max(0.0, fresh.spent - seen.spent) / seconds if seconds > 0.0 else under_way,
        requests=fresh.arrivals - seen.arrivals,
        held=len(revision.waiting),
        late=revision.guard.late(fresh.at),
        seconds=seconds,
        replicas=len(revision.balancer.members),
        epoch=counts.since,
        answers=ended.answers,
        errors=ended.errors,
        latencies=counts.latencies(),
        broken=int(counts.failures.value),
        shadow=counts.shadow(),
        payloads=counts.payloads(),
    )


class Stats:
    """Streams the lines of one gateway to any number of readers."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._readers: set[asyncio.Queue[Revision]] = set()
        fleet.on_held = self._held

    async def stream(self) -> AsyncIterator[bytes]:
        """Lines without end, from now on. A reader learns at once what waits already."""
        urgent: asyncio.Queue[Revision] = asyncio.Queue()
        sampler = Sampler(self._revisions(), time.perf_counter())
        loop = asyncio.get_running_loop()
        due = loop.time() + PERIOD
        self._readers.add(urgent)
        try:
            yield HEARTBEAT
            for revision in self._revisions():
                if len(revision.waiting):
                    urgent.put_nowait(revision)
            while True:
                try:
                    async with asyncio.timeout_at(due):
                        lines = [sampler.one(await urgent.get(), time.perf_counter())]
                except TimeoutError:
                    due = max(due + PERIOD, loop.time())
                    lines = sampler.lines(self._revisions(), time.perf_counter())
                yield b"".join(msgspec.json.encode(line) + b"\n" for line in lines) or HEARTBEAT
        finally:
            self._readers.discard(urgent)

    def _revisions(self) -> list[Revision]:
        return [revision for service in self._fleet.services for revision in service.revisions.values()]

    def _held(self, revision: Revision) -> None:
        for reader in self._readers:
            reader.put_nowait(revision)
