"""One gRPC call on its way to a replica: a `Forward` whose failures are gRPC statuses.

Messages are never parsed, so methods that the gateway has never heard of pass as well, in all four streaming forms.
Only their lengths are looked at, which are bounded here for servers that know no bound.
"""

from __future__ import annotations

from collections.abc import Sequence

from colonnade.errors import TooLarge
from colonnade.gateway.forward import Forward, Sender
from colonnade.gateway.forwarding import Header, response_headers
from colonnade.gateway.replica import Replica
from colonnade.gateway.revision import Revision
from colonnade.gateway.way import Way
from colonnade.net import Exchange, Part, grpc
from colonnade.net.mux import AnswerHead
from colonnade.wire.failures import grpc_code
from colonnade.wire.grpc_framing import Code, MessageSizes, code_of

_STATUS = b"grpc-status"

# What an answer with such a code says of the replica, in the terms of HTTP.
_AS_HTTP = {
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL: 500,
    Code.UNKNOWN: 500,
    Code.DATA_LOSS: 500,
}


class GrpcForward(Forward):
    """One call and the replica that answers it."""

    _code: Code | None = None  # of the answer, once it is known
    _only: Sequence[Header] = ()  # the trailers of an answer that has nothing else
    _sizes: MessageSizes | None = None

    def __init__(self, proxy: Sender, exchange: Exchange, way: Way, revision: Revision, limit: int) -> None:
        """`limit`: largest message of the request in bytes."""
        super().__init__(proxy, exchange, way, revision)
        self._limit = limit

    def begin(self) -> None:
        """Start with what comes of the body."""
        self._exchange.bounded = False  # its messages are
        super().begin()

    def begin_with(self, parts: list[bytes], ended: bool) -> None:
        """Start with parts of the body that were taken already; `ended`: they are all of it."""
        exchange = self._exchange
        exchange.bounded = False
        self._enter()
        try:
            self._take_rest(parts, ended)
        except Exception:
            self._abandon(500)
            raise

    def _take_rest(self, parts: list[bytes], ended: bool) -> None:
        exchange = self._exchange
        if ended:
            self._collected(b"".join(parts))
            return
        self._streamed = True
        self._replay = []
        for part in parts:
            self._body_part(part)
        if exchange.closed:
            return
        self._send()
        self._stream()

    # The request.

    def _collected(self, body: Part) -> None:
        if len(body) <= self._limit or self._fits(body):
            super()._collected(body)

    def _body_part(self, part: bytes) -> None:
        if self._fits(part):
            super()._body_part(part)

    def _fits(self, part: Part) -> bool:
        sizes = self._sizes
        if sizes is None:
            sizes = self._sizes = MessageSizes(self._limit)
        try:
            sizes.feed(part)
        except TooLarge as error:
            self._settle()
            self._fail(error.status, error.message)
            return False
        return not self._over

    # The answer.

    def whole(self, head: AnswerHead, identity: bytes, body: Part) -> None:
        self._code = _code((*head.trailers, *head.fields), Code.UNKNOWN)
        super().whole(head, identity, body)

    def head(self, status: int, headers: list[Header]) -> None:
        self._code = _code(headers)
        if self._code is None:
            super().head(status, headers)
            return
        # An answer without messages: what is its head is its trailers as well, and the caller takes it for those.
        self._replay = None
        self._status = status
        if self._replica is not None:
            self._judge(self._replica, status)
        self._only, content_type, _ = response_headers(headers)
        self._head = [], content_type, None
        self._parts = []

    def end(self, trailers: Sequence[Header] = ()) -> None:
        if self._code is None:
            self._code = _code(trailers, Code.UNKNOWN)
            if self._replica is not None:
                self._judge(self._replica, 200)
        super().end(self._only or trailers)

    def _judge(self, replica: Replica, status: int) -> None:
        if self._code is not None:
            status = _AS_HTTP.get(self._code, status)
        super()._judge(replica, status)

    # Ends.

    def _fail(self, status: int, message: str, headers: list[Header] | None = None) -> None:
        self._code = Code(grpc_code(status))
        after = next((float(value) for name, value in headers or () if name == b"retry-after"), None)
        grpc.end(self._exchange, self._code, message, retry_after=after)
        self._done(status)

    def _cut(self, status: int) -> None:
        """End an answer that has begun; a caller takes the status for the server's."""
        route = self._revision.route
        self._code = Code(grpc_code(status))
        grpc.end(self._exchange, self._code, f"A replica of service {route.namespace}/{route.name} broke off.")
        self._done(status)

    def _client_gone(self) -> None:
        self._code = Code.CANCELLED
        super()._client_gone()

    def _count(self, status: int, seconds: float) -> None:
        code = Code(grpc_code(status)) if self._code is None else self._code
        self._revision.counts.grpc(code.name, seconds)


def _code(fields: Sequence[Header], default: Code | None = None) -> Code | None:
    for name, value in fields:
        if name == _STATUS:
            return code_of(value)
    return default
