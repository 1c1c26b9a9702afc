"""Keeping the gateway's routes what they should be, and knowing what it was last told.

Level-triggered like a reconciler: each change asks for a look, the first one after a while is pushed at once, as a
request may wait for it; what changes within a few milliseconds after a push makes one push; a push that fails is tried
again. What the gateway acknowledged is remembered: a service is only Ready once the gateway sends to a
replica of it, and a replica may only be removed after the gateway has stopped sending to it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from colonnade.control.index import Index
from colonnade.control.rollouts.rollout import Share
from colonnade.control.routes import routing
from colonnade.control.workload import components
from colonnade.control.workload.ports import Port, Ports
from colonnade.control.workqueue import Key, backoff
from colonnade.gateway.admin import load
from colonnade.gateway.payloads.settings import Logging
from colonnade.gateway.routes import Route, RouteTable
from colonnade.platforms.base import Platform

log = logging.getLogger(__name__)

DEBOUNCE = 0.005
SHARE = 1.0  # of the time that a push takes, the rest before the next one: many changes shall not take all of a core
LINGER = 0.25  # seconds between leaving the routes and being released
GROUP = "serving.kserve.io"


Address = tuple[str, str | None]


class _Made(NamedTuple):
    """The routes of a service, and what they were made of.

    That is its stamp and that of its payload log, the addresses of its pods, and its ports.
    """

    inputs: tuple[int, int, tuple[Address | None, ...], tuple[int | None, ...]]
    routes: tuple[Route, ...]


class _Named(NamedTuple):
    """What the gateway knows of a revision: whose it is, and its share of the requests."""

    service: Key
    weight: int


class Graphs(Protocol):
    """Further routes, made of those of the services. See `inferencegraphs`."""

    def routes(self, services: Sequence[Route]) -> list[Route]: ...

    def pushed(self, table: RouteTable) -> None: ...


class Payloads(Protocol):
    """Where payloads are logged. See `payloadplaces`."""

    def of(self, isvc: Mapping[str, Any], component: str) -> Logging | None: ...

    def stamp(self, service: Key) -> int: ...


class Router:
    """Pushes route tables. `push` sends one to the gateway and raises if that did not take it."""

    def __init__(
        self,
        index: Index,
        platform: Platform,
        ports: Ports,
        domain: str,
        file: Path,
        push: Callable[[RouteTable], Awaitable[None]],
        changed: Callable[[set[Key]], None],
        graphs: Graphs | None = None,
        payloads: Payloads | None = None,
        named: Callable[[Route], Route] = lambda route: route,
    ) -> None:
        """`file` is where the gateway keeps its routes: what it may send to before the first push.

        `changed` is called with services whose pods the gateway now sends to, or surely sends to no more, or splits
        anew. `payloads` says where those of a component of a service are logged, and when to ask again. `named` adds
        the names of further models to a route.
        """
        self._payloads = payloads
        self._named_models = named
        self._graphs = graphs
        self._index = index
        self._platform = platform
        self._ports = ports
        self._domain = domain
        self._push = push
        self._changed = changed
        self._wanted = asyncio.Event()
        self._version = time.time_ns() // 1_000_000  # rises over restarts of the control plane too
        self._last: RouteTable | None = None
        self._last_made: dict[Key, _Made] = {}
        self._serving = _backends(load(file))  # what a gateway of an earlier control plane may send to
        self._told = dict(self._serving)
        self._named: dict[Key, _Named] = {}

    def look(self) -> None:
        """Something changed that routes are made of."""
        self._wanted.set()

    def repeat(self) -> None:
        """The gateway was started anew: tell it again."""
        self._last = None
        self._wanted.set()

    def serves(self, key: Key) -> bool:
        """Whether the gateway may send requests to this pod."""
        return key in self._serving

    def told(self, key: Key) -> bool:
        """Whether the gateway has acknowledged that it is to send requests to this pod."""
        return key in self._told

    def knows(self, namespace: str, revision: str) -> bool:
        """Whether the gateway has acknowledged this revision, with or without replicas."""
        return Key(namespace, revision) in self._named

    def splits(self, namespace: str, shares: Iterable[Share]) -> bool:
        """Whether the gateway has acknowledged these shares of a component's requests."""
        told = ((share.percent, self._named.get(Key(namespace, share.revision))) for share in shares)
        return all(found is not None and found.weight == percent for percent, found in told)

    async def run(self) -> None:
        """Push until cancelled."""
        failures, rested = 0, 0.0
        self._wanted.set()
        while True:
            await self._wanted.wait()
            await asyncio.sleep(max(0.0, rested - time.monotonic()))
            self._wanted.clear()
            begun = time.monotonic()
            try:
                table = self._table()
                if self._last is None or table.routes != self._last.routes:
                    await self._send(table)
                ended = time.monotonic()
                rested = ended + max(DEBOUNCE, SHARE * (ended - begun))
            except Exception as error:  # the gateway is down, or going down
                failures += 1
                log.warning("pushing routes failed", extra={"error": str(error), "failures": failures})
                await asyncio.sleep(min(backoff(failures, first=0.02), 1.0))
                self._wanted.set()
            else:
                failures = 0

    def _table(self) -> RouteTable:
        addresses = {
            Key(state.spec.namespace, state.spec.name): (state.spec.http, state.spec.grpc)
            for state in self._platform.list()
            if state.running and not state.spec.container
        }
        self._version += 1
        made = {key: self._made(key, addresses) for key in sorted(self._index.keys())}
        self._last_made = made
        found = [self._named_models(route) for each in made.values() for route in each.routes]
        if self._graphs is not None:
            found += self._graphs.routes(found)
        return RouteTable(self._version, tuple(found))

    def _made(self, key: Key, addresses: Mapping[Key, Address]) -> _Made:
        """The routes of one service: those of the last table, if nothing has changed that they are made of."""
        ports = tuple(self._port(key, name) for name in components.NAMES)
        last = self._last_made.get(key)
        pods = self._index.pods(key)
        there = tuple(addresses.get(Key(key.namespace, pod["metadata"]["name"])) for pod in pods)
        logs = self._payloads
        inputs = (self._index.stamp(key), 0 if logs is None else logs.stamp(key), there, ports)
        if last is not None and last.inputs == inputs:
            return last
        isvc = self._index.service(key)
        if isvc is None:
            return _Made(inputs, ())
        port, logged = partial(self._port, key), _nowhere if logs is None else logs.of
        return _Made(inputs, tuple(routing.routes(isvc, pods, addresses, self._domain, port, logged)))

    def _port(self, service: Key, component: str) -> int | None:
        return self._ports.port(Port(service, component))

    async def _send(self, table: RouteTable) -> None:
        """Write and push a table. While that is under way, the pods of the old table and of the new one are in use."""
        fresh, named = _backends(table), _revisions(table)
        self._serving |= fresh
        await self._push(table)
        self._last = table
        if self._graphs is not None:
            self._graphs.pushed(table)
        begun = {fresh[pod] for pod in fresh.keys() - self._told.keys()}
        begun |= {found.service for revision, found in named.items() if found != self._named.get(revision)}
        self._told, self._named = fresh, named
        if begun:
            self._changed(begun)
        gone = {pod: service for pod, service in self._serving.items() if pod not in fresh}
        if gone:
            asyncio.get_running_loop().call_later(LINGER, self._release, gone)

    def _release(self, gone: Mapping[Key, Key]) -> None:
        """Requests that were on their way when the routes changed have arrived: the pods may go."""
        back = {} if self._last is None else _backends(self._last)
        left = {pod: service for pod, service in gone.items() if pod not in back}
        for pod in left:
            self._serving.pop(pod, None)
        self._changed(set(left.values()))


def _nowhere(isvc: Mapping[str, Any], component: str) -> Logging | None:
    return None


def _backends(table: RouteTable) -> dict[Key, Key]:
    """The service of each pod in a table."""
    return {
        Key(route.namespace, backend.name): Key(route.namespace, route.name)
        for route in table.routes
        for backend in route.backends
    }


def _revisions(table: RouteTable) -> dict[Key, _Named]:
    """Each revision in a table, whether it has a replica or not."""
    return {
        Key(route.namespace, target.revision): _Named(Key(route.namespace, route.name), target.weight)
        for route in table.routes
        for target in route.targets
    }
