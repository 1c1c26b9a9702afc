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
from typing import TYPE_CHECKING, Protocol

from colonnade import defaults
from colonnade.gateway import own
from colonnade.gateway.balance import Balancer
from colonnade.gateway.forwarding import Header, may_repeat, response_headers
from colonnade.gateway.replica import Replica
from colonnade.gateway.revision import Revision
from colonnade.gateway.routes import not_ready
from colonnade.gateway.timeouts import Timeouts
from colonnade.gateway.way import Way
from colonnade.net import Call, Exchange, Part, ReadyHead, buffers
from colonnade.net.http2 import Http2Call
from colonnade.net.mux import AnswerHead, MuxCall, MuxUpstream
from colonnade.wire.failures import retry_after

if TYPE_CHECKING:
    from colonnade.net.mux.mapping import Room

log = logging.getLogger(__name__)

WHOLE_REQUEST = defaults.WHOLE_REQUEST
WHOLE_ANSWER = defaults.WHOLE_ANSWER
REPLAY = defaults.REPLAY
CLIENT_GONE = 499  # counted, never sent
SPENT = 0.01  # seconds since a request came that are not worth a head of its own
RETRY_SOON = retry_after(1)


class Sender(Protocol):
    """What a request needs of the proxy that took it. See `Proxy`."""

    in_flight: int
    timeouts: Timeouts[Forward]

    def request_id(self) -> bytes: ...


class Forward:
    """One exchange of the client and the call to a replica that answers it. Is the call's `Receiver`, and a `Waiter`
    while there is no replica."""

    # Defaults live in the class, so that a request pays only for what it uses.
    _body: Part | None = None
    _room: Room | None = None  # where a large body is, shared with a replica
    _chosen: Replica | None = None  # for the first attempt, if that was decided before the body came
    _streamed = False
    _body_ended = False
    _replay: list[bytes] | None = None
    _replay_size = 0
    _replica: Replica | None = None
    _call: Call | MuxCall | Http2Call | None = None
    _tried: tuple[Replica, ...] = ()
    _attempts = 0
    _sent = False  # a byte of the request may have reached a replica
    _status = 0  # of the answer, once its head has come
    _head: tuple[list[Header], bytes | None, int | None] | None = None
    _parts: list[bytes] | None = None  # of an answer that is sent in one write
    _slot = 0  # of its timeout; 0 without one
    _waits = False  # for a replica
    _turn = False  # it has waited and goes before those that wait
    _waited_since = 0.0  # by the event loop's clock; 0 if it has not
    _moved = 0.0  # when it came to its revision, if it was at another one before
    _over = False

    def __init__(
        self, proxy: Sender, exchange: Exchange, way: Way, revision: Revision, cookie: Header | None = None
    ) -> None:
        """`cookie`: a field for the answer, that brings its caller back to this revision."""
        self._proxy = proxy
        self._exchange = exchange
        self._way = way
        self._revision = revision
        self._cookie = cookie
        self._request_id = exchange.headers.get(b"x-request-id") or proxy.request_id()
        self._started = time.perf_counter()

    def begin(self) -> None:
        """Start: with the whole body if it is small, else as its parts come."""
        self._enter()
        try:
            self._take_body()
        except Exception:
            self._abandon(500)
            raise

    def _take_body(self) -> None:
        exchange = self._exchange
        length = exchange.length
        if exchange.received or (length is not None and length <= buffers.LARGE):
            exchange.collect(self._collected)
        elif length is not None and (self._shares(length) or length <= WHOLE_REQUEST):
            exchange.collect_into(self._allocate, self._collected)
        else:
            self._streamed = True
            self._replay = []
            self._send()
            self._stream()

    def _stream(self) -> None:
        """Take the rest of the body in parts."""
        exchange = self._exchange
        if not exchange.closed:
            exchange.stream(self._body_part, self._body_end)
            if self._waits:
                exchange.pause()

    def _enter(self) -> None:
        self._proxy.in_flight += 1
        self._revision.guard.begin(self._started)
        self._exchange.on_disconnect(self._client_gone)
        timeout = self._way.timeout
        if timeout is not None:
            self._slot = self._proxy.timeouts.add(self, asyncio.get_running_loop().time() + timeout)

    # The request.

    def _shares(self, size: int) -> bool:
        """Whether there is memory for a large body that a replica shares, so that nobody has to copy it."""
        self._chosen = replica = self._balancer.pick(time.monotonic())
        upstream = None if replica is None else self._way.upstream(replica)
        if not isinstance(upstream, MuxUpstream):
            return False
        first = self._exchange.headers.get(b"inference-header-content-length", b"")  # a tensor begins behind the JSON
        known = first.isdigit() and len(first) < 19  # beyond that no body has so many bytes
        self._room = upstream.room(size, int(first) if known else 0)
        return self._room is not None

    def _allocate(self, size: int) -> memoryview:
        return buffers.take(size) if self._room is None else self._room.view

    def _collected(self, body: Part) -> None:
        if self._room is not None and self._room.view is not body:  # it came before there was a place for it
            self._room = None
        self._body = body
        self._send()

    def _send(self) -> None:
        try:
            self._send_to_best()
        except Exception:
            self._abandon(500)
            raise

    def _send_to_best(self) -> None:
        """Send the request to the best replica, of those that the revision has now, that has not failed it yet."""
        revision = self._revision
        now = time.monotonic()
        balancer = revision.grpc_balancer if self._way.grpc else revision.balancer
        replica, self._chosen = self._chosen, None
        if revision.limit:
            replica = revision.pick(balancer, now, self._tried, turn=self._turn)
        elif replica is None or replica not in balancer.members:
            replica = balancer.pick(now, self._tried) or balancer.pick(now)
        if replica is None or not revision.ready:
            self._wait(now)
            return
        self._attempts += 1
        self._replica = replica
        replica.take()
        exchange = self._exchange
        body = None if exchange.trailers else self._body  # one with trailers goes out in parts
        try:
            head = self._way.head(replica, exchange, exchange.length if body is None else len(body), self._left())
        except ValueError:
            self._settle()
            self._fail(400, "The request target or a header field holds a character that must be encoded.")
            return
        http = self._way.upstream(replica)
        if body is not None:
            if isinstance(http, MuxUpstream):
                self._call = http.send(exchange.method, head, self._request_id, self._room or body, receiver=self)
            else:
                self._call = http.send(exchange.method, head, self._request_id, bytes(body), receiver=self)
            return
        self._call = call = http.begin(exchange.method, head, self._request_id, exchange.length, receiver=self)
        exchange.resume()
        call.on_writable(exchange.pause, exchange.resume)
        for part in self._replay or (bytes(self._body or b""),):
            call.write(part)
        if self._body_ended or self._body is not None:
            call.finish(exchange.trailers)

    @property
    def _balancer(self) -> Balancer[Replica]:
        return self._revision.grpc_balancer if self._way.grpc else self._revision.balancer

    # Without a replica.

    def _wait(self, now: float) -> None:
        """There is no replica to send it to: wait for one, at another revision if this one is gone, or fail."""
        revision = self._revision
        if revision.retired or (not revision.weight and self._way.revision is not revision):
            other = self._way.service.choose(now)
            if other is not revision:
                self._move(other)
                self._send_to_best()
                return
        self._waited_since = self._waited_since or asyncio.get_running_loop().time()
        size = self._replay_size if self._body is None else len(self._body)
        waits = revision.wait(self, size, self._waited_since)
        if waits:
            self._waits = True
        elif waits is None:
            self._fail(503, not_ready(revision.route), RETRY_SOON)
        else:
            revision.counts.shed("queue")
            self._fail(503, f"{self._name} has no replica free, and too many requests wait already.", RETRY_SOON)

    def _move(self, revision: Revision) -> None:
        """Go to another revision of the service."""
        now = time.perf_counter()
        since = self._moved or self._started
        self._revision.guard.end(since, now - since)
        self._revision = revision
        self._moved = now
        revision.guard.begin(now)

    def released(self) -> None:
        """There is a replica, or this revision is not for it any more."""
        self._waits = False
        self._turn = True
        try:
            self._send()
        except Exception:
            log.exception("a request that waited could not be sent")
            self._exchange.abort()
        self._turn = False

    def expired(self) -> None:
        """It has waited as long as the route lets it."""
        self._revision.waiting.remove(self)
        self._waits = False
        waited = asyncio.get_running_loop().time() - self._waited_since
        route = self._revision.route
        why = "all replicas were busy" if self._revision.balancer.members else route.reason or "no replica was ready"
        text = f"{self._name} had no replica for this request within {waited:.0f} s: {why}. Nothing was executed."
        self._fail(503, text, RETRY_SOON)

    @property
    def _name(self) -> str:
        route = self._revision.route
        return f"Service {route.namespace}/{route.name}"

    def _left(self) -> float | None:
        """Seconds that a replica has for its answer; None if as good as nothing of the time is spent."""
        timeout = self._way.timeout
        if timeout is None:
            return None
        spent = time.perf_counter() - self._started
        return None if spent < SPENT and self._attempts == 1 else max(0.001, timeout - spent)

    def _body_part(self, part: bytes) -> None:
        if self._replay is not None:
            self._replay_size += len(part)
            if self._replay_size > REPLAY and not self._waits:
                self._replay = None
            else:
                self._replay.append(part)
        if self._call is not None:
            self._call.write(part)

    def _body_end(self) -> None:
        self._body_ended = True
        if self._call is not None:
            self._call.finish(self._exchange.trailers)

    # The answer: called by the call to the replica.

    def whole(self, head: AnswerHead, identity: bytes, body: Part) -> None:
        """Take the whole answer."""
        replica = self._replica
        assert replica is not None
        ready: ReadyHead | None = head.memo
        if ready is None:
            kept, content_type, _ = response_headers(head.fields)
            ready = head.memo = ReadyHead(head.status, content_type or b"", kept, head.trailers)
        self._judge(replica, ready.status)
        self._call = self._replica = None
        replica.release()
        if self._cookie is not None or (identity and identity != self._request_id):  # not the one that was checked
            fields = [*ready.fields, (b"x-request-id", identity)] if identity else list(ready.fields)
            if self._cookie is not None:
                fields.append(self._cookie)
            self._exchange.reply(ready.status, body, ready.content_type, fields, ready.trailers)
        else:
            self._exchange.relay(ready, identity, body)
        self._done(ready.status)

    def head(self, status: int, headers: list[Header]) -> None:
        """Take the head of the answer; a small answer waits for its end, so that it goes out in one write."""
        head = response_headers(headers)
        if self._cookie is not None:
            head[0].append(self._cookie)
        self._head = head
        self._replay = None
        self._status = status
        assert self._replica is not None
        self._judge(self._replica, status)
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
            self._exchange.reply(self._status, self._parts, content_type or b"", kept, trailers)
        else:
            self._exchange.finish(trailers)
        self._done(self._status)

    def failed(self, error: Exception, sent: bool) -> None:
        """Take the failure of the call: try another replica where that is safe, else tell the client."""
        try:
            if self._replica is not None:
                self._failed(self._replica, error, sent)
            elif not self._over:  # the whole answer came and could not be passed on
                self._cut(502)
        except Exception:
            log.exception("the failure of a request could not be told")
            self._exchange.abort()
            self._abandon(502)

    def _failed(self, replica: Replica, error: Exception, sent: bool) -> None:
        revision = self._revision
        now = time.monotonic()
        revision.counts.failures.inc()
        revision.guard.failed(replica.load, now)
        if not sent:
            replica.load.unreachable(now)
        self._settle()
        self._sent = self._sent or sent
        if self._status and self._parts is None:
            log.warning(
                "a replica broke off its answer",
                extra={"replica": replica.backend.name, "service": revision.route.name, "error": str(error)},
            )
            self._cut(502)
            return
        self._status = 0
        self._head = self._parts = None
        if replica not in self._tried:
            self._tried = (*self._tried, replica)
        if self._may_repeat(sent) and revision.guard.may_retry(now):
            revision.counts.retries.inc()
            self._send()
            return
        revision.guard.gave_up(now)
        log.warning(
            "a replica did not answer",
            extra={"replica": replica.backend.name, "service": revision.route.name, "error": str(error)},
        )
        name = f"{revision.route.namespace}/{revision.route.name}"
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
        balancer = self._balancer
        # A lone replica gets a second attempt if the first one got through: it was a connection that failed.
        lone = len(balancer.members) == 1 and self._attempts == 1 and sent
        return lone or balancer.has_untried(self._tried)

    def _judge(self, replica: Replica, status: int) -> None:
        """The replica has answered: what that says of it."""
        if status == 429 and replica.backend.mux:  # of ours it means overload; of others perhaps this caller's quota
            self._revision.guard.overloaded(replica.load, time.monotonic())
        elif status < 500:
            self._revision.guard.answered(replica.load)
        else:
            self._revision.guard.erred(replica.load, status, time.monotonic())

    # Ends.

    def _client_gone(self) -> None:
        if not self._over:
            self._settle()
            self._done(CLIENT_GONE)

    def timed_out(self) -> None:
        """The time that the route or the caller allows is over."""
        self._slot = 0
        way, route = self._way, self._revision.route
        replica = self._replica
        if replica is not None and not way.hurried:  # or callers in a hurry could have any replica ejected
            now = time.monotonic()
            self._revision.guard.failed(replica.load, now)
            if not self._status:
                self._revision.guard.gave_up(now)
        self._settle()
        if self._status and self._parts is None:
            self._cut(504)
            return
        limit = "the caller's" if way.hurried else "the route's"
        text = f"Service {route.namespace}/{route.name} did not answer within {way.timeout:g} s, {limit} limit."
        self._fail(504, text)

    def _fail(self, status: int, message: str, headers: list[Header] | None = None) -> None:
        self._exchange.reply(status, own.error(message), headers=headers or ())
        self._done(status)

    def _cut(self, status: int) -> None:
        """Break off an answer that has begun."""
        self._exchange.abort()
        self._done(status)

    def _settle(self) -> None:
        """The call to the replica is over, or is cut off here: the replica sees its connection close. Nor does the
        request wait for one any more."""
        if self._waits:
            self._waits = False
            self._revision.waiting.remove(self)
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        replica, self._replica = self._replica, None
        if replica is not None:
            replica.release()

    def _abandon(self, status: int) -> None:
        """Something failed here: hold nothing any more. The client gets its answer from whoever takes the exception."""
        self._settle()
        if not self._over:
            self._done(status)

    def _done(self, status: int) -> None:
        self._over = True
        if self._slot:
            self._proxy.timeouts.remove(self, self._slot)
        self._proxy.in_flight -= 1
        now = time.perf_counter()
        since = self._moved or self._started
        self._revision.guard.end(since, now - since)
        self._count(status, now - self._started)

    def _count(self, status: int, seconds: float) -> None:
        self._revision.counts.http(status, seconds)
