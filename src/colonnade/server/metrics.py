"""What a replica counts, under KServe's names where KServe has one."""

from __future__ import annotations

from colonnade.observe import Registry
from colonnade.observe.metrics import Counter, CounterChild, GaugeChild
from colonnade.server.hooks import HOOKS, Observe
from colonnade.server.repository import Repository

# The buckets of Prometheus' Python client, which KServe's histograms have.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

_ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)

CLIENT_LEFT = 499  # the code of a request whose client left before its answer, as nginx counts it


class Traffic:
    """Requests of one model over one protocol."""

    __slots__ = ("_by_code", "_in_flight", "_labels", "_total")

    def __init__(self, total: Counter, in_flight: GaugeChild, model: str, protocol: str) -> None:
        self._total = total
        self._in_flight = in_flight
        self._labels = (model, protocol)
        self._by_code: dict[int | str, CounterChild] = {}

    def begin(self) -> None:
        """A request has come."""
        self._in_flight.value += 1

    def end(self, code: int | str) -> None:
        """It is done, with this status."""
        self._in_flight.value -= 1
        counter = self._by_code.get(code)
        if counter is None:
            counter = self._by_code[code] = self._total.labels(*self._labels, str(code))
        counter.value += 1


class ReplicaMetrics:
    """The metrics of one replica. They belong to the event loop's thread."""

    def __init__(self) -> None:
        registry = self._registry = Registry()
        label = ("model_name",)
        self._hooks = {
            hook: registry.histogram(f"request_{hook}_seconds", f"Time of the model's {hook}.", label, BUCKETS)
            for hook in HOOKS
        }
        self._rows = registry.histogram(
            "request_batch_rows", "Rows of each call of the model that requests may share.", label, _ROWS
        )
        self._total = registry.counter(
            "request_total", "Inference requests by protocol and status.", ("model_name", "protocol", "code")
        )
        self._in_flight = registry.gauge("requests_in_flight", "Inference requests without an answer yet.", label)
        self._queued = registry.gauge("requests_queued", "Calls at the model's thread, running or waiting.", label)
        self._cached = registry.counter(
            "response_cache_total", "Requests for which a kept answer was looked for.", ("model_name", "result")
        )
        self._cache_bytes = registry.gauge("response_cache_bytes", "Bytes of kept answers.", label)
        self._ready = registry.gauge("model_ready", "1 if the model answers, else 0.", label)
        self._traffic: dict[tuple[str, str], Traffic] = {}

    def traffic(self, model: str, protocol: str) -> Traffic:
        """The counts of a hosted model over one protocol; the same object each time."""
        key = (model, protocol)
        traffic = self._traffic.get(key)
        if traffic is None:
            traffic = self._traffic[key] = Traffic(self._total, self._in_flight.labels(model), model, protocol)
        return traffic

    def observer(self, model: str, hook: str) -> Observe:
        """What takes the seconds of each call of a hosted model's hook, or the rows of each of its batches."""
        if hook == "batch":
            return self._rows.labels(model).observe
        return self._hooks[hook].labels(model).observe

    def render(self, repository: Repository) -> bytes:
        """All metrics as Prometheus text; every hosted model has its series, also before its first request."""
        for name, hosted in repository.hosted.items():
            for histogram in self._hooks.values():
                histogram.labels(name)
            self._in_flight.labels(name)
            self._queued.labels(name).set(0 if hosted.execution is None else hosted.execution.load)
            self._ready.labels(name).set(int(hosted.ready))
            if hosted.cache is not None:
                self._cached.labels(name, "hit").value = hosted.cache.hits
                self._cached.labels(name, "miss").value = hosted.cache.misses
                self._cache_bytes.labels(name).set(hosted.cache.size)
        return self._registry.render()
