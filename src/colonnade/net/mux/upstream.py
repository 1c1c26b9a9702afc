"""The gateway's end of the multiplexed socket: one connection per replica, made when it is first needed.

What it promises is what `net.Upstream` does: a failure says whether any byte of the request may have reached the peer.
A peer that drains says so (GOODBYE): what is under way ends there, and what comes later goes over a new connection, or
fails as unsent if nobody listens any more.
"""

from __future__ import annotations

import asyncio
import logging
import os
import select
from collections.abc import Iterable
from typing import TYPE_CHECKING

from colonnade import defaults
from colonnade.errors import BadUpstream, Unavailable
from colonnade.net.address import Address
from colonnade.net.background import Background
from colonnade.net.head import Header, Part
from colonnade.net.mux.call import MuxCall, WholeReceiver
from colonnade.net.mux.flow import Outflow
from colonnade.net.mux.frames import (
    ANSWER,
    ANSWER_AT,
    BEGIN,
    BODY,
    CANCEL,
    COUNT,
    CREDIT,
    END,
    GOODBYE,
    HEAD,
    HEADER,
    LENGTH,
    MAPPED,
    MAPPING,
    MAX_ID,
    MAX_STREAM,
    OPEN,
    PLACE,
    PREFACE,
    RELEASE,
    REQUEST,
    REQUEST_AT,
    UNKNOWN,
    WHOLE,
    Malformed,
    frame,
    pack_texts,
)
from colonnade.net.mux.heads import ID, AnswerHead, SeenHeads, SentHeads, pack_request, unpack_answer
from colonnade.net.mux.link import MuxLink

if TYPE_CHECKING:
    from colonnade.net.mux.mapping import Mapping, Room

logger = logging.getLogger(__name__)


class MuxClient(MuxLink):
    """One connection of a `MuxUpstream`."""

    def __init__(self, upstream: MuxUpstream) -> None:
        super().__init__()
        self._upstream = upstream
        self._calls: dict[int, MuxCall] = {}
        self._stream = 0  # the last one
        self._flushed = 0  # the last one that a byte of may have left
        self._leaving = False  # the peer takes no new streams
        self._seen_heads: SeenHeads[AnswerHead] = SeenHeads()
        self._sent_heads = SentHeads()
        self._tried = False  # to share memory
        self._offered: Mapping | None = None  # that the server has not opened yet
        self._descriptor = -1  # of that
        self._poller = select.poll()
        self._out.append(PREFACE)

    @property
    def stuck(self) -> bool:
        """Whether the peer has long not read what it was sent."""
        return (
            self.writing_paused
            and self.transport is not None
            and self.transport.get_write_buffer_size() > defaults.MAX_MUX_UNREAD
        )

    def send(self, head: bytes, identity: bytes, body: Part | Room, receiver: WholeReceiver) -> MuxCall:
        """Send a whole request."""
        kind = REQUEST
        if not isinstance(body, (bytes, memoryview)):
            if body.mapping is self.mapping and body.mapping.lend(body):
                kind = REQUEST_AT
                body = PLACE.pack(body.offset, len(body.view))
            else:
                body = body.view  # it was for a connection that is lost, or this is a second attempt
        if len(body) > WHOLE:
            place = self.place((body,))
            if place is None:
                self.share()
                call = self.open(head, identity, len(body), receiver)
                call.write(body)
                call.finish()
                return call
            kind, body = REQUEST_AT, place
        number = self._sent_heads.numbers.get(head)
        if number is None:
            number = self._define(head)
        stream = self._next()
        size = len(identity)
        self.put(HEADER.pack(size + len(body), stream, kind, size, number), identity, body)
        call = self._calls[stream] = MuxCall(self, stream, receiver)
        return call

    def open(self, head: bytes, identity: bytes, length: int | None, receiver: WholeReceiver) -> MuxCall:
        """Send the head of a request whose body follows."""
        number = self._sent_heads.numbers.get(head)
        if number is None:
            number = self._define(head)
        stream = self._next()
        size = len(identity)
        announced = LENGTH.pack(UNKNOWN if length is None else length)
        self.put(HEADER.pack(size + len(announced), stream, OPEN, size, number), identity, announced)
        call = self._calls[stream] = MuxCall(self, stream, receiver)
        call.outflow = Outflow(self, stream)
        return call

    def ended(self, call: MuxCall) -> None:
        """Forget a call that is over."""
        self._calls.pop(call.stream, None)
        if self._leaving:
            self._leave()

    def fail(self, error: Exception) -> None:
        """Fail all calls; none was sent."""
        self._withdraw()
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.broken(error, False)

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._poller.register(transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        super().connection_made(transport)

    def flush(self) -> None:
        """Write what has gathered, unless the peer has hung up: the kernel may know of that before the event loop does,
        and what was not sent may be sent to another replica. `connection_lost` comes when its answers are read."""
        if self.transport is not None:
            if self._out and self._poller.poll(0):
                self._scheduled = False
                self._out.clear()
                return
            self._flushed = self._stream
        super().flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._withdraw()
        self._upstream.lost(self)
        calls, self._calls = self._calls, {}
        for call in calls.values():
            why = "broke off its answer" if call.begun else "closed the connection without an answer"
            call.broken(BadUpstream(f"The upstream server {why}."), call.stream <= self._flushed)

    def take(self, kind: int, stream: int, head: int, identity: bytes, rest: bytes) -> None:
        if kind == ANSWER:
            known = self._seen_heads[head]
            call = self._calls.pop(stream, None)
            if call is not None:
                call.answered(known, identity, rest)
                if self._leaving:
                    self._leave()
            return
        found = self._calls.get(stream)
        if kind == ANSWER_AT:
            body = self.placed(rest)
            if found is not None:
                del self._calls[stream]
                found.answered(self._seen_heads[head], identity, body)
                self.ended(found)
        elif kind == RELEASE:
            self.freed(rest)
        elif kind == MAPPED and self._offered is not None:
            self.mapping = self._offered
            self._withdraw()
        elif kind == HEAD:
            self._seen_heads.set(head, unpack_answer(rest))
        elif kind == GOODBYE:
            self._leaving = True
            self._upstream.retire(self)
            self._leave()
        elif kind not in (BEGIN, BODY, END, CANCEL, CREDIT):
            raise Malformed(f"a frame of kind {kind} from a server")
        elif found is None:
            return  # of a call that was cancelled meanwhile
        elif kind == BODY:
            found.part(rest)
        elif kind == BEGIN:
            found.began(self._seen_heads[head], identity, rest)
        elif kind == END:
            found.ended(rest)
            self.ended(found)
        elif kind == CANCEL:
            self.ended(found)
            found.broken_off()
        elif len(rest) != COUNT.size:
            raise Malformed("CREDIT without a count")
        elif found.outflow is not None:
            found.outflow.grant(COUNT.unpack(rest)[0])

    # Inside.

    def _next(self) -> int:
        """A number that no call has."""
        stream = self._stream + 1
        if stream == MAX_STREAM:
            self._leaving = True  # some four thousand million requests later: on a new connection
            self._upstream.retire(self)
        self._stream = stream
        return stream

    def share(self) -> None:
        """Offer the server shared memory, once."""
        if self._tried:
            return
        self._tried = True
        from colonnade.net.mux.mapping import Mapping  # its libraries are of no use without large bodies

        try:
            self._offered, self._descriptor = Mapping.create()
        except OSError as error:
            logger.info("large bodies go through the socket: %s", error)
        else:
            self.put(frame(MAPPING, 0, COUNT.pack(self._descriptor)))

    def _withdraw(self) -> None:
        """The server has opened the memory, or will not."""
        if self._offered is not None:
            self._offered = None
            os.close(self._descriptor)

    def _define(self, head: bytes) -> int:
        number = self._sent_heads.add(head)
        self.put(frame(HEAD, 0, head, number))
        return number

    def _leave(self) -> None:
        if not self._calls and self.transport is not None:
            self.flush()
            self.transport.close()


class MuxUpstream:
    """A peer that speaks frames on a Unix socket.

    Args:
        address: where it listens.
        connect_timeout: seconds.
    """

    def __init__(self, address: Address, *, connect_timeout: float = defaults.CONNECT_TIMEOUT) -> None:
        if address.path is None:
            raise ValueError(f"{address}: frames are spoken on Unix sockets only; write unix:/path/to.sock")
        self.address = address
        self._path = address.path
        self._connect_timeout = connect_timeout
        self._link: MuxClient | None = None  # takes new calls
        self._links: set[MuxClient] = set()  # all that are open
        self._connecting = Background()
        self._closed = False

    @property
    def open(self) -> int:
        """Connections, those that are being made or left included."""
        return len(self._links)

    def head(self, method: bytes, target: bytes, headers: Iterable[Header], length: int | None) -> bytes:
        """A head for `send`, to be made once for many requests. The length of the body is no part of it here.

        Raises:
            ValueError: method, target or a header holds a byte that would end its line early.
        """
        return pack_request(method, target, headers)

    def room(self, size: int, aligned: int) -> Room | None:
        """Memory that the peer shares, for the body of a request, to be filled and sent; None if there is none now.
        Byte number `aligned` of the body will lie at a multiple of 16."""
        link = self._link
        if link is None:
            return None
        if link.mapping is None:
            link.share()
            return None
        return link.mapping.room(size, aligned)

    def send(
        self, method: bytes, head: bytes, identity: bytes, body: Part | Room, *, receiver: WholeReceiver
    ) -> MuxCall:
        """Send a whole request with a head that was made before, and its `x-request-id`."""
        link = self._link
        if link is None or link.writing_paused:
            link = self._usable()
        if len(identity) > MAX_ID:
            head, identity = head + pack_texts([ID, identity]), b""
        return link.send(head, identity, body, receiver)

    def begin(
        self, method: bytes, head: bytes, identity: bytes, length: int | None, *, receiver: WholeReceiver
    ) -> MuxCall:
        """Send a request whose body, of `length` bytes if that is known, follows by `write` and `finish`."""
        if len(identity) > MAX_ID:
            head, identity = head + pack_texts([ID, identity]), b""
        return self._usable().open(head, identity, length, receiver)

    def close(self) -> None:
        """Cut all connections; calls in flight fail. Nothing can be sent any more."""
        self._closed = True
        for task in self._connecting:
            task.cancel()
        for link in list(self._links):
            link.abort()

    # Called by connections.

    def retire(self, link: MuxClient) -> None:
        """Give this connection no new calls."""
        if self._link is link:
            self._link = None

    def lost(self, link: MuxClient) -> None:
        """Forget a connection that is closed."""
        self.retire(link)
        self._links.discard(link)

    # Inside.

    def _usable(self) -> MuxClient:
        link = self._link
        if link is None:
            link = self._link = MuxClient(self)
            self._links.add(link)
            self._connecting.start(self._connect(link))
        elif link.stuck:
            # A connection of its own for what comes now would only be one more that is not read.
            refusing = MuxClient(self)
            refusing.loop.call_soon(refusing.fail, Unavailable("The upstream server does not read its requests."))
            return refusing
        return link

    async def _connect(self, link: MuxClient) -> None:
        error: Exception
        try:
            if self._closed:
                raise ConnectionAbortedError
            async with asyncio.timeout(self._connect_timeout):
                await link.loop.create_unix_connection(lambda: link, self._path)
        except (OSError, TimeoutError) as cause:
            logger.debug("no connection to %s: %s", self.address, cause)
            why = "not within the time allowed" if isinstance(cause, TimeoutError) else "refused or absent"
            error = Unavailable(f"The upstream server cannot be reached ({why}).")
        except asyncio.CancelledError:
            error = Unavailable("The connection pool is closed.")
        else:
            return
        self.lost(link)
        link.fail(error)
