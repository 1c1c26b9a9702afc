"""The gRPC calls that the gateway answers itself: about the server, its health, and its services."""

from __future__ import annotations

from collections.abc import Callable

from colonnade.gateway.own import EXTENSIONS
from colonnade.net import Exchange, grpc
from colonnade.net.grpc import CallHead
from colonnade.net.grpc_health import Health
from colonnade.net.grpc_reflection import PATHS, Reflection
from colonnade.version import __version__
from colonnade.wire import openinference_pb2 as pb

_SERVICE = "inference.GRPCInferenceService"
_NAMES = ("", _SERVICE)
_ANSWERS = {
    f"/{_SERVICE}/ServerLive".encode(): pb.ServerLiveResponse(live=True).SerializeToString(),
    f"/{_SERVICE}/ServerReady".encode(): pb.ServerReadyResponse(ready=True).SerializeToString(),
    f"/{_SERVICE}/ServerMetadata".encode(): pb.ServerMetadataResponse(
        name="colonnade", version=__version__, extensions=EXTENSIONS
    ).SerializeToString(),
}


class Own:
    """Answers them. `ready`: whether the gateway takes new calls; `limit`: largest message in bytes."""

    def __init__(self, ready: Callable[[], bool], limit: int) -> None:
        self._limit = limit
        self._health = Health(lambda name: ready() if name in _NAMES else None, lambda: _NAMES)
        self._reflection = Reflection()

    def __call__(self, exchange: Exchange) -> None:
        """Answer one call."""
        path = exchange.path
        answer = _ANSWERS.get(path)
        head = CallHead.read(exchange.headers)
        if answer is not None:
            whole = answer
            grpc.collect(exchange, head, self._limit, lambda _: grpc.reply(exchange, whole))
        elif path in self._health.methods:
            self._health.methods[path](exchange, head)
        elif path in PATHS:
            self._reflection(exchange)
        else:
            grpc.unimplemented(exchange)

    def close(self) -> None:
        """End the streams that are open."""
        self._health.close()
        self._reflection.close()
