"""`ModelInfer` over gRPC: like V2 over HTTP, with the model's name in the message and the status in the trailers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from time import monotonic
from typing import Any

from colonnade.errors import TooLarge
from colonnade.model.results import whole
from colonnade.net import Exchange, Header, grpc
from colonnade.net.grpc import CallHead
from colonnade.server import parameters
from colonnade.server.call import Body, HttpCall, model_fields
from colonnade.server.execution import Ticket
from colonnade.server.identity import new_id
from colonnade.server.metrics import ReplicaMetrics, Traffic
from colonnade.server.repository import Hosted, Repository
from colonnade.wire import failures, grpc_framing
from colonnade.wire import grpc as codec
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.grpc_framing import CONTENT_TYPE, OK, Code
from colonnade.wire.tensors import InferRequest

INFER = f"/{codec.SERVICE}/ModelInfer".encode()
_DEFLATE_ABOVE = 1024  # bytes of a message that are worth packing


def begin_infer(repository: Repository, metrics: ReplicaMetrics, limit: int, exchange: Exchange) -> None:
    """Takes one call. What is wrong with it before its model is known is refused here.

    Args:
        repository: the models.
        metrics: what is counted.
        limit: largest message in bytes, both ways.
        exchange: the call.
    """
    head: CallHead | None = exchange.memo
    if head is None:
        head = exchange.memo = CallHead.read(exchange.headers)
    deadline = None if head.timeout is None else monotonic() + head.timeout

    def collected(body: bytes) -> None:
        try:
            message, packed = grpc_framing.whole(body, limit)
            if packed:
                message = grpc_framing.inflated(message, head.coding, limit)
            parsed = grpc.parsed(pb.ModelInferRequest, message)
            hosted = repository.get(parsed.model_name)
        except Exception as error:
            grpc.refuse(exchange, error)
            return
        traffic = metrics.traffic(hosted.name, GrpcInferCall.protocol)
        GrpcInferCall(exchange, hosted, traffic, limit, head, parsed, len(message), deadline)

    exchange.collect(collected)


class GrpcInferCall(HttpCall):
    """One `ModelInfer`, once its message has come."""

    protocol = "grpc"

    __slots__ = ("_head", "_message", "_request", "_size", "_until")

    _request: InferRequest

    def __init__(
        self,
        exchange: Exchange,
        hosted: Hosted,
        traffic: Traffic,
        limit: int,
        head: CallHead,
        message: pb.ModelInferRequest,
        size: int,
        deadline: float | None,
    ) -> None:
        """`deadline`: monotonic seconds."""
        self._head = head
        self._message = message
        self._size = size
        self._until = deadline
        super().__init__(exchange, hosted, message.model_version or None, traffic, limit)

    def deadline_of(self, exchange: Exchange) -> float | None:
        return self._until

    def start(self, body: Body) -> Ticket | None:
        self._request = request = codec.decode(self._message)
        request.id = request.id or new_id()
        self.deadline = parameters.deadline(request, self.deadline)
        return self.run(self.execution.infer, request, self._size)

    def write(self, result: Any) -> None:
        message = codec.encode(whole(result, self.hosted.name), self._request).SerializeToString()
        size, limit = len(message), self._max_body
        if size > limit:
            raise TooLarge(f"The answer has {size} bytes, over the limit of {limit} (--max-message); ask for less")
        metadata = model_fields(self._filled) if self._filled else ()
        packs = self._head.packs
        if packs is None or size < _DEFLATE_ABOVE:
            self._send(grpc_framing.frame(message), (), metadata)
            return
        self._off_loop(
            partial(grpc_framing.deflated, message, packs),
            lambda packed: self._send(packed, [(b"grpc-encoding", packs)], metadata),
        )

    def fail(self, error: Exception) -> None:
        """Ends the call with a failure's status."""
        if self._open:
            known = failures.opaque(error)
            self.close(Code(failures.grpc_status(known)[0]).name)
            grpc.refuse(self.exchange, known)

    def _receive(self, body: Body) -> None:
        self._start(body)  # the message was taken out of it already

    def _send(self, framed: bytes, headers: Sequence[Header], metadata: Sequence[Header]) -> None:
        self.exchange.reply(200, framed, CONTENT_TYPE, headers, (*OK, *metadata) if metadata else OK)
        self.close(Code.OK.name)

    def _leave(self) -> None:
        ticket = self.ticket or self
        self.close(Code.CANCELLED.name)
        ticket.cancel()
