"""V2 over a WebSocket: each message of text is an inference request as JSON, and its answer is one, in the same order.

A request that fails is answered by V2's error object with the request's id, and the socket stays open. A model that
answers in parts sends a message for each, with the parameter `triton_final_response` false, and behind them an answer
without outputs where it is true.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import msgspec

from colonnade.errors import InvalidInput
from colonnade.net import Exchange
from colonnade.net.handshake import accepted
from colonnade.net.websocket import GOING_AWAY, WebSocket
from colonnade.server.conversation import Conversation, Turn
from colonnade.server.execution import Execution
from colonnade.server.metrics import CLIENT_LEFT, ReplicaMetrics, Traffic
from colonnade.server.repository import Hosted
from colonnade.wire import failures
from colonnade.wire import v2 as codec
from colonnade.wire.tensors import InferRequest, InferResponse

if TYPE_CHECKING:
    from colonnade.net.server import HttpServer

PROTOCOL = "websocket"
_FINAL = "triton_final_response"

_encode = msgspec.json.Encoder().encode


def begin(exchange: Exchange, hosted: Hosted, version: str | None, metrics: ReplicaMetrics, limit: int) -> None:
    """Take up a handshake.

    Args:
        exchange: the handshake.
        hosted: the model that the requests are for.
        version: of it, if the path names one.
        metrics: what is counted.
        limit: largest message in bytes.

    Raises:
        Error: the handshake is refused, or the model does not serve.
    """
    hosted.serving(version)
    fields = accepted(exchange)

    def make(server: HttpServer) -> WebSocket:
        socket = WebSocket(server, limit)
        socket.listen(SocketConversation(socket, exchange, hosted, version, metrics))
        return socket

    exchange.upgrade(fields, make)


class SocketConversation(Conversation):
    """The requests of one WebSocket. Is its `Listener`."""

    ok = 200
    left = CLIENT_LEFT

    def __init__(
        self, socket: WebSocket, exchange: Exchange, hosted: Hosted, version: str | None, metrics: ReplicaMetrics
    ) -> None:
        super().__init__(exchange.headers, None)
        self._socket = socket
        self._hosted = hosted
        self._version = version
        self._metrics = metrics

    def message(self, text: bytes) -> None:
        """Take a request."""
        decode = partial(_decoded, text, self._hosted.name)
        self.ask(Turn(self, lambda: self._hosted, self._version, decode, len(text)))

    def traffic(self, hosted: Hosted) -> Traffic:
        return self._metrics.traffic(hosted.name, PROTOCOL)

    def tell(self, turn: Turn, response: InferResponse, last: bool | None) -> None:
        if last is not None:
            response.parameters = {**(response.parameters or {}), _FINAL: last}
        header_length, chunks = codec.encode(response, turn.request)
        if header_length is not None:
            raise InvalidInput("A WebSocket carries no binary tensors; ask for the outputs as JSON")
        self._socket.send(b"".join(chunks))

    def tell_end(self, turn: Turn) -> None:
        end = InferResponse(turn.request.model_name, [], turn.identity, turn.execution.version, {_FINAL: True})
        self._socket.send(b"".join(codec.encode(end, InferRequest(end.model_name, []))[1]))

    def tell_error(self, turn: Turn, error: Exception) -> int:
        known = failures.opaque(error)
        said = {"error": known.message.encode(errors="replace").decode()}
        self._socket.send(_encode({**said, "id": turn.identity} if turn.identity else said))
        return known.status

    async def drain(self) -> None:
        await self._socket.drain()

    def hold(self, yes: bool) -> None:
        self._socket.hold(yes)

    def ended(self) -> None:
        self._socket.close(GOING_AWAY, "the server ends")


def _decoded(text: bytes, name: str, execution: Execution) -> InferRequest:
    return codec.decode(text, None, name, execution.version)
