"""A request that came over HTTP/1.1, and its answer.

A connection has one exchange with the application at a time; pipelined ones wait, so answers go out in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from colonnade.net.exchange import Exchange
from colonnade.net.head import (
    BODILESS,
    CHUNKED,
    CLOSE,
    CONTINUE,
    KEEP_ALIVE,
    Body,
    Header,
    Part,
    ReadyHead,
    field_lines,
)

if TYPE_CHECKING:
    from colonnade.net.connection import Connection
    from colonnade.net.server import HttpServer

_JOIN_BELOW = 64 << 10  # up to here one joined write is cheaper than two buffers


class Http1Exchange(Exchange):
    """An exchange whose answer is written as it stands in RFC 9112. An answer in parts is chunked, or of exactly the
    length that was announced; to HTTP/1.0 one of unknown length ends with the connection."""

    _connection: Connection
    _chunked = False

    def abort(self) -> None:
        """Cut the connection."""
        self._connection.abort()

    # The request's body.

    def pause(self) -> None:
        """Read no more of the body from the socket; parts that were read already may still come."""
        if not self.received:
            self._connection.hold_body(True)

    def resume(self) -> None:
        self._connection.hold_body(False)

    def _continue(self) -> None:
        self._connection.send(CONTINUE)

    # The answer.

    def reply(
        self,
        status: int,
        body: Body = b"",
        content_type: bytes = b"application/json",
        headers: Iterable[Header] = (),
        trailers: Sequence[Header] = (),
    ) -> None:
        if self.closed:
            return
        if self.started:
            raise RuntimeError("the answer has started already")
        connection = self._connection
        if (
            status == 200
            and type(body) is bytes
            and len(body) < _JOIN_BELOW
            and self.keep_alive
            and self.received
            and not (connection.closing_soon or self._head.http10)
            and self.method != b"HEAD"
        ):
            self.started = self.closed = True
            extra = field_lines(headers) if headers else b""
            prefix = connection.heads.prefix(200, content_type)
            connection.send(b"%bcontent-length: %d\r\n%b\r\n%b" % (prefix, len(body), extra, body))
            self._disconnect = ()
            if self._hooked:
                self._forget()
            connection.answered(self)
            return
        parts: Sequence[Part] = body if isinstance(body, (list, tuple)) else (body,)
        size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        if not self.received and (self._expects or connection.discards_too_much(self)):
            self.keep_alive = False
        extra = field_lines(headers) if headers else b""
        if self._head.http10 or not self.keep_alive or connection.closing_soon:
            extra += self._connection_field()
        self.started = True
        empty = status in BODILESS
        prefix = connection.heads.prefix(status, b"" if empty else content_type)
        if empty:
            connection.send(b"%b%b\r\n" % (prefix, extra))
        elif self.method == b"HEAD":
            connection.send(b"%bcontent-length: %d\r\n%b\r\n" % (prefix, size, extra))
        elif len(parts) == 1 and size < _JOIN_BELOW:
            connection.send(b"%bcontent-length: %d\r\n%b\r\n%b" % (prefix, size, extra, bytes(parts[0])))
        else:
            connection.send_all([b"%bcontent-length: %d\r\n%b\r\n" % (prefix, size, extra), *parts])
        self.closed = True
        self._disconnect = ()
        if self._hooked or not self.received:
            self._forget()
        connection.answered(self)

    def relay(self, head: ReadyHead, identity: bytes, body: Part) -> None:
        connection = self._connection
        if (
            not (self.received and self.keep_alive and identity and head.plain)
            or self.started
            or connection.closing_soon
            or self._head.http10
            or self.method == b"HEAD"
            or type(body) is not bytes
            or len(body) >= _JOIN_BELOW
        ):
            super().relay(head, identity, body)
            return
        if self.closed:
            return
        self.started = self.closed = True
        connection.send(
            b"%bcontent-length: %d\r\n%bx-request-id: %b\r\n\r\n%b"
            % (connection.heads.prefix(head.status, head.content_type), len(body), head.lines, identity, body)
        )
        self._disconnect = ()
        if self._hooked:
            self._forget()
        connection.answered(self)

    def upgrade(self, headers: Iterable[Header], make: Callable[[HttpServer], asyncio.Protocol]) -> None:
        if self.closed:
            return
        if self.started:
            raise RuntimeError("the answer has started already")
        lines = field_lines(headers)
        self.started = self.closed = True
        self._forget()
        connection = self._connection
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n%b\r\n" % lines)
        connection.hand_over(self, make)

    def _begin_answer(self, status: int, headers: Iterable[Header], content_type: bytes, length: int | None) -> None:
        connection = self._connection
        if length is not None:
            framing = b"" if status in BODILESS else b"content-length: %d\r\n" % length
        elif status in BODILESS or self.method == b"HEAD":
            framing = b""
        elif self._head.http10:
            framing = b""
            self.keep_alive = False
        else:
            framing = CHUNKED
            self._chunked = True
        if self._expects:
            self.keep_alive = False
        extra = field_lines(headers)
        self.started = True
        connection.send(
            b"%b%b%b%b\r\n" % (connection.heads.prefix(status, content_type), framing, extra, self._connection_field())
        )

    def _write_part(self, chunk: bytes) -> None:
        if not self._chunked:
            self._connection.send(chunk)
        elif (size := len(chunk)) < _JOIN_BELOW:
            self._connection.send(b"%x\r\n%b\r\n" % (size, chunk))
        else:
            self._connection.send_all([b"%x\r\n" % size, chunk, b"\r\n"])

    def _end_answer(self, trailers: Sequence[Header]) -> None:
        if self._chunked:
            self._connection.send(b"0\r\n%b\r\n" % (field_lines(trailers) if trailers else b""))
        self.closed = True
        self._forget()
        self._connection.answered(self)

    @property
    def slow(self) -> bool:
        return self._connection.writing_paused

    def _wait_writable(self, waiter: asyncio.Future[None]) -> None:
        self._connection.wait_writable(waiter)

    def _connection_field(self) -> bytes:
        if not self.keep_alive or self._connection.closing_soon:
            self.keep_alive = False
            return CLOSE
        return KEEP_ALIVE if self._head.http10 else b""
