"""The bytes of a request's head, as the client sends it. Pure."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from colonnade.net.head import Header, field_lines


class Framing(enum.Enum):
    """How a request's body is delimited."""

    WHOLE = enum.auto()  # sent together with the head
    LENGTH = enum.auto()  # streamed, length announced
    CHUNKED = enum.auto()


# Fields about one connection, which the client decides itself (RFC 9110, section 7.6.1; Expect: it does not wait).
_LEFT_OUT = frozenset({b"upgrade", b"te", b"proxy-connection", b"expect"})
METHODS_WITH_BODY = frozenset({b"POST", b"PUT", b"PATCH"})
_FORBIDDEN = frozenset(b" \r\n\t\0")


def request_head(
    method: bytes, target: bytes, headers: Iterable[Header], body: bytes | None, authority: bytes
) -> tuple[bytes, Framing]:
    """Head of a request, and how its body is framed.

    Raises:
        ValueError: method, target or a header holds a byte that would end its line early.
    """
    if not _FORBIDDEN.isdisjoint(target) or not _FORBIDDEN.isdisjoint(method) or not target:
        raise ValueError(f"request line {method!r} {target!r}: white space and control characters must be encoded")
    fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if not names.isdisjoint(_LEFT_OUT):
        fields = [(name, value) for name, value in fields if name.lower() not in _LEFT_OUT]
    lines = b"" if b"host" in names else b"host: %b\r\n" % authority
    lines += field_lines(fields)
    if body is not None:
        framing = Framing.WHOLE
        if body or method in METHODS_WITH_BODY:
            lines += b"content-length: %d\r\n" % len(body)
    elif b"content-length" in names:
        framing = Framing.LENGTH
        lines += b"content-length: %d\r\n" % next(
            int(value) for name, value in fields if name.lower() == b"content-length"
        )
    else:
        framing = Framing.CHUNKED
        lines += b"transfer-encoding: chunked\r\n"
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, lines), framing
