"""The bytes of an answer's head. The part that answers share (status line, date, content type) is kept for a second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from time import gmtime, time

Header = tuple[bytes, bytes]
Part = bytes | memoryview  # of a body
Body = Part | Sequence[Part]

REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"

# The transport's own: it knows the framing and the life of the connection, an application or a proxied answer does not.
OWN_HEADERS = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"date"})

# What no trailer field may say (RFC 9110, section 6.5.1): framing, routing, who may pass, what the head has decided.
_NOT_IN_TRAILERS = OWN_HEADERS | {
    b"age", b"authorization", b"cache-control", b"content-encoding", b"content-range", b"content-type", b"cookie",
    b"expect", b"expires", b"host", b"location", b"max-forwards", b"proxy-authenticate", b"proxy-authorization",
    b"proxy-connection", b"range", b"retry-after", b"set-cookie", b"te", b"trailer", b"upgrade", b"vary",
    b"www-authenticate",
}  # fmt: skip

# Answers of these statuses have neither body nor length (RFC 9110, sections 15.2, 15.3.5, 15.4.5).
BODILESS = frozenset({*range(200), 204, 304})

_MAX_PREFIXES = 64
_DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
_MONTHS = (
    *(b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun"),
    *(b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"),
)


def field_lines(headers: Iterable[Header]) -> bytes:
    """Header fields as bytes, without the transport's own ones.

    Raises:
        ValueError: a name or value holds CR, LF or NUL and would end the field early.
    """
    lines = [b"%b: %b\r\n" % (name, value) for name, value in headers if name.lower() not in OWN_HEADERS]
    text = b"".join(lines)
    if text.count(b"\n") != len(lines) or text.count(b"\r") != len(lines) or b"\0" in text:
        name = next(line for line in lines if line.count(b"\n") > 1 or line.count(b"\r") > 1 or b"\0" in line)
        raise ValueError(f"header {name[:100]!r}: CR, LF and NUL cannot be part of a field")
    return text


def http_date(seconds: float) -> bytes:
    """A time as a field has it (RFC 9110, section 5.6.7). `email.utils` has it, too, and takes 3 ms of each start."""
    at = gmtime(seconds)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    clock = at.tm_hour, at.tm_min, at.tm_sec
    return b"%b, %02d %b %04d %02d:%02d:%02d GMT" % (day, at.tm_mday, month, at.tm_year, *clock)


def trailer_fields(fields: Iterable[Header]) -> list[Header]:
    """The trailer fields that may be believed; names are in lower case."""
    return [field for field in fields if field[0] not in _NOT_IN_TRAILERS]


class ReadyHead:
    """The head of answers that a gateway passes on again and again, made ready once.

    Attributes:
        status, content_type, fields, trailers: as `Exchange.reply` takes them.
        lines: the fields as HTTP/1.1 has them.
        plain: an answer of this status has a body.
    """

    __slots__ = ("content_type", "fields", "lines", "plain", "status", "trailers")

    def __init__(
        self, status: int, content_type: bytes, fields: Sequence[Header], trailers: Sequence[Header] = ()
    ) -> None:
        """Raises ValueError if a field holds CR, LF or NUL."""
        self.status = status
        self.content_type = content_type
        self.fields = fields
        self.trailers = trailers
        self.lines = field_lines(fields)
        self.plain = status not in BODILESS


class HeadWriter:
    """Writes heads; one per server, so that the cached second is shared by its connections."""

    __slots__ = ("_fresh_until", "_prefixes")

    def __init__(self) -> None:
        self._prefixes: dict[tuple[int, bytes], bytes] = {}
        self._fresh_until = 0.0

    def prefix(self, status: int, content_type: bytes) -> bytes:
        """Status line, date and content type (none if empty), up to and with the last CRLF."""
        now = time()
        if now >= self._fresh_until or len(self._prefixes) >= _MAX_PREFIXES:
            self._prefixes.clear()
            self._fresh_until = int(now) + 1.0
        found = self._prefixes.get((status, content_type))
        if found is None:
            found = b"HTTP/1.1 %d %b\r\ndate: %b\r\n" % (
                status,
                REASONS.get(status, b"Unknown"),
                http_date(now),
            )
            if content_type:
                found += field_lines([(b"content-type", content_type)])
            self._prefixes[status, content_type] = found
        return found
