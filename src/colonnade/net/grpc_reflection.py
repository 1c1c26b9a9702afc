"""Server reflection (v1 and v1alpha) on exchanges: what grpcurl and its kin ask to learn which services there are."""

from __future__ import annotations

from colonnade.net import grpc
from colonnade.net.exchange import Exchange
from colonnade.wire import reflection
from colonnade.wire.reflection_pb2 import ServerReflectionRequest

_LIMIT = 64 << 10  # bytes of a question

PATHS = (
    b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)


class Reflection:
    """Answers reflection calls; a caller may keep its stream open as long as it likes, up to `close`."""

    def __init__(self) -> None:
        self._open: set[Exchange] = set()
        self._closed = False

    def __call__(self, exchange: Exchange) -> None:
        """Take one call."""

        def message(data: bytes) -> None:
            request = grpc.parsed(ServerReflectionRequest, data)
            grpc.start(exchange)
            grpc.write(exchange, reflection.answer(request).SerializeToString())

        def end() -> None:
            self._open.discard(exchange)
            grpc.finish(exchange)

        head = grpc.CallHead.read(exchange.headers)
        if not self._closed:
            self._open.add(exchange)
            exchange.on_disconnect(lambda: self._open.discard(exchange))
        grpc.stream(exchange, head, _LIMIT, message, end)

    def close(self) -> None:
        """End the streams that are open: nobody waits for their next question."""
        self._closed = True
        for exchange in self._open:
            grpc.finish(exchange)
        self._open.clear()
