"""One request on its way to a replica and its answer on the way back.

What must hold, whatever breaks on either side: the client gets one whole answer or a cut connection, never a short
answer that looks whole; a request is sent twice only if nothing of it can have been executed or its method allows it;
memory is bounded by what the slower side has not read yet; a client that leaves takes its request with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from colonnade.gateway import own
from colonnade.gateway.fleet import Replica, Service
from colonnade.gateway.forwarding import Header, may_repeat, request_headers, response_headers
from colonnade.gateway.routes import not_ready
from colonnade.net import Call, Exchange
from colonnade.net.request_head import request_head

if TYPE_CHECKING:
    from colonnade.gateway.proxy import Proxy

log = logging.getLogger(__name__)

WHOLE_REQUEST = 1 << 20  # a body announced up to here is collected and sent in one write
WHOLE_ANSWER = 64 << 10  # likewise an answer
REPLAY = 1 << 20  # bytes of a streamed body kept to send them again
WAYS = 64  # clients that a remembered head is kept for
CLIENT_GONE = 499  # counted, never sent
RETRY_SOON: list[Header] = [(b"retry-after", b"1")]


class Forward:
    """One exchange of the client and the call to a replica that answers it. Is the call's `Receiver`."""

    __slots__ = (
        "_attempts",
        "_body",
        "_body_ended",
        "_call",
        "_exchange",
        "_head",
        "_hide_authorization",
        "_over",
        "_parts",
        "_path",
        "_proxy",
        "_replay",
        "_replay_size",
        "_replica",
        "_request_id",
        "_sent",
        "_service",
        "_started",
        "_status",
        "_streamed",
        "_timer",
        "_tried",
    )

    def __init__(self, proxy: Proxy, exchange: Exchange, service: Service, path: bytes, hide: bool) -> None:
        self._proxy = proxy
        self._exchange = exchange
        self._service = service
        query = exchange.query
        self._path = b"%b?%b" % (path, query) if query else path
        self._hide_authorization = hide
        self._request_id = exchange.headers.get(b"x-request-id") or proxy.request_id()
        self._started = time.perf_counter()
        self._body: bytes | None = None
        self._streamed = False
        self._body_ended = False
        self._replay: list[bytes] | None = None
        self._replay_size = 0
        self._replica: Replica | None = None
        self._call: Call | None = None
        self._tried: list[Replica] = []
        self._attempts = 0
        self._sent = False  # a byte of the request may have reached a replica
        self._status = 0  # of the answer, once its head has come
        self._head: tuple[list[Header], bytes | None, int | None] | None = None
        self._parts: list[bytes] | None = None  # of an answer that is sent in one write
        self._timer: asyncio.TimerHandle | None = None
        self._over = False

    def begin(self) -> None:
        """Start: with the whole body if it is small, else as its parts come."""
        exchange = self._exchange
        self._proxy.in_flight += 1
        exchange.on_disconnect(self._client_gone)
        timeout = self._service.route.timeout
        if timeout is not None:
            self._timer = asyncio.get_running_loop().call_later(timeout, self._timed_out, timeout)
        if exchange.length is not None and exchange.length <= WHOLE_REQUEST:
            exchange.collect(self._collected)
        else:
            self._streamed = True
            self._replay = []
            self._send()
            if not exchange.closed:
                exchange.stream(self._body_part, self._body_end)

    # The request.

    def _collected(self, body: bytes) -> None:
        self._body = body
        self._send()

    def _send(self) -> None:
        """Send the request to the best replica, of those that the service has now, that has not failed it yet."""
        service = self._service
        now = time.monotonic()
        replica = service.balancer.pick(now, self._tried) or service.balancer.pick(now)
        if replica is None or not service.ready:  # a swap since the request was matched
            self._fail(503, not_ready(service.route), RETRY_SOON)
            return
        self._attempts += 1
        self._replica = replica
        replica.take()
        exchange = self._exchange
        try:
            if self._body is not None:
                call = replica.http.send(exchange.method, self._message(self._body), receiver=self)
            else:
                headers = [*self._headers(), (b"x-request-id", self._request_id)]
                if exchange.length is not None:
                    headers.append((b"content-length", b"%d" % exchange.length))
                call = replica.http.request(exchange.method, self._path, headers, None, receiver=self)
        except ValueError:
            self._settle()
            self._fail(400, "The request target or a header field holds a character that must be encoded.")
            return
        self._call = call
        if self._streamed:
            exchange.resume()
            call.on_writable(exchange.pause, exchange.resume)
            for part in self._replay or ():
                call.write(part)
            if self._body_ended:
                call.finish()

    def _headers(self) -> list[Header]:
        """The header to the replica; the id, which alone differs in each request, comes last."""
        exchange = self._exchange
        return request_headers(
            exchange.raw_headers,
            exchange.headers,
            client=(exchange.peer or "").encode(),
            scheme=b"https" if exchange.secure else b"http",
            hide_authorization=self._hide_authorization,
        )

    def _message(self, body: bytes) -> bytes:
        """A request with its whole body, as bytes. Its head is made once for all requests with the same head that come
        the same way, up to the id at its end."""
        exchange = self._exchange
        heads: dict[tuple[object, ...], bytes] | None = exchange.memo
        way = (self._path, self._hide_authorization, exchange.peer, exchange.secure)
        head = None if heads is None else heads.get(way)
        if head is None:
            whole, _ = request_head(exchange.method, self._path, self._headers(), body, b"localhost")
            head = whole.removesuffix(b"\r\n")
            if heads is None or len(heads) >= WAYS:
                heads = exchange.memo = {}
            heads[way] = head
        return b"%bx-request-id: %b\r\n\r\n%b" % (head, self._request_id, body)

    def _body_part(self, part: bytes) -> None:
        if self._replay is not None:
            self._replay_size += len(part)
            if self._replay_size > REPLAY:
                self._replay = None
            else:
                self._replay.append(part)
        if self._call is not None:
            self._call.write(part)

    def _body_end(self) -> None:
        self._body_ended = True
        if self._call is not None:
            self._call.finish()

    # The answer: called by the call to the replica.

    def head(self, status: int, headers: list[Header]) -> None:
        """Take the head of the answer; a small answer waits for its end, so that it goes out in one write."""
        self._replay = None
        self._status = status
        assert self._replica is not None
        self._replica.load.reached()
        self._head = head = response_headers(headers)
        kept, content_type, length = head
        if length is not None and length <= WHOLE_ANSWER and self._exchange.method != b"HEAD":
            self._parts = []
            return
        self._exchange.start(status, kept, content_type, length)
        if self._call is not None:
            self._exchange.on_writable(self._call.pause, self._call.resume)

    def chunk(self, data: bytes) -> None:
        """Take a part of the answer's body."""
        if self._parts is not None:
            self._parts.append(data)
        else:
            self._exchange.write(data)

    def end(self, trailers: Sequence[Header] = ()) -> None:
        """Take the end of the answer."""
        self._settle()
        if self._parts is not None and self._head is not None:
            kept, content_type, _ = self._head
            self._exchange.reply(self._status, self._parts, content_type or b"", kept)
        else:
            self._exchange.finish(trailers)
        self._done(self._status)

    def failed(self, error: Exception, sent: bool) -> None:
        """Take the failure of the call: try another replica where that is safe, else tell the client."""
        replica = self._replica
        service = self._service
        assert replica is not None
        service.counts.failures.inc()
        if not sent:
            replica.load.unreachable(time.monotonic())
        self._settle()
        self._sent = self._sent or sent
        if self._status and self._parts is None:
            log.warning(
                "a replica broke off its answer",
                extra={"replica": replica.backend.name, "service": service.route.name, "error": str(error)},
            )
            self._exchange.abort()
            self._done(502)
            return
        self._status = 0
        self._head = self._parts = None
        if replica not in self._tried:
            self._tried.append(replica)
        if self._may_repeat(sent):
            service.counts.retries.inc()
            self._send()
            return
        log.warning(
            "a replica did not answer",
            extra={"replica": replica.backend.name, "service": service.route.name, "error": str(error)},
        )
        name = f"{service.route.namespace}/{service.route.name}"
        if self._sent:
            text = (
                f"A replica of service {name} broke off before it answered. The request may have been executed: "
                "send it again only if executing it twice does no harm."
            )
            self._fail(502, text)
        else:
            text = f"No replica of service {name} could be reached. Nothing was sent, so it is safe to send it again."
            self._fail(503, text, RETRY_SOON)

    def _may_repeat(self, sent: bool) -> bool:
        if not may_repeat(self._exchange.method, sent) or (self._streamed and self._replay is None):
            return False
        balancer = self._service.balancer
        # A lone replica gets a second attempt if the first one got through: it was a connection that failed.
        lone = len(balancer.members) == 1 and self._attempts == 1 and sent
        return lone or balancer.has_untried(self._tried)

    # Ends.

    def _client_gone(self) -> None:
        if not self._over:
            self._settle()
            self._done(CLIENT_GONE)

    def _timed_out(self, limit: float) -> None:
        self._timer = None
        self._settle()
        route = self._service.route
        if self._status and self._parts is None:
            self._exchange.abort()
            self._done(504)
            return
        text = f"Service {route.namespace}/{route.name} did not answer within {limit:g} s, the route's limit."
        self._fail(504, text)

    def _fail(self, status: int, message: str, headers: list[Header] | None = None) -> None:
        self._exchange.reply(status, own.error(message), headers=headers or ())
        self._done(status)

    def _settle(self) -> None:
        """The call to the replica is over, or is cut off here: the replica sees its connection close."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        replica, self._replica = self._replica, None
        if replica is not None:
            replica.release()

    def _done(self, status: int) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._proxy.in_flight -= 1
        self._service.counts.http(status, time.perf_counter() - self._started)
