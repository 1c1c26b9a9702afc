"""Bytes to exchanges: the C parser's callbacks, and the bounds on what a head, a body and their framing may cost.

Apart from the connection because it knows no socket and no clock: it is fed, hands each exchange and its body on, and
raises a `Refusal` when the client has to be told off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from colonnade.net.head import Header, trailer_fields
from colonnade.net.head_parse import (
    Refusal,
    RequestHead,
    body_length,
    expects_continue,
    join_repeated,
    split_target,
)
from colonnade.net.http1_exchange import Http1Exchange
from colonnade.net.known_heads import KnownHeads
from colonnade.net.limits import MAX_FRAMING_RATIO, Limits

if TYPE_CHECKING:
    from colonnade.net.connection import Connection


class RequestReader:
    """Reads the requests of one connection.

    Attributes:
        in_head: a head has begun and is not complete.
        receiving: the exchange whose body is being read.
    """

    __slots__ = (
        "_connection",
        "_declining",
        "_fields",
        "_head_bytes",
        "_known",
        "_last",
        "_limits",
        "_parser",
        "_raw_body",
        "_size",
        "_target",
        "_trailers",
        "_unread",
        "in_head",
        "receiving",
    )

    def __init__(self, connection: Connection, limits: Limits, known: KnownHeads[RequestHead]) -> None:
        self._connection = connection
        self._limits = limits
        self._known = known
        self._last: RequestHead | None = None  # the known head that came last, which mostly comes again
        self._parser = httptools.HttpRequestParser(self)
        self._size = 0  # of the bytes that are being read
        self._unread = b""  # what begins with the head that is read next, if it begins at a message's beginning
        self._target = b""
        self._fields: list[Header] = []
        self._trailers: list[Header] = []
        self._head_bytes = 0  # of the head, or of the trailers, before these bytes; 0 if it began with them
        self._raw_body = 0  # bytes of a chunked body with its framing
        self._declining = False  # the parser stopped at an upgrade that is not taken
        self.in_head = False
        self.receiving: Http1Exchange | None = None

    def known(self, data: bytes) -> Http1Exchange | None:
        """The exchange, with its body, if `data` is exactly one request whose head was read before."""
        if self.in_head or self.receiving is not None:
            return None
        last = self._last
        if last is not None and data.startswith(last.raw):
            begin = len(last.raw)
            return (
                Http1Exchange(self._connection, last, None, data[begin:]) if len(data) - begin == last.length else None
            )
        found = self._known.find(data)
        if found is None:
            return None
        head, extra, begin = found
        if head.raw:
            self._last = head
        if len(data) - begin != head.length:
            return None
        return Http1Exchange(self._connection, head, extra, data[begin:])

    def read(self, data: bytes) -> None:
        """Read what came.

        Raises:
            Refusal: the request is malformed or over a limit.
        """
        self._size = len(data)
        self._unread = b"" if self.in_head or self.receiving is not None else data
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._decline_upgrades(memoryview(data)[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else None
            if cause is not None:
                raise cause from None
            if isinstance(error, httptools.HttpParserInvalidMethodError):
                raise Refusal(400, "The request line does not start with a known method.") from None
            raise Refusal(400, f"Malformed HTTP request: {str(error).rstrip('.')}.") from None
        if self.in_head or self.receiving is not None:
            self._count_unfinished()

    def restart(self) -> None:
        """Begin anew, in front of a head; the body that is being read is received elsewhere."""
        self._parser = httptools.HttpRequestParser(self)

    def expect(self, length: int) -> None:
        """Read so many bytes of the body of `receiving` next, whose head was read elsewhere."""
        self._go_on(b"content-length: %d" % length)

    def stop(self) -> None:
        """Forget what was half read; nothing more is read."""
        self.in_head = False
        self.receiving = None

    # Called by the parser.

    def on_message_begin(self) -> None:
        if self._connection.deaf:
            raise Refusal(400, "Data after the last request of the connection.")
        self.in_head = True
        self._target = b""
        self._fields = []
        self._head_bytes = 0
        self._connection.begun = self._connection.seen

    def on_url(self, url: bytes) -> None:
        self._target += url
        if len(self._target) > self._limits.target_bytes:
            raise Refusal(414, f"The request target is longer than {self._limits.target_bytes} bytes.")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:
            self._fields.append((name.lower(), value))
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > self._limits.header_bytes:
            raise Refusal(431, f"The trailer fields exceed {self._limits.header_bytes} bytes.")
        self._trailers.append((name.lower(), value))
        if len(self._trailers) > self._limits.header_count:
            raise Refusal(431, f"More than {self._limits.header_count} trailer fields.")

    def on_headers_complete(self) -> None:
        self.in_head = False
        if self._declining:
            return
        parser = self._parser
        fields = self._fields
        limits = self._limits
        self._check_head_size()
        headers = dict(fields)
        if len(headers) != len(fields):
            headers = join_repeated(fields)
        keep_alive = parser.should_keep_alive()
        if keep_alive and b"connection" not in headers:
            http10 = False  # who keeps a connection without saying so speaks 1.1
        else:
            version = parser.get_http_version()
            http10 = version == "1.0"
            if not http10 and version != "1.1":
                raise Refusal(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        if not http10 and b"host" not in headers:
            raise Refusal(400, "The Host header is missing.")
        method = parser.get_method()
        if method == b"CONNECT":
            raise Refusal(405, "CONNECT is not supported.")
        target = self._target
        path, query = split_target(method, target)
        length = body_length(headers, http10)
        if length is not None and length > limits.body_bytes:
            raise Refusal(413, f"The body has {length} bytes; the limit is {limits.body_bytes}.")
        expects = b"expect" in headers and length != 0 and expects_continue(headers, http10)
        if b"upgrade" in headers and parser.should_upgrade():
            self._declining = True
            keep_alive = b"close" not in headers[b"connection"].lower()
        self._raw_body = 0
        head = RequestHead(method, target, path, query, headers, fields, keep_alive, http10, length, expects)
        unread, self._unread = self._unread, b""
        if unread and not (self._declining or expects or length is None):
            self._known.learn(unread, head)
        self.receiving = exchange = Http1Exchange(self._connection, head)
        self._connection.arrived(exchange)

    def on_body(self, part: bytes) -> None:
        exchange = self.receiving
        if exchange is None:
            return
        if exchange.length is None and exchange.bounded and exchange.size + len(part) > self._limits.body_bytes:
            raise Refusal(413, f"The body exceeds the limit of {self._limits.body_bytes} bytes.")
        self._connection.body_part(exchange, part)

    def on_message_complete(self) -> None:
        if self._declining:
            return
        exchange, self.receiving = self.receiving, None
        if self._trailers:
            fields, self._trailers = self._trailers, []
            if exchange is not None:
                exchange.trailers = trailer_fields(fields)
        if exchange is not None:
            self._connection.body_end(exchange)

    # Inside.

    def _check_head_size(self) -> None:
        limits = self._limits
        if len(self._fields) > limits.header_count:
            raise Refusal(431, f"More than {limits.header_count} header fields.")
        if self._head_bytes or self._size > limits.header_bytes:  # else it cannot be too large
            size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._fields)
            if size > limits.header_bytes:
                raise Refusal(431, f"The header fields exceed {limits.header_bytes} bytes.")
            self._head_bytes = 0

    def _count_unfinished(self) -> None:
        """Bound what the parser itself keeps or skips: a head that is not complete, and framing that brings no body."""
        limits = self._limits
        if self.in_head:
            self._head_bytes = self._head_bytes + self._size if self._head_bytes else 1
            if self._head_bytes > limits.header_bytes or len(self._fields) > limits.header_count:
                bounds = f"{limits.header_bytes} bytes or {limits.header_count} fields"
                raise Refusal(431, f"The header fields exceed {bounds}.")
        exchange = self.receiving
        if exchange is not None and exchange.length is None:
            self._raw_body += self._size
            if self._raw_body > self._size + limits.header_bytes + MAX_FRAMING_RATIO * exchange.size:
                raise Refusal(400, "The chunked body is mostly framing.")

    def _decline_upgrades(self, rest: memoryview) -> None:
        """Go on in HTTP/1.1 after a request that offers an upgrade, as RFC 9110, section 7.8 lets a server do.

        The parser stops behind such a head and would skip its body, so a fresh one takes over from a plain head with
        the same framing. What follows a head without a body may be of another protocol: it is read when the answer
        shows that it is not.
        """
        while True:
            exchange = self.receiving
            self._parser = httptools.HttpRequestParser(self)
            if exchange is None or exchange.length == 0:
                self._declining = False
                self.on_message_complete()
                if exchange is not None and not exchange.started and not exchange.closed:
                    self._connection.offered(exchange, bytes(rest))
                    return
            else:
                length = exchange.length
                self._go_on(b"transfer-encoding: chunked" if length is None else b"content-length: %d" % length)
            try:
                self._parser.feed_data(rest)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]

    def _go_on(self, framing: bytes) -> None:
        """Let a fresh parser begin in front of a body with this framing."""
        self._declining = True
        self._parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % framing)
        self._declining = False
