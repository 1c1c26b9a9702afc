"""A request on an HTTP/2 stream: an `Exchange` whose answer goes out in frames."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from colonnade.net.exchange import Exchange
from colonnade.net.head import BODILESS, Body, Header, Part
from colonnade.net.head_parse import RequestHead
from colonnade.net.http2.fields import fields, literal, status
from colonnade.net.http2.frames import END_STREAM, INTERNAL_ERROR, SMALLEST_MAX_FRAME, header_frames
from colonnade.net.http2.writing import Stream

if TYPE_CHECKING:
    from colonnade.net.http2.connection import Http2Connection

_PENDING_BYTES = 64 << 10  # with more than that to send, the application is told to pause


class StreamExchange(Exchange, Stream):
    """One stream of a server's connection."""

    _connection: Http2Connection
    takes_trailers = True
    _silent = False  # the answer has no body
    _slow = False  # the application has been told to pause
    begun = 0.0  # when the body began, or its rate was found good

    def __init__(self, connection: Http2Connection, head: RequestHead, number: int, body: bytes | None) -> None:
        """`body`: all of it, if it has come."""
        self._connection = connection
        self._head = head
        self._extra = None
        self.method = head.method
        self.path = head.path
        self.headers = head.headers
        self.keep_alive = True
        self.id = number
        self.window = connection.initial_window
        if body is None:
            self.length = head.length
            self.begun = connection.seen
            self._expects = head.expects
        else:
            self.length = self.size = len(body)
            self._first = body
            self.received = True

    @property
    def collecting(self) -> bool:
        """Whether the application waits for the whole body."""
        return self._done is not None

    # The request's body.

    def pause(self) -> None:
        """Take no more of the body than the window allows that was announced."""
        self.held = True

    def resume(self) -> None:
        if self.held:
            self.held = False
            if not self.received and not self.closed:
                self.begun = self._connection.seen
                self.size_before = self.size
                self._connection.credit(self)

    def _continue(self) -> None:
        self._connection.send(header_frames(self.id, status(100), 0, SMALLEST_MAX_FRAME))

    # The answer.

    def reply(
        self,
        status: int,
        body: Body = b"",
        content_type: bytes = b"application/json",
        headers: Iterable[Header] = (),
        trailers: Sequence[Header] = (),
    ) -> None:
        """See `Exchange.reply`; trailers go out."""
        if self.closed:
            return
        if self.started:
            raise RuntimeError("the answer has started already")
        connection = self._connection
        empty = status in BODILESS
        block = connection.blocks.prefix(status, b"" if empty else content_type)
        if headers:
            block += fields(headers)
        parts: Sequence[Part] = body if isinstance(body, (list, tuple)) else (body,)
        size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        name = self.id.to_bytes(4, "big")
        if trailers:
            last = connection.blocks.kept(trailers[0]) if len(trailers) == 1 else fields(trailers)
            tail = b"%b\x01\x05%b%b" % (len(last).to_bytes(3, "big"), name, last)
        else:
            tail = b""
            if not empty:
                block += literal(b"content-length", b"%d" % size)
        self.started = True
        if len(block) > SMALLEST_MAX_FRAME or len(tail) > SMALLEST_MAX_FRAME:
            self._reply_large(block, parts, trailers)
        elif empty or self.method == b"HEAD" or not (size or trailers):
            connection.send(b"%b\x01\x05%b%b" % (len(block).to_bytes(3, "big"), name, block))
        elif (
            len(parts) == 1
            and size <= SMALLEST_MAX_FRAME
            and size <= self.window
            and size <= connection.send_window
            and not connection.writing_paused
        ):
            connection.send_window -= size
            connection.send(
                b"%b\x01\x04%b%b%b\x00%c%b%b%b"
                % (
                    len(block).to_bytes(3, "big"),
                    name,
                    block,
                    size.to_bytes(3, "big"),
                    0 if tail else END_STREAM,
                    name,
                    bytes(parts[0]),
                    tail,
                )
            )
        else:
            connection.send(b"%b\x01\x04%b%b" % (len(block).to_bytes(3, "big"), name, block))
            for part in parts[:-1]:
                connection.send_body(self, part, None)
            connection.send_body(self, parts[-1] if parts else b"", tail)
        self.closed = True
        self._disconnect = ()
        if self._hooked or not self.received:
            self._forget()
        if self.pending is None:
            connection.answered(self)

    def _reply_large(self, block: bytes, parts: Sequence[Part], trailers: Sequence[Header]) -> None:
        """Answer with fields that take more than one frame."""
        connection = self._connection
        connection.send(header_frames(self.id, block, 0, connection.largest_frame))
        if self.method != b"HEAD":
            for part in parts:
                connection.send_body(self, part, None)
        connection.send_body(self, b"", self._tail(trailers))

    def _begin_answer(self, status: int, headers: Iterable[Header], content_type: bytes, length: int | None) -> None:
        connection = self._connection
        block = connection.blocks.prefix(status, content_type) + fields(headers)
        self._silent = status in BODILESS or self.method == b"HEAD"
        if length is not None and status not in BODILESS:
            block += literal(b"content-length", b"%d" % length)
        self.started = True
        connection.send(header_frames(self.id, block, END_STREAM if self._silent else 0, connection.largest_frame))

    def _write_part(self, chunk: bytes) -> None:
        self._connection.send_body(self, chunk, None)
        self.check_pace()

    def _end_answer(self, trailers: Sequence[Header]) -> None:
        """Trailers always go out."""
        if not self._silent:
            self._connection.send_body(self, b"", self._tail(trailers))
        self.closed = True
        self._forget()
        if self.pending is None:
            self._connection.answered(self)

    def _tail(self, trailers: Sequence[Header]) -> bytes:
        block = fields(trailers)
        return header_frames(self.id, block, END_STREAM, self._connection.largest_frame) if block else b""

    def abort(self) -> None:
        """Reset the stream: the honest end of an answer that has started and cannot go on."""
        if self.closed:
            return
        self._connection.reset(self, INTERNAL_ERROR)
        self.closed = True
        loop = asyncio.get_running_loop()
        for callback in self._disconnect:
            loop.call_soon(self._connection.guarded, callback)
        self._forget()

    def refuse(self, status: int, body: bytes, content_type: bytes) -> None:
        """Answer for the transport, and tell the application that its client's body will not come."""
        callbacks = self._disconnect
        if self.started:
            self.abort()
            return
        self.reply(status, body, content_type)
        for callback in callbacks:
            self._connection.guarded(callback)

    # Back-pressure.

    @property
    def slow(self) -> bool:
        return self.pending_size > _PENDING_BYTES or self._connection.writing_paused

    def on_writable(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._hooked = True
        self._pause_writer = pause
        self._resume_writer = resume
        self._slow = False
        self.check_pace()

    def check_pace(self) -> None:
        """Tell the application if the client has become too slow, or has caught up."""
        slow = self.slow
        if slow != self._slow:
            self._slow = slow
            self.writable(not slow)
        if not slow and self._waiters:
            self._wake()

    def sent(self) -> None:
        """See `Stream.sent`."""
        if self.closed:
            self._connection.answered(self)
        else:
            self.check_pace()

    def progressed(self, now: float) -> None:
        """See `Stream.progressed`."""
        self.begun = now
