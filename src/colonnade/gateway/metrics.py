"""What the gateway counts: plain numbers per service, looked up once per service and not once per request."""

from __future__ import annotations

from collections.abc import Callable, Collection

from colonnade.observe.metrics import CounterChild, Registry

_LABELS = ("namespace", "service")


class ServiceMetrics:
    """The numbers of one service.

    Attributes:
        failures: attempts that a replica did not answer, retried ones included.
        retries: requests sent to another replica after that.
    """

    __slots__ = ("_grpc", "_grpc_seconds", "_http", "_http_seconds", "failures", "retries")

    def __init__(self, metrics: GatewayMetrics, namespace: str, name: str) -> None:
        requests = metrics.requests

        def by_code(protocol: str) -> Callable[[str], CounterChild]:
            return lambda code: requests.labels(namespace, name, protocol, code)

        http = by_code("http")
        self._http = [http(f"{leading}xx") for leading in range(1, 6)]
        self._grpc = by_code("grpc")
        self._http_seconds = metrics.seconds.labels(namespace, name, "http")
        self._grpc_seconds = metrics.seconds.labels(namespace, name, "grpc")
        self.failures = metrics.failures.labels(namespace, name)
        self.retries = metrics.retries.labels(namespace, name)

    def http(self, status: int, seconds: float) -> None:
        """Count an answer (499: the client left before it) and the time from request to its end."""
        self._http[min(status // 100, 5) - 1].inc()
        self._http_seconds.observe(seconds)

    def grpc(self, code: str, seconds: float) -> None:
        """Count the end of a call with its status code's name."""
        self._grpc(code).inc()
        self._grpc_seconds.observe(seconds)


class GatewayMetrics:
    """All numbers of one gateway."""

    def __init__(self) -> None:
        registry = Registry()
        self.requests = registry.counter(
            "colonnade_gateway_requests_total",
            "Requests by service, protocol and code: classes of HTTP status (a client that left counts as 4xx), "
            "names of gRPC status codes.",
            (*_LABELS, "protocol", "code"),
        )
        self.seconds = registry.histogram(
            "colonnade_gateway_request_seconds",
            "Time from a request's head to the end of its answer.",
            (*_LABELS, "protocol"),
        )
        self.failures = registry.counter(
            "colonnade_gateway_upstream_failures_total", "Attempts that a replica did not answer.", _LABELS
        )
        self.retries = registry.counter(
            "colonnade_gateway_retries_total", "Requests sent again after a replica did not answer.", _LABELS
        )
        self.unrouted = registry.counter("colonnade_gateway_unrouted_total", "Requests that no service was found for.")
        self._in_flight = registry.gauge("colonnade_gateway_in_flight", "Requests under way.", ("protocol",))
        self._registry = registry
        self._services: dict[tuple[str, str], ServiceMetrics] = {}

    def follow_in_flight(self, protocol: str, read: Callable[[], float]) -> None:
        """Ask `read` for the requests under way at each scrape."""
        self._in_flight.labels(protocol).follow(read)

    def service(self, namespace: str, name: str) -> ServiceMetrics:
        """The numbers of a service; the same object for as long as the service exists."""
        found = self._services.get((namespace, name))
        if found is None:
            found = self._services[namespace, name] = ServiceMetrics(self, namespace, name)
        return found

    def keep(self, services: Collection[tuple[str, str]]) -> None:
        """Forget all services but these, so that scrapes do not grow with every service that ever was."""
        for key in self._services.keys() - services:
            del self._services[key]
            for metric in (self.requests, self.failures, self.retries):
                metric.remove(*key)
            self.seconds.remove(*key)

    def render(self) -> bytes:
        """Prometheus text, of type `observe.metrics.CONTENT_TYPE`."""
        return self._registry.render()
