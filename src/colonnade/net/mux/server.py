"""The replica's end of the multiplexed socket: frames to exchanges, and their answers to frames.

All requests of one read reach the application before anything is written. What they are answered with in this turn of
the event loop, be it at once or by a batch that the application flushes at the turn's end, leaves in one write.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import struct
from time import monotonic
from typing import TYPE_CHECKING

from colonnade.errors import Error
from colonnade.net.head import Header
from colonnade.net.head_parse import Refusal, RequestHead
from colonnade.net.mux.exchange import MuxExchange
from colonnade.net.mux.frames import (
    ANSWER,
    BODY,
    CANCEL,
    COUNT,
    CREDIT,
    END,
    GOODBYE,
    HEAD,
    LENGTH,
    MAPPED,
    MAPPING,
    MAX_FRAME,
    MAX_STREAMS,
    OPEN,
    PREFACE,
    RELEASE,
    REQUEST,
    REQUEST_AT,
    Malformed,
    frame,
)
from colonnade.net.mux.heads import SeenHeads, SentHeads, pack_answer, unpack_fields, unpack_request
from colonnade.net.mux.link import MuxLink
from colonnade.wire import failures

if TYPE_CHECKING:
    from colonnade.net.server import HttpServer

logger = logging.getLogger(__name__)

_PEER = struct.Struct("3i")  # what SO_PEERCRED tells of a peer: process, user, group


class MuxConnection(MuxLink):
    """A connection of an `HttpServer` that speaks frames; see `net.server.Link`."""

    peer = None  # the address of the client behind the gateway is in `x-forwarded-for`
    secure = False

    def __init__(self, server: HttpServer) -> None:
        super().__init__()
        self._server = server
        self._greeted = False
        self._closing_soon = False
        self._open: dict[int, MuxExchange] = {}
        self._seen_heads: SeenHeads[RequestHead] = SeenHeads()
        self._sent_heads = SentHeads()
        self._stalled = 0.0  # since when the peer has taken nothing
        self._buffered = 0  # bytes that it had not taken at the last look

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._server.opened(self)
        self.closing_soon = self._server.draining

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self._server.lost(self)
        exchanges, self._open = self._open, {}
        self._server.active -= len(exchanges)
        for exchange in exchanges.values():
            exchange.dropped()

    def data_received(self, data: bytes) -> None:
        if not self._greeted:
            self._greeted = True
            data = data[len(PREFACE) :]
        self._scheduled = True  # what the application puts now waits until all that came is with it
        try:
            super().data_received(data)
        finally:
            if self._open:
                self.loop.call_soon(self.flush)  # after what the application has scheduled in this turn
            else:
                self.flush()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = monotonic()
        self._buffered = 0

    # Called by exchanges.

    def head_number(
        self, status: int, content_type: bytes, fields: tuple[Header, ...], trailers: tuple[Header, ...]
    ) -> int:
        """The number of this head for the peer, which is told if it is new.

        Raises:
            ValueError: a field holds CR, LF or NUL, or the head is too long.
        """
        key = (status, content_type, fields, trailers)
        number = self._sent_heads.numbers.get(key)
        if number is None:
            packed = pack_answer(status, content_type, fields, trailers)
            if len(packed) > MAX_FRAME:
                raise ValueError(f"the answer's head has {len(packed)} bytes; the limit is {MAX_FRAME}")
            number = self._sent_heads.add(key)
            self.put(frame(HEAD, 0, packed, number))
        return number

    def ended(self, exchange: MuxExchange) -> None:
        """The answer is in the link, whole."""
        if self._open.pop(exchange.stream_id, None) is not None:
            self._server.active -= 1

    def broken_off(self, exchange: MuxExchange) -> None:
        """The answer will not be completed."""
        self.put(frame(CANCEL, exchange.stream_id))
        self.ended(exchange)

    # Called by the server.

    @property
    def closing_soon(self) -> bool:
        """Whether the peer was told to open no more streams here."""
        return self._closing_soon

    @closing_soon.setter
    def closing_soon(self, yes: bool) -> None:
        if yes and not self._closing_soon:
            self._closing_soon = True
            self.put(frame(GOODBYE, 0))

    def close_idle(self, since: float) -> None:
        """Close if nothing is under way and nothing has come since then (monotonic seconds)."""
        if not self._open and self.seen <= since and self.transport is not None:
            self.flush()
            self.transport.close()

    def check(self, now: float) -> None:
        """Cut a peer that has stalled in the middle of a frame, or does not read; called at each sweep."""
        timeout = self._server.limits.read_timeout
        if self._parts and now - self.seen > timeout:
            self.abort()
        elif self.writing_paused and self.transport is not None:
            size = self.transport.get_write_buffer_size()
            if size != self._buffered:
                self._buffered = size
                self._stalled = now
            elif now - self._stalled > timeout:
                self.abort()

    # Inside.

    def take(self, kind: int, stream: int, head: int, identity: bytes, rest: bytes) -> None:
        if kind == REQUEST:
            self._begin(MuxExchange(self, stream, self._seen_heads[head], identity, rest))
        elif kind == OPEN:
            if len(rest) != LENGTH.size:
                raise Malformed("OPEN without a length")
            exchange = MuxExchange(self, stream, self._seen_heads[head], identity, b"")
            exchange.expect(LENGTH.unpack(rest)[0])
            self._begin(exchange)
        elif kind == REQUEST_AT:
            self._begin(MuxExchange(self, stream, self._seen_heads[head], identity, self.placed(rest)))
        elif kind == RELEASE:
            self.freed(rest)
        elif kind == MAPPING:
            self._map(rest)
        elif kind == HEAD:
            self._seen_heads.set(head, unpack_request(rest, self._server.limits.header_count))
        elif (found := self._open.get(stream)) is None:
            if kind not in (BODY, END, CANCEL, CREDIT):
                raise Malformed(f"a frame of kind {kind} from a client")
        elif kind == BODY:
            self._body(found, rest)
        elif kind == END:
            self._body_end(found, rest)
        elif kind == CANCEL:
            self.ended(found)
            found.dropped()
        elif kind == CREDIT and len(rest) == COUNT.size:
            if found.outflow is not None:
                found.outflow.grant(COUNT.unpack(rest)[0])
        else:
            raise Malformed(f"a frame of kind {kind} with {len(rest)} bytes from a client")

    def _map(self, rest: bytes) -> None:
        """Share the client's memory, if it can be opened."""
        if self.mapping is not None or self.transport is None or len(rest) != COUNT.size:
            raise Malformed("memory is shared once")
        from colonnade.net.mux.mapping import Mapping  # its libraries are of no use without large bodies

        try:
            with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as peer:
                process, _, _ = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
            self.mapping = Mapping.open(process, COUNT.unpack(rest)[0])
        except OSError as error:
            logger.info("large bodies go through the socket: %s", error)
        else:
            self.put(frame(MAPPED, 0))

    def _begin(self, exchange: MuxExchange) -> None:
        stream = exchange.stream_id
        if stream in self._open or len(self._open) >= MAX_STREAMS:
            raise Malformed(f"stream {stream} is under way already, or one too many")
        limit = self._server.limits.body_bytes
        if exchange.length is not None and exchange.length > limit:
            self._refuse(stream, Refusal(413, f"The body has {exchange.length} bytes; the limit is {limit}."))
            return
        self._open[stream] = exchange
        self._server.active += 1
        try:
            self._server.app(exchange)
        except Exception as error:
            self._failed(exchange, error)

    def _body(self, exchange: MuxExchange, part: bytes) -> None:
        size = exchange.size + len(part)
        limit = self._server.limits.body_bytes
        if exchange.received or (exchange.length is not None and size > exchange.length):
            raise Malformed("more of a body than was announced")
        if size > limit and exchange.bounded:
            if exchange.started:
                exchange.abort()
                return
            self.ended(exchange)
            exchange.dropped()
            self._refuse(exchange.stream_id, Refusal(413, f"The body exceeds the limit of {limit} bytes."))
            return
        try:
            exchange.take(part)
        except Malformed:
            raise
        except Exception as error:
            self._failed(exchange, error)

    def _body_end(self, exchange: MuxExchange, trailers: bytes) -> None:
        if exchange.received or exchange.length not in (None, exchange.size):
            raise Malformed("a body that does not end where it was announced to")
        if trailers:
            exchange.trailers = unpack_fields(trailers)
        try:
            exchange.feed_end()
        except Exception as error:
            self._failed(exchange, error)

    def _failed(self, exchange: MuxExchange, error: Exception) -> None:
        """The application raised: an error of the family is answered, any other is opaque to the client."""
        known = failures.opaque(error)
        if exchange.started:
            exchange.abort()
        else:
            body, content_type = self._server.refusal(known)
            exchange.reply(known.status, body, content_type)

    def _refuse(self, stream: int, error: Error) -> None:
        """Answer a request that no application gets."""
        body, content_type = self._server.refusal(error)
        number = self.head_number(error.status, content_type, (), ())
        self.put(frame(ANSWER, stream, body, number))
