"""The gRPC health service on exchanges. What is healthy is for its owner to say.

Source: grpc/health/v1/health.proto. A `Watch` ends when the server does, or it would hold up the end until the grace
period is over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from colonnade.errors import NotFound
from colonnade.net import grpc
from colonnade.net.exchange import Exchange
from colonnade.net.grpc import CallHead
from colonnade.wire.health_pb2 import HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse

_LIMIT = 64 << 10  # bytes of a request

_SERVING = HealthCheckResponse.SERVING
_NOT_SERVING = HealthCheckResponse.NOT_SERVING
_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN

Status = HealthCheckResponse.ServingStatus


class Health:
    """`grpc.health.v1.Health`.

    Args:
        serving: whether the service of a name answers; None if there is none of that name.
        names: all of them.

    Attributes:
        methods: what takes the calls, by path.
    """

    def __init__(self, serving: Callable[[str], bool | None], names: Callable[[], Iterable[str]]) -> None:
        self._serving = serving
        self._names = names
        self._closed = False
        self._watches: dict[Exchange, tuple[str, Status]] = {}  # what each asks for, and what it was told
        self.methods: dict[bytes, Callable[[Exchange, CallHead], None]] = {
            b"/grpc.health.v1.Health/Check": self._check,
            b"/grpc.health.v1.Health/List": self._list,
            b"/grpc.health.v1.Health/Watch": self._watch,
        }

    def changed(self) -> None:
        """Tell the watches what is new."""
        for exchange, (service, last) in list(self._watches.items()):
            status = self._status(service)
            if status != last:
                self._tell(exchange, service, status)

    def close(self) -> None:
        """End the watches; a new one ends after its first answer."""
        self._closed = True
        self.changed()
        watches, self._watches = self._watches, {}
        for exchange in watches:
            grpc.finish(exchange)

    def _check(self, exchange: Exchange, head: CallHead) -> None:
        def collected(body: bytes) -> None:
            service = grpc.parsed(HealthCheckRequest, body).service
            status = self._status(service)
            if status == _UNKNOWN:
                raise NotFound(f"no service {service}")
            grpc.reply(exchange, HealthCheckResponse(status=status).SerializeToString())

        grpc.collect(exchange, head, _LIMIT, collected)

    def _list(self, exchange: Exchange, head: CallHead) -> None:
        def collected(body: bytes) -> None:
            grpc.parsed(HealthListRequest, body)
            statuses = {name: HealthCheckResponse(status=self._status(name)) for name in self._names()}
            grpc.reply(exchange, HealthListResponse(statuses=statuses).SerializeToString())

        grpc.collect(exchange, head, _LIMIT, collected)

    def _watch(self, exchange: Exchange, head: CallHead) -> None:
        def collected(body: bytes) -> None:
            service = grpc.parsed(HealthCheckRequest, body).service
            grpc.start(exchange)
            exchange.on_disconnect(lambda: self._watches.pop(exchange, None))
            self._tell(exchange, service, self._status(service))
            if self._closed:
                del self._watches[exchange]
                grpc.finish(exchange)

        grpc.collect(exchange, head, _LIMIT, collected)

    def _tell(self, exchange: Exchange, service: str, status: Status) -> None:
        self._watches[exchange] = service, status
        grpc.write(exchange, HealthCheckResponse(status=status).SerializeToString())

    def _status(self, service: str) -> Status:
        serving = self._serving(service)
        if serving is None:
            return _UNKNOWN
        return _SERVING if serving else _NOT_SERVING
