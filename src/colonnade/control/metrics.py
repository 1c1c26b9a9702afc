"""What the control plane tells of its own decisions on `/metrics`: scaling, and what makes cold starts short.

What the gateway and replicas count they tell themselves. All numbers are asked for at the scrape, so that a service
that nobody looks at costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from colonnade.control.scaling.autoscaler import Scaled
from colonnade.control.workqueue import Key
from colonnade.observe.metrics import Registry
from colonnade.platforms.pool import Standing

PREFIX = "colonnade_control_"
_REVISION = ("namespace", "service", "component", "revision")


class ControlMetrics:
    """The metrics of one control plane."""

    def __init__(
        self,
        scaled: Callable[[], Iterable[Scaled]],
        parked: Callable[[], Mapping[str, int]],
        seeds: Callable[[], Iterable[Standing]],
    ) -> None:
        """What is asked at each scrape: revisions that are scaled, the bytes of each service's parked model, seeds."""
        self._scaled = scaled
        self._parked = parked
        self._seeds = seeds
        self._registry = Registry()
        gauge = self._registry.gauge
        self._wanted = gauge(f"{PREFIX}wanted_replicas", "Replicas that a revision shall have.", _REVISION)
        self._ready = gauge(f"{PREFIX}ready_replicas", "Replicas of it that take requests.", _REVISION)
        self._held = gauge(f"{PREFIX}held_requests", "Requests that wait for one of its replicas.", _REVISION)
        self._panic = gauge(f"{PREFIX}panic", "1 while its load is taken for a burst, or else 0.", _REVISION)
        self._numbers = gauge(f"{PREFIX}scaled_by", "What its last decision was made of.", (*_REVISION, "number"))
        self._bytes = gauge(
            f"{PREFIX}parked_bytes", "Of a sleeping service's model in memory.", ("namespace", "service")
        )
        self._pool = gauge(f"{PREFIX}pool_seeds", "Processes that fork replicas.", ("seed", "state"))
        self._forked = gauge(f"{PREFIX}pool_replicas", "Replicas that run and were forked.", ("seed",))

    def render(self) -> bytes:
        """The numbers of now, as Prometheus text."""
        for metric in (self._wanted, self._ready, self._held, self._panic, self._numbers, self._bytes):
            metric.remove()
        for one in self._scaled():
            self._wanted.labels(*one.key).set(one.wanted)
            self._ready.labels(*one.key).set(one.ready)
            self._held.labels(*one.key).set(one.held)
            if one.last is not None:
                self._panic.labels(*one.key).set(int(one.last.panic))
                for name, value in one.last.numbers.items():
                    self._numbers.labels(*one.key, name).set(value)
        for service, size in self._parked().items():
            namespace, _, name = service.partition("/")
            self._bytes.labels(*Key(namespace, name)).set(size)
        self._pool.remove()
        self._forked.remove()
        for seed in self._seeds():
            self._pool.labels(seed.name, "ready" if seed.ready else "starting").inc()
            self._forked.labels(seed.name).inc(seed.children)
        return self._registry.render()
