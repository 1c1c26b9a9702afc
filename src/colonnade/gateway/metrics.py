"""What the gateway counts: plain numbers per revision, looked up once per revision and not once per request."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from time import monotonic, time
from typing import NamedTuple

from colonnade.gateway.guard import Guard
from colonnade.observe import latency
from colonnade.observe.metrics import SECONDS, Counter, CounterChild, Gauge, Registry

Key = tuple[str, str, str, str]
"""Namespace, service, component and revision; the last one is empty for what is answered before one is chosen."""

_LABELS = ("namespace", "service", "component", "revision")
_SERVER_FAULTS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})  # of gRPC codes
THROTTLE = "throttle"
REASONS = ("breaker", "queue", "share", THROTTLE)  # of refusals; the throttle answers 429, the others 503

# Of latencies: those that scrapes show and those that analysis compares, so that a request is counted once for both.
_BOUNDS = tuple(sorted({*SECONDS, *latency.BOUNDS}))
_BUCKETS = (*(latency.bucket(bound) for bound in _BOUNDS), len(latency.BOUNDS) - 1)  # the bucket of each of them

_READS: tuple[Callable[[Guard], float], ...] = (
    lambda guard: guard.in_flight,
    lambda guard: guard.state,
    lambda guard: guard.ejected(monotonic()),
    lambda guard: guard.trips,
    lambda guard: guard.ejections,
    lambda guard: guard.retries_refused,
)


class Ended(NamedTuple):
    """Requests that ended, and those of them that ended with 5xx, or with a gRPC code that means the same."""

    answers: int
    errors: int


class RevisionMetrics:
    """The numbers of one revision.

    Attributes:
        failures: attempts that a replica did not answer, retried ones included.
        retries: requests sent to another replica after that.
        since: Unix time at which the counts began.
    """

    __slots__ = (
        "_by_code",
        "_followed",
        "_grpc",
        "_grpc_seconds",
        "_http",
        "_http_seconds",
        "_log",
        "_logged",
        "_shadow",
        "_shadowed",
        "_shed",
        "failures",
        "retries",
        "since",
    )

    def __init__(self, metrics: GatewayMetrics, key: Key) -> None:
        requests = metrics.requests

        def by_code(protocol: str) -> Callable[[str], CounterChild]:
            return lambda code: requests.labels(*key, protocol, code)

        http = by_code("http")
        self._http = [http(f"{leading}xx") for leading in range(1, 6)]
        self._grpc = by_code("grpc")
        self._by_code: dict[str, CounterChild] = {}
        self._shadow: Callable[[str], CounterChild] = lambda outcome: metrics.shadow.labels(*key, outcome)
        self._shadowed: dict[str, CounterChild] = {}
        self._log: Callable[[str], CounterChild] = lambda outcome: metrics.payloads.labels(*key, outcome)
        self._logged: dict[str, CounterChild] = {}
        self.since = time()
        self._http_seconds = metrics.seconds.labels(*key, "http")
        self._grpc_seconds = metrics.seconds.labels(*key, "grpc")
        self.failures = metrics.failures.labels(*key)
        self.retries = metrics.retries.labels(*key)
        self._shed = {reason: metrics.shed.labels(*key, reason) for reason in REASONS}
        self._followed = [metric.labels(*key) for metric in metrics.followed]

    def follow(self, guard: Guard) -> None:
        """Ask the guard of the revision for its numbers at each scrape."""
        for child, read in zip(self._followed, _READS, strict=True):
            child.follow(partial(read, guard))

    def shed(self, reason: str) -> None:
        """Count a request that the guard refused, beside its answer."""
        self._shed[reason].inc()

    def http(self, status: int, seconds: float) -> None:
        """Count an answer (499: the client left before it) and the time from request to its end."""
        self._http[min(status // 100, 5) - 1].inc()
        self._http_seconds.observe(seconds)

    def grpc(self, code: str, seconds: float) -> None:
        """Count the end of a call with its status code's name."""
        child = self._by_code.get(code)
        if child is None:
            child = self._by_code[code] = self._grpc(code)
        child.inc()
        self._grpc_seconds.observe(seconds)

    def shadowed(self, outcome: str) -> None:
        """Count what came of a request that was to be copied to this revision."""
        child = self._shadowed.get(outcome)
        if child is None:
            child = self._shadowed[outcome] = self._shadow(outcome)
        child.inc()

    def shadow(self) -> dict[str, int]:
        """Such requests so far, by what came of them."""
        return {outcome: int(child.value) for outcome, child in self._shadowed.items()}

    def logged(self, outcome: str) -> None:
        """Count what came of a request whose payloads were to be logged."""
        child = self._logged.get(outcome)
        if child is None:
            child = self._logged[outcome] = self._log(outcome)
        child.inc()

    def payloads(self) -> dict[str, int]:
        """Such requests so far, by what came of them."""
        return {outcome: int(child.value) for outcome, child in self._logged.items()}

    def ended(self) -> Ended:
        """All answers so far, without those that say that a request was shed: they tell nothing of the revision."""
        answers = sum(child.value for child in self._http)
        errors = self._http[4].value
        for code, child in self._by_code.items():
            answers += child.value
            if code in _SERVER_FAULTS:
                errors += child.value
        shed = sum(child.value for child in self._shed.values())
        return Ended(int(answers - shed), int(errors - shed + self._shed[THROTTLE].value))

    def latencies(self) -> list[int]:
        """Answers so far in each bucket of `observe.latency`, of both protocols."""
        found = [0] * len(latency.BOUNDS)
        for counts in (self._http_seconds.counts, self._grpc_seconds.counts):
            for bucket, count in zip(_BUCKETS, counts, strict=True):
                found[bucket] += count
        return found


class GatewayMetrics:
    """All numbers of one gateway."""

    def __init__(self) -> None:
        registry = Registry()
        self.requests = registry.counter(
            "colonnade_gateway_requests_total",
            "Requests by revision, protocol and code: classes of HTTP status (a client that left counts as 4xx), "
            "names of gRPC status codes.",
            (*_LABELS, "protocol", "code"),
        )
        self.seconds = registry.histogram(
            "colonnade_gateway_request_seconds",
            "Time from a request's head to the end of its answer.",
            (*_LABELS, "protocol"),
            _BOUNDS,
            SECONDS,
        )
        self.failures = registry.counter(
            "colonnade_gateway_upstream_failures_total", "Attempts that a replica did not answer.", _LABELS
        )
        self.retries = registry.counter(
            "colonnade_gateway_retries_total", "Requests sent again after a replica did not answer.", _LABELS
        )
        self.shed = registry.counter(
            "colonnade_gateway_shed_total",
            "Requests refused at once: `breaker`, no replica answered for a while; `queue`, too many wait for a "
            "replica; `share`, too many are under way; `throttle`, the replicas refuse most of them.",
            (*_LABELS, "reason"),
        )
        self.shadow = registry.counter(
            "colonnade_gateway_shadow_total",
            "Requests that were to be copied to a shadow revision: its answer was `equal` or `different`, it `failed` "
            "to answer, the copy was `dropped`, or an answer was too large and stayed `uncompared`.",
            (*_LABELS, "result"),
        )
        self.payloads = registry.counter(
            "colonnade_gateway_payloads_total",
            "Requests whose payloads were to be logged, by result: written, dropped since too many were under way, "
            "failed as the sink did not take them, or lost with the process that writes.",
            (*_LABELS, "result"),
        )
        self.followed: list[Counter | Gauge] = [
            registry.gauge("colonnade_gateway_service_in_flight", "Requests of a revision under way.", _LABELS),
            registry.gauge("colonnade_gateway_breaker_state", "Of a revision: 0 closed, 1 half-open, 2 open.", _LABELS),
            registry.gauge(
                "colonnade_gateway_ejected_replicas", "Replicas that get no requests since they failed.", _LABELS
            ),
            registry.counter("colonnade_gateway_breaker_trips_total", "Openings of the breaker.", _LABELS),
            registry.counter("colonnade_gateway_ejections_total", "Ejections of replicas.", _LABELS),
            registry.counter(
                "colonnade_gateway_retries_refused_total", "Retries that the budget had no room for.", _LABELS
            ),
        ]
        self.unrouted = registry.counter("colonnade_gateway_unrouted_total", "Requests that no service was found for.")
        self._in_flight = registry.gauge("colonnade_gateway_in_flight", "Requests under way.", ("protocol",))
        registry.gauge("colonnade_gateway_processes", "Gateway processes that these numbers are of.").set(1)
        self._registry = registry
        self._revisions: dict[Key, RevisionMetrics] = {}

    def follow_in_flight(self, protocol: str, read: Callable[[], float]) -> None:
        """Ask `read` for the requests under way at each scrape."""
        self._in_flight.labels(protocol).follow(read)

    def revision(self, key: Key) -> RevisionMetrics:
        """The numbers of a revision; the same object for as long as the revision exists."""
        found = self._revisions.get(key)
        if found is None:
            found = self._revisions[key] = RevisionMetrics(self, key)
        return found

    def keep(self, revisions: Collection[Key]) -> None:
        """Forget all revisions but these, so that scrapes do not grow with every revision that ever was."""
        for key in self._revisions.keys() - revisions:
            del self._revisions[key]
            for metric in (
                self.requests,
                self.failures,
                self.retries,
                self.shed,
                self.shadow,
                self.payloads,
                *self.followed,
            ):
                metric.remove(*key)
            self.seconds.remove(*key)

    def render(self) -> bytes:
        """Prometheus text, of type `observe.metrics.CONTENT_TYPE`."""
        return self._registry.render()
