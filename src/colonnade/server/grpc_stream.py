"""`ModelStreamInfer` over gRPC: Triton's extension of the Open Inference Protocol, a stream of requests and of answers.

Answers come in the order of the requests, whichever models these name. A request that fails is answered by
`error_message` and its id, and the stream goes on; what is no message ends it with a status. Each answer says in the
parameter `triton_final_response` whether it is the last one of its request; a request with
`triton_enable_empty_final_response` to a model that answers in parts gets an empty answer that says so.
"""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

from colonnade.errors import DeadlineExceeded, TooLarge, Unavailable
from colonnade.net import Exchange, grpc
from colonnade.net.grpc import CallHead
from colonnade.server.conversation import Conversation, Turn
from colonnade.server.execution import Execution
from colonnade.server.metrics import ReplicaMetrics, Traffic
from colonnade.server.repository import Hosted, Repository
from colonnade.wire import failures
from colonnade.wire import grpc as codec
from colonnade.wire import openinference_pb2 as pb
from colonnade.wire.grpc_framing import Code
from colonnade.wire.tensors import InferRequest, InferResponse

STREAM = f"/{codec.SERVICE}/ModelStreamInfer".encode()
PROTOCOL = "grpc"
_FINAL = "triton_final_response"


class InferStreams:
    """The calls of `ModelStreamInfer` that are open."""

    def __init__(self, repository: Repository, metrics: ReplicaMetrics, limit: int) -> None:
        """`limit`: largest message in bytes, both ways."""
        self._repository = repository
        self._metrics = metrics
        self._limit = limit
        self._open: set[InferStream] = set()
        self._closed = False

    def __call__(self, exchange: Exchange, head: CallHead) -> None:
        """Take one call."""
        stream = InferStream(exchange, head, self._limit, self._metrics, self._open)
        if self._closed:
            stream.stop()
            return
        grpc.stream(exchange, head, self._limit, partial(self._take, stream), stream.end, stream.fail)

    def close(self) -> None:
        """Answer what was asked, and end the streams: their callers go on elsewhere."""
        self._closed = True
        for stream in list(self._open):
            stream.stop()

    def _take(self, stream: InferStream, data: bytes) -> None:
        message = grpc.parsed(pb.ModelInferRequest, data)
        find = partial(self._repository.get, message.model_name)
        decode = partial(_decoded, message)
        stream.ask(Turn(stream, find, message.model_version or None, decode, len(data), message.id))


class InferStream(Conversation):
    """One call of `ModelStreamInfer`."""

    ok = Code.OK.name
    left = Code.CANCELLED.name

    def __init__(
        self, exchange: Exchange, head: CallHead, limit: int, metrics: ReplicaMetrics, streams: set[InferStream]
    ) -> None:
        """`streams`: those that are open, of which it is one while it is."""
        super().__init__(exchange.headers, None if head.timeout is None else monotonic() + head.timeout)
        self._exchange = exchange
        self._limit = limit
        self._metrics = metrics
        self._streams = streams
        self._stopped = False
        self._overdue: asyncio.TimerHandle | None = None
        streams.add(self)
        if head.timeout is not None:
            late = DeadlineExceeded("The deadline of the stream has passed.")
            self._overdue = asyncio.get_running_loop().call_later(head.timeout, self.fail, late)
        exchange.on_disconnect(self._close)
        exchange.on_writable(partial(self.keeps_up, False), partial(self.keeps_up, True))

    def stop(self) -> None:
        """See `Conversation.stop`; the call ends with a status that sends its caller elsewhere."""
        self._stopped = True
        super().stop()

    def fail(self, error: Exception) -> None:
        """End the call with a failure's status, whatever is under way."""
        self._close()
        grpc.refuse(self._exchange, error)

    def traffic(self, hosted: Hosted) -> Traffic:
        return self._metrics.traffic(hosted.name, PROTOCOL)

    def tell(self, turn: Turn, response: InferResponse, last: bool | None) -> None:
        message = codec.encode(response, turn.request)
        message.parameters[_FINAL].bool_param = last is None
        self._send(pb.ModelStreamInferResponse(infer_response=message))

    def tell_end(self, turn: Turn) -> None:
        if turn.wants_end:
            message = pb.ModelInferResponse(
                model_name=turn.request.model_name, model_version=turn.execution.version, id=turn.identity
            )
            message.parameters[_FINAL].bool_param = True
            self._send(pb.ModelStreamInferResponse(infer_response=message))

    def tell_error(self, turn: Turn, error: Exception) -> str:
        known = failures.opaque(error)
        message = pb.ModelInferResponse(id=turn.identity)
        message.parameters[_FINAL].bool_param = True
        text = known.message.encode(errors="replace").decode()
        self._send(pb.ModelStreamInferResponse(error_message=text, infer_response=message))
        return Code(failures.grpc_status(known)[0]).name

    async def drain(self) -> None:
        await self._exchange.drain()

    def hold(self, yes: bool) -> None:
        if yes:
            self._exchange.pause()
        else:
            self._exchange.resume()

    def ended(self) -> None:
        self._close()
        if self._stopped:
            error = Unavailable("The server ends; what was not answered was not executed, so ask again elsewhere.")
            grpc.refuse(self._exchange, error)
        else:
            grpc.finish(self._exchange)

    def _send(self, message: pb.ModelStreamInferResponse) -> None:
        data = message.SerializeToString()
        if len(data) > self._limit:
            text = f"The answer has {len(data)} bytes, over the limit of {self._limit} (--max-message); ask for less"
            raise TooLarge(text)
        grpc.start(self._exchange)
        grpc.write(self._exchange, data)

    def _close(self) -> None:
        """Hold nothing any more."""
        self._streams.discard(self)
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None
        self.leave()


def _decoded(message: pb.ModelInferRequest, execution: Execution) -> InferRequest:
    return codec.decode(message)
