"""One connection to a peer: the bytes of one answer at a time, to the call that waits for it.

The parser does not know what was asked, so what depends on it is decided here: an answer to HEAD ends with its head,
and an answer without a length ends with the connection (RFC 9112, section 6.3). A connection is pooled only if answer
and request both ended cleanly and nothing came after them; a peer that sends more than it was asked for is not spoken
to again.
"""

from __future__ import annotations

import asyncio
import logging
import select
from typing import TYPE_CHECKING, Self, cast

import httptools
import msgspec

from colonnade.errors import BadUpstream
from colonnade.net.head import Header, trailer_fields

if TYPE_CHECKING:
    from colonnade.net.call import Call
    from colonnade.net.upstream import Upstream

logger = logging.getLogger(__name__)

_MAX_FIELDS = 1000


class _Excess(Exception):
    """The answer's head, or its trailers, are larger than the bound, or an answer came that nobody asked for."""


class AnswerHead(msgspec.Struct):
    """What the head of an answer with a length says; answers with the same head share it."""

    status: int
    fields: list[Header]
    length: int
    reusable: bool
    raw: bytes = b""

    def without_last(self) -> Self:
        """The same head without its last field."""
        return msgspec.structs.replace(self, fields=self.fields[:-1])


class UpstreamConnection(asyncio.Protocol):
    """A connection of an `Upstream`, with at most one call on it."""

    __slots__ = (
        "_call",
        "_complete",
        "_fields",
        "_head_bytes",
        "_in_body",
        "_parser",
        "_poller",
        "_reusable",
        "_status",
        "_trailers",
        "_transport",
        "_unread",
        "_until_close",
        "_upstream",
        "idle_since",
        "writing_paused",
    )

    _transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpResponseParser(self)
        self._poller = select.poll()
        self._call: Call | None = None
        self._fields: list[Header] = []
        self._trailers: list[Header] = []
        self._head_bytes = 0  # of the head; then what came since the last part of the body, framing and trailers
        self._unread = b""  # what begins with the head that is read next, if it begins at an answer's beginning
        self._status = 0
        self._in_body = False
        self._until_close = False
        self._complete = False
        self._reusable = False
        self.writing_paused = False
        self.idle_since = 0.0

    # Called by the upstream and the call.

    @property
    def usable(self) -> bool:
        """Whether the connection still stands. The kernel is asked, too: it may know of a close that the event loop has
        not come to yet, and a request that may not be sent twice would be lost on it."""
        return not self._transport.is_closing() and not self._poller.poll(0)

    def take(self, call: Call) -> None:
        """Send a call and wait for its answer."""
        self._call = call
        self._complete = self._in_body = self._until_close = False
        self._head_bytes = 0
        if self._trailers:
            self._trailers = []
        call.attach(self)

    def send(self, parts: list[bytes]) -> None:
        """Send bytes of the request."""
        if len(parts) == 1:
            self._transport.write(parts[0])
        elif parts:
            self._transport.writelines(parts)

    def pause_reading(self) -> None:
        """Read nothing until `resume_reading`."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._poller.register(transport.get_extra_info("socket").fileno(), select.POLLIN | select.POLLRDHUP)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.lost(self)
        call, self._call = self._call, None
        if call is None:
            return
        if self._until_close and exc is None:
            call.ended()
        elif call.answered:
            call.broken(BadUpstream("The upstream server broke off its answer."), True)
        else:
            call.broken(BadUpstream("The upstream server closed the connection without an answer."), True)

    def pause_writing(self) -> None:
        self.writing_paused = True
        if self._call is not None:
            self._call.writable(False)

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._call is not None:
            self._call.writable(True)

    def data_received(self, data: bytes) -> None:
        call = self._call
        if call is None or call.closed:
            self._transport.abort()
            return
        call.answered = True
        if not (self._in_body or self._head_bytes) and call.method != b"HEAD":
            if self._read_known(call, data):
                return
            self._unread = data
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._broken_off(error)
            return
        if self._complete:
            self._release(call)
        elif self._head_bytes > self._upstream.header_bytes:
            self._broken_off(_Excess())

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._complete:
            raise _Excess
        self._fields = []

    def on_header(self, name: bytes, value: bytes) -> None:
        fields = self._trailers if self._in_body else self._fields
        fields.append((name.lower(), value))
        if len(fields) > _MAX_FIELDS:
            raise _Excess

    def on_headers_complete(self) -> None:
        call = self._call
        status = self._parser.get_status_code()
        unread, self._unread = self._unread, b""
        if call is None or status < 200:
            return
        if self._complete:
            raise _Excess
        fields = self._fields
        self._in_body = True
        self._head_bytes = 0
        self._status = status
        names = {name for name, _ in fields}
        if call.method == b"HEAD" or status in (204, 304):
            closing = any(name == b"connection" and b"close" in value.lower() for name, value in fields)
            self._reusable = self._parser.get_http_version() == "1.1" and not closing
        else:
            self._until_close = b"content-length" not in names and b"transfer-encoding" not in names
            self._reusable = self._parser.should_keep_alive()
            if unread and not self._until_close:
                self._learn(unread)
        if not call.closed:
            call.receiver.head(status, fields)
        if call.method == b"HEAD":
            self._complete = True

    def on_body(self, data: bytes) -> None:
        call = self._call
        if self._complete:
            raise _Excess
        self._head_bytes = 0
        if call is not None and not call.closed:
            call.receiver.chunk(data)

    def on_message_complete(self) -> None:
        if self._in_body and not self._until_close:
            trailers = self._trailers
            if trailers:
                if sum(len(name) + len(value) + 4 for name, value in trailers) > self._upstream.header_bytes:
                    raise _Excess
                self._trailers = trailer_fields(trailers)
            self._complete = True

    # Inside.

    def _read_known(self, call: Call, data: bytes) -> bool:
        """Pass on the answer if `data` is exactly one whose head was read before."""
        found = self._upstream.known.find(data)
        if found is None:
            return False
        head, extra, begin = found
        if len(data) - begin != head.length:
            return False
        self._reusable = head.reusable
        receiver = call.receiver
        try:
            receiver.head(head.status, head.fields if extra is None else [*head.fields, extra])
            if head.length and not call.closed:
                receiver.chunk(data[begin:])
        except Exception as error:
            self._not_taken(error)
        else:
            self._release(call)
        return True

    def _learn(self, data: bytes) -> None:
        lengths = [value for name, value in self._fields if name == b"content-length"]
        if len(lengths) == 1 and not any(name == b"transfer-encoding" for name, _ in self._fields):
            head = AnswerHead(self._status, self._fields, int(lengths[0]), self._reusable)
            self._upstream.known.learn(data, head)

    def _release(self, call: Call) -> None:
        self._call = None
        trailers = self._trailers  # the next call begins with others
        if call.method == b"HEAD":
            self._parser = httptools.HttpResponseParser(self)  # the old one waits for the body
        if self._reusable and call.finished and not self._transport.is_closing():
            self._in_body = False
            self._transport.resume_reading()
            self._upstream.release(self)
        else:
            self._transport.close()
        call.ended(trailers)

    def _broken_off(self, error: Exception) -> None:
        cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
        if cause is not None and not isinstance(cause, _Excess):
            self._not_taken(cause)
        else:
            self._break("The upstream server sent a malformed or oversized answer.")

    def _not_taken(self, error: BaseException) -> None:
        logger.error("a receiver failed", exc_info=error)
        self._break("The answer of the upstream server could not be passed on.")

    def _break(self, message: str) -> None:
        call, self._call = self._call, None
        self._transport.abort()
        if call is not None:
            call.broken(BadUpstream(message), True)
