"""Reads the values by which revisions are scaled: what processes use, what metric servers and replicas tell.

What does not answer keeps its last value for two minutes; then it is unknown, and nothing is taken away for it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from colonnade.autoscale.measured import Target
from colonnade.autoscale.sources import Query, Told, Usage
from colonnade.control.scaling import telling
from colonnade.control.scaling.metric_servers import MetricServers, Unanswered
from colonnade.control.scaling.usage import Used
from colonnade.control.workqueue import Key
from colonnade.resources import quantity

log = logging.getLogger(__name__)

LAST_VALUE = 120.0
KSERVE_REQUESTS = {"cpu": "1", "memory": "2Gi"}  # of a container whose manifest requests nothing

Pods = list[dict[str, Any]]


class Measuring:
    """Values of targets.

    Args:
        used: what the processes of a replica use, by the pod's key; None if it is not known.
        tell: the text of a replica's /metrics by the pod's key; None if it tells none.
        credentials: the decoded data of a Secret by namespace and name, or None if there is none.
    """

    def __init__(
        self,
        used: Callable[[Key], Used | None],
        tell: Callable[[Key], Awaitable[str | None]],
        credentials: Callable[[str, str], Mapping[str, str] | None],
        *,
        servers: MetricServers,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._used = used
        self._tell = tell
        self._credentials = credentials
        self._servers = servers
        self._clock = clock
        self._last: dict[tuple[str, Query], tuple[float, float]] = {}
        self._history: dict[tuple[str, Told], list[tuple[float, float]]] = {}

    async def values(self, namespace: str, targets: tuple[Target, ...], pods: Pods) -> tuple[float | None, ...]:
        """The value of each target over these replicas; None for what is not known."""
        return tuple(await asyncio.gather(*(self._value(namespace, target, pods) for target in targets)))

    async def _value(self, namespace: str, target: Target, pods: Pods) -> float | None:
        match target.source:
            case Usage() as usage:
                return self._usage(usage, pods)
            case Query() as query:
                return await self._query(namespace, query)
            case Told() as told:
                return await self._told(namespace, told, pods)

    def _usage(self, usage: Usage, pods: Pods) -> float | None:
        amounts = []
        for pod in pods:
            used = self._used(_key(pod))
            if used is not None:
                amount = used.cpu if usage.resource == "cpu" else used.memory
                amounts.append(100 * amount / _requested(pod, usage.resource) if usage.percent else amount)
        if not amounts:
            return None
        mean = sum(amounts) / len(amounts)
        return mean if usage.percent else mean * len(pods)  # those that are not known count as the others

    async def _query(self, namespace: str, query: Query) -> float | None:
        now, key = self._clock(), (namespace, query)
        try:
            credentials = self._credentials(namespace, query.secret) if query.secret else None
            value = await self._servers.ask(query, credentials)
        except Unanswered as error:
            log.warning("a metric is not known", extra={"query": query.query, "error": str(error)})
            at, value = self._last.get(key, (-LAST_VALUE, 0.0))
            return value if now - at < LAST_VALUE else None
        self._last = {each: seen for each, seen in self._last.items() if now - seen[0] < LAST_VALUE}
        self._last[key] = now, value
        return value

    async def _told(self, namespace: str, told: Told, pods: Pods) -> float | None:
        if not pods:
            return None
        texts = await asyncio.gather(*(self._tell(_key(pod)) for pod in pods))
        found = [telling.total(text, told.query) for text in texts if text is not None]
        values = [value for value in found if value is not None]
        if not values:
            return None
        now, key = self._clock(), (_owner(pods[0]), told)
        kept = [(at, value) for at, value in self._history.get(key, []) if now - at < telling.SPAN]
        self._history = {each: seen for each, seen in self._history.items() if now - seen[-1][0] < telling.SPAN}
        self._history[key] = [*kept, (now, sum(values))]
        return telling.over_time(self._history[key], told.operation)


def _key(pod: Mapping[str, Any]) -> Key:
    return Key(pod["metadata"]["namespace"], pod["metadata"]["name"])


def _owner(pod: Mapping[str, Any]) -> str:
    references = pod["metadata"].get("ownerReferences") or [{}]
    return f"{references[0].get('uid')}/{(pod['metadata'].get('labels') or {}).get('component')}"


def _requested(pod: Mapping[str, Any], resource: str) -> float:
    """What the containers of a pod request; its limit where there is no request, as in Kubernetes."""
    total = 0.0
    for container in pod["spec"]["containers"]:
        resources = container.get("resources") or {}
        given = {**KSERVE_REQUESTS, **(resources.get("limits") or {}), **(resources.get("requests") or {})}
        total += float(quantity.parse(given[resource]))
    return total or float(quantity.parse(KSERVE_REQUESTS[resource]))
