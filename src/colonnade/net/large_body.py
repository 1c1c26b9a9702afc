"""Large bodies on their way from the socket into one buffer.

The parser hands a body on in parts: bytes are received, sliced, gathered and joined, and each of these copies it. When
its length is known there is nothing to parse until its end. So this protocol takes the connection's place at the
transport and receives the bytes that are missing straight to where they belong. It asks for no byte more, so a request
behind the body is left to the connection and its parser.

A client that sends one large body mostly sends more of them under the same head. So it stays, and offers room for that
head and its body, to be received in one piece. Whatever else comes goes to the connection with the transport.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from colonnade.net import buffers
from colonnade.net.http1_exchange import Http1Exchange

if TYPE_CHECKING:
    from colonnade.net.connection import Connection

_NOWHERE = memoryview(b"")


class LargeBodies(asyncio.BufferedProtocol):
    """Takes the transport of `connection` over, to receive what is `missing` of the body of `exchange`."""

    __slots__ = ("_connection", "_exchange", "_missing", "_room")

    def __init__(self, connection: Connection, exchange: Http1Exchange, missing: memoryview) -> None:
        self._connection = connection
        self._exchange = exchange  # whose body is received, or was last
        self._missing: memoryview | None = missing  # None between two requests
        self._room = _NOWHERE  # for the next one, while it is received
        _hand_over(connection.transport, self)

    # Called by the event loop.

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._missing is not None:
            return self._missing
        last = self._exchange
        begin = len(last.head.raw)
        self._room = room = buffers.take(begin + (last.length or 0), begin + last.aligned)
        return room

    def buffer_updated(self, nbytes: int) -> None:
        connection, missing = self._connection, self._missing
        if missing is None:
            self._begin(nbytes)
            return
        exchange = self._exchange
        connection.seen = monotonic()
        exchange.size += nbytes
        self._missing = missing[nbytes:]
        if exchange.closed or connection.deaf:  # nobody wants the rest
            self._leave()
            connection.body_unwanted(exchange, nbytes, len(missing) - nbytes)
        elif nbytes == len(missing):
            self._complete()

    def eof_received(self) -> bool:
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()

    # Inside.

    def _begin(self, size: int) -> None:
        """Take what came between two requests, if it is what there is room for: the same head, and its body."""
        connection, head, room = self._connection, self._exchange.head, self._room
        self._room = _NOWHERE
        begin = len(head.raw)
        if size < begin or room[:begin] != head.raw or not connection.free:
            self._leave()
            connection.data_received(bytes(room[:size]))
            return
        exchange = Http1Exchange(connection, head)
        connection.announced(exchange)
        if not exchange.fill(room[begin:], size - begin):
            self._leave()
            connection.body_passed(exchange, bytes(room[begin:size]))
            return
        self._exchange = exchange
        if size < len(room):
            self._missing = room[size:]
        else:
            self._complete()

    def _complete(self) -> None:
        exchange, self._missing = self._exchange, None
        if not exchange.head.raw or not exchange.pooled:
            self._leave()
        self._connection.body_filled(exchange)

    def _leave(self) -> None:
        _hand_over(self._connection.transport, self._connection)


def _hand_over(transport: asyncio.Transport, protocol: asyncio.BaseProtocol) -> None:
    """Give the transport to a protocol that may receive in another way. It takes that up when it begins to read."""
    reading = transport.is_reading()
    if reading:
        transport.pause_reading()
    transport.set_protocol(protocol)
    if reading:
        transport.resume_reading()
