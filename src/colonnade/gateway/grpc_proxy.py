"""Takes each gRPC call: who is it for, may it pass, and on to a replica.

The service is found by host (the `:authority` of the call) or by the model name that the first message begins with
(`peek`). Without a host, the calls about the server itself are answered here, since there is no one server behind; what
those need is imported with the first of them, as protobuf costs 10 MB.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from colonnade import defaults
from colonnade.errors import MethodNotAllowed, NotFound, Unauthorized
from colonnade.gateway.access import REFUSED, Access
from colonnade.gateway.fleet import Fleet
from colonnade.gateway.forward import Forward
from colonnade.gateway.grpc_forward import GrpcForward
from colonnade.gateway.grpc_observed import ObservedCall
from colonnade.gateway.matching import Matcher
from colonnade.gateway.metrics import GatewayMetrics, RevisionMetrics
from colonnade.gateway.peek import model_name
from colonnade.gateway.revision import Revision
from colonnade.gateway.routes import LIFECYCLE, not_ready
from colonnade.gateway.service import RouteKey
from colonnade.gateway.timeouts import Timeouts
from colonnade.gateway.way import Way
from colonnade.net import Exchange, deadlines, grpc
from colonnade.wire.failures import grpc_code
from colonnade.wire.grpc_framing import IDENTITY, Code, beginning

if TYPE_CHECKING:
    from colonnade.gateway.grpc_own import Own

SERVICE = "inference.GRPCInferenceService"

_LIFECYCLE = frozenset(f"/{SERVICE}/{name}".encode() for name in ("RepositoryModelLoad", "RepositoryModelUnload"))
_OF_SERVER = frozenset(f"/{SERVICE}/{name}".encode() for name in ("ServerLive", "ServerReady", "ServerMetadata"))
_FREE = (b"/grpc.health.v1.Health/", b"/grpc.reflection.v1")  # who watches over the gateway needs no token for these
_RETRY_SOON = 1.0  # seconds; HTTP callers are told the same
_LOOKED_AT = 4096  # bytes of a first message in which the model's name must be


class _Refused(Exception):
    """A call that gets no replica's answer."""

    def __init__(
        self, code: Code, message: str, counts: RevisionMetrics | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.counts = counts
        self.retry_after = retry_after


class _Ways:
    """What follows from the head of a call. Kept with the remembered head, as long as the table is the same."""

    __slots__ = ("admitted", "allowed", "by_host", "coding", "hides", "matcher", "tag", "ways")

    def __init__(self, proxy: GrpcProxy, exchange: Exchange, via: RouteKey | None) -> None:
        """`via`: the route whose own port the call came on, which decides and needs no token."""
        fields = exchange.headers
        authorization = fields.get(b"authorization")
        self.matcher: Matcher = proxy.fleet.matcher
        named = self.matcher.by_host(fields.get(b"host", b"")) if via is None else self.matcher.by_key(via)
        self.by_host = None if named is None else named.service
        self.tag = None if named is None else named.revision
        self.admitted = via is not None or proxy.access.admits(authorization)
        self.hides = proxy.access.is_own(authorization)
        self.allowed = deadlines.allowed(fields)
        self.coding = fields.get(b"grpc-encoding", IDENTITY)
        self.ways: dict[int, Way] = {}

    def way(self, proxy: GrpcProxy, exchange: Exchange, index: int) -> Way:
        """To the service of this index in the table."""
        way = self.ways.get(index)
        if way is None:
            service = proxy.fleet.services[index]
            way = Way(
                self.matcher,
                service,
                exchange.target,
                self.hides,
                self.allowed,
                headers=exchange.headers,
                tag=self.tag,
                grpc=True,
            )
            self.ways[index] = way
        return way


class GrpcProxy:
    """The application for gRPC on the gateway's public ports.

    Attributes:
        in_flight: calls that are with replicas now.
        timeouts: ends those that take longer than their route or their deadline allows.
    """

    def __init__(
        self,
        fleet: Fleet,
        access: Access,
        metrics: GatewayMetrics,
        request_id: Callable[[], bytes],
        max_message: int = defaults.MAX_GRPC_MESSAGE_BYTES,
    ) -> None:
        """`request_id` makes the id of a call that came without one; a message of a request over `max_message` bytes is
        refused.
        """
        self.fleet = fleet
        self.access = access
        self.in_flight = 0
        self.timeouts: Timeouts[Forward] = Timeouts(lambda forward: forward.timed_out())
        self.request_id = request_id
        self._max_message = max_message
        self._unrouted = metrics.unrouted
        self._draining = False
        self._server: Own | None = None
        metrics.follow_in_flight("grpc", lambda: self.in_flight)

    def __call__(self, exchange: Exchange, via: RouteKey | None = None) -> None:
        """Take one call. `via`: the route whose own port it came on."""
        try:
            ways: _Ways | None = exchange.memo
            if ways is None or ways.matcher is not self.fleet.matcher:
                ways = exchange.memo = _Ways(self, exchange, via)
            if exchange.method != b"POST":
                raise MethodNotAllowed("a gRPC call is a POST")
            if not self._takes(exchange, ways):
                return
            if ways.by_host is not None:
                way, revision = self._pass(exchange, ways, ways.by_host)
                self._forward(exchange, way, revision).begin()
            elif exchange.received:
                exchange.collect(partial(self._collected, exchange, ways))
            else:
                _First(self, exchange, ways)
        except Exception as error:
            self.refuse(exchange, error)

    def _collected(self, exchange: Exchange, ways: _Ways, body: bytes) -> None:
        self.route(exchange, ways, [body], True)

    def drain(self) -> None:
        """Deny readiness and end the streams that would hold up the end."""
        self._draining = True
        if self._server is not None:
            self._server.close()

    def refuse(self, exchange: Exchange, error: Exception) -> None:
        """End a call that is not forwarded."""
        if isinstance(error, _Refused):
            grpc.end(exchange, error.code, error.message, retry_after=error.retry_after)
            if error.counts is not None:
                error.counts.grpc(error.code.name, 0.0)
        else:
            grpc.refuse(exchange, error)

    def _takes(self, exchange: Exchange, ways: _Ways) -> bool:
        """Whether a call may be forwarded; one about the gateway itself is answered.

        Raises:
            Unauthorized: the caller may not ask.
        """
        path = exchange.path
        free = ways.by_host is None and path.startswith(_FREE)
        if not free and not ways.admitted:
            raise Unauthorized(REFUSED)
        if free or (ways.by_host is None and path in _OF_SERVER):
            if self._server is None:
                from colonnade.gateway.grpc_own import Own

                self._server = Own(lambda: not self._draining, self._max_message)
            self._server(exchange)
            return False
        return True

    def route(self, exchange: Exchange, ways: _Ways, parts: list[bytes], ended: bool) -> bool:
        """Forward a call by the beginning of its first message; False if more of that must come first.

        Raises:
            NotFound, _Refused: the call cannot be forwarded.
        """
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        first = beginning(body, ways.coding, _LOOKED_AT)
        if first is None and not ended:
            return False
        way, revision = self._pass(exchange, ways, self._by_model(exchange, ways.matcher, first or b""))
        self._forward(exchange, way, revision).begin_with([body], ended)
        return True

    def _forward(self, exchange: Exchange, way: Way, revision: Revision) -> GrpcForward:
        make = ObservedCall if way.service.observers else GrpcForward
        return make(self, exchange, way, revision, self._max_message)

    def _by_model(self, exchange: Exchange, matcher: Matcher, message: bytes) -> int:
        name = model_name(message)
        if name is None:
            path = exchange.path.decode("latin-1")
            text = f"Method {path}: the message names no model; set the model name or the authority of the channel."
            raise _Refused(Code.INVALID_ARGUMENT, text)
        candidates = matcher.by_model(name)
        if len(candidates) == 1:
            return candidates[0]
        self._unrouted.inc()
        message_text = matcher.refuse_model(name).message
        if candidates:
            raise _Refused(Code.FAILED_PRECONDITION, message_text)
        raise NotFound(message_text)

    def _pass(self, exchange: Exchange, ways: _Ways, index: int) -> tuple[Way, Revision]:
        """The way of a call that its service takes now, and the revision that takes it.

        Raises:
            _Refused: it does not.
        """
        way = ways.way(self, exchange, index)
        if exchange.path in _LIFECYCLE:
            raise _Refused(Code.UNIMPLEMENTED, LIFECYCLE, way.service.counts)
        now = monotonic()
        revision = way.revision or way.service.choose(now)
        route, counts = revision.route, revision.counts
        if route.graph is not None:
            text = f"InferenceGraph {route.namespace}/{route.name} speaks no gRPC; ask it over HTTP."
            raise _Refused(Code.UNIMPLEMENTED, text, counts)
        if not revision.ready:
            raise _Refused(Code.UNAVAILABLE, not_ready(route), counts, _RETRY_SOON)
        if revision.balancer.members and not revision.grpc_balancer.members:
            text = f"Service {route.namespace}/{route.name} speaks no gRPC; ask it over HTTP."
            raise _Refused(Code.UNAVAILABLE, text, counts)
        refused = revision.guard.admit(now)
        if refused is not None:
            counts.shed(refused.reason)
            text = f"Service {route.namespace}/{route.name} takes no request now: {refused.message}."
            raise _Refused(Code(grpc_code(refused.status)), text, counts, refused.retry_after)
        return way, revision


class _First:
    """Takes a call's body until the model's name has come."""

    def __init__(self, proxy: GrpcProxy, exchange: Exchange, ways: _Ways) -> None:
        self._proxy = proxy
        self._exchange = exchange
        self._ways = ways
        self._parts: list[bytes] = []
        self._routed = False
        exchange.bounded = False
        exchange.stream(self._part, self._end)

    def _part(self, part: bytes) -> None:
        self._parts.append(part)
        self._try(False)

    def _end(self) -> None:
        self._try(True)

    def _try(self, ended: bool) -> None:
        if self._routed:
            return
        try:
            self._routed = self._proxy.route(self._exchange, self._ways, self._parts, ended)
        except Exception as error:
            self._routed = True
            self._proxy.refuse(self._exchange, error)
