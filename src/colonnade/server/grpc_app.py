"""gRPC at a replica: from a call's path to what answers it.

The application of every port and socket of a replica, beside the routes of HTTP and on the same models. It is imported
with the first call: protobuf and its descriptors cost a start without gRPC some 50 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from colonnade.errors import MethodNotAllowed
from colonnade.net import Exchange, grpc
from colonnade.net.grpc import CallHead
from colonnade.net.grpc_reflection import PATHS, Reflection
from colonnade.server.grpc_infer import INFER, begin_infer
from colonnade.server.grpc_service import InferenceService
from colonnade.server.grpc_stream import STREAM, InferStreams
from colonnade.server.health import health
from colonnade.server.metrics import ReplicaMetrics
from colonnade.server.repository import Repository


class GrpcApp:
    """The gRPC application of a replica: the inference protocol, health and reflection."""

    def __init__(self, repository: Repository, metrics: ReplicaMetrics, max_message: int) -> None:
        """`max_message`: largest message in bytes, both ways."""
        self._infer = partial(begin_infer, repository, metrics, max_message)
        self._repository = repository
        self._reflection = Reflection()
        self._streams = InferStreams(repository, metrics, max_message)
        service = InferenceService(repository)
        self._methods: dict[bytes, Callable[[Exchange, CallHead], None]] = {
            **{path: partial(service.call, method) for path, method in service.methods.items()},
            **health(repository).methods,
            STREAM: self._streams,
        }
        repository.on_change.append(self._changed)

    def __call__(self, exchange: Exchange) -> None:
        """Take one call."""
        try:
            if exchange.path == INFER and exchange.method == b"POST":
                self._infer(exchange)
            else:
                self._other(exchange)
        except Exception as error:
            grpc.refuse(exchange, error)

    def _other(self, exchange: Exchange) -> None:
        if exchange.method != b"POST":
            raise MethodNotAllowed("a gRPC call is a POST")
        if exchange.path in PATHS:
            self._reflection(exchange)
            return
        method = self._methods.get(exchange.path)
        if method is None:
            grpc.unimplemented(exchange)
        else:
            method(exchange, CallHead.read(exchange.headers))

    def _changed(self) -> None:
        if self._repository.draining:
            self._reflection.close()
            self._streams.close()
