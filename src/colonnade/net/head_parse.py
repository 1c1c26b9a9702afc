"""What a request head must satisfy beyond the grammar that the C parser enforces. Pure: a head in, a verdict out.

llhttp in strict mode refuses the framing tricks itself: Content-Length with Transfer-Encoding, two Content-Lengths,
folded lines, a bare LF, white space before a colon, bad chunk sizes (RFC 9112, sections 2.2, 5.1, 5.2, 6.1, 6.3, 7.1).
The rest is here.
"""

from __future__ import annotations

from typing import Any, Self

import msgspec

from colonnade.errors import Error
from colonnade.net.head import Header

# What a refusal is called for machines: Kubernetes' `Status.reason` where it has one, else the name in RFC 9110.
_REASONS = {
    400: "BadRequest",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    413: "RequestEntityTooLarge",
    414: "URITooLong",
    417: "ExpectationFailed",
    431: "RequestHeaderFieldsTooLarge",
    501: "NotImplemented",
    505: "HTTPVersionNotSupported",
}


class RequestHead(msgspec.Struct):
    """What the head of a request says; requests with the same head share it.

    Attributes:
        method: as sent.
        target: as sent.
        path: target before `?`, not decoded; `b"*"` for `OPTIONS *`.
        query: target after `?`, not decoded.
        headers: lower-case name to value; repeated fields joined.
        fields: in order, names in lower case.
        keep_alive: the connection may stay open.
        http10: the client speaks HTTP/1.0.
        length: announced length of the body; None for a chunked one.
        expects: the client waits for 100 before it sends the body.
        memo: what the application has made of this head, see `Exchange.memo`.
        raw: the bytes of a head that is remembered, with the empty line behind it; else empty.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    headers: dict[bytes, bytes]
    fields: list[Header]
    keep_alive: bool
    http10: bool
    length: int | None
    expects: bool
    memo: Any = None
    raw: bytes = b""

    def without_last(self) -> Self:
        """The same head without its last field, which must not be repeated."""
        left = self.fields[:-1]
        return msgspec.structs.replace(self, fields=left, headers=join_repeated(left))


class Refusal(Error):
    """The transport answers the request itself, with `status` and `message`, and closes the connection."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = _REASONS[status]


def join_repeated(fields: list[Header]) -> dict[bytes, bytes]:
    """Headers with repeated fields joined by a comma (RFC 9110, section 5.3); a repeated Host is refused."""
    joined: dict[bytes, bytes] = {}
    for name, value in fields:
        before = joined.get(name)
        if before is None:
            joined[name] = value
        elif name == b"host":
            raise Refusal(400, "More than one Host header.")
        elif name == b"cookie":
            joined[name] = b"%b; %b" % (before, value)
        else:
            joined[name] = b"%b, %b" % (before, value)
    return joined


def split_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request target in origin, absolute or asterisk form (RFC 9112, section 3.2)."""
    if b"#" in target:
        raise Refusal(400, "The request target holds a fragment ('#'); percent-encode it as %23.")
    rest = target
    if rest[:1] != b"/":
        if rest == b"*" and method == b"OPTIONS":
            return b"*", b""
        scheme, found, after = rest.partition(b"://")
        if not found or scheme.lower() not in (b"http", b"https"):
            raise Refusal(400, "The request target must be a path that starts with '/'.")
        authority, slash, tail = after.partition(b"/")
        if b"?" in authority:
            tail = authority.partition(b"?")[2]
            return b"/", tail + slash + after.partition(b"/")[2]
        rest = b"/" + tail
    path, _, query = rest.partition(b"?")
    return path, query


def body_length(headers: dict[bytes, bytes], http10: bool) -> int | None:
    """Announced length of the body, 0 without one, None for a chunked one."""
    coding = headers.get(b"transfer-encoding")
    if coding is not None:
        if http10:
            raise Refusal(400, "Transfer-Encoding is not part of HTTP/1.0.")
        if b"content-length" in headers:
            raise Refusal(400, "Content-Length and Transfer-Encoding exclude each other.")
        if coding.lower() != b"chunked":
            raise Refusal(501, "The only supported transfer coding is 'chunked'.")
        return None
    length = headers.get(b"content-length")
    if length is None:
        return 0
    if not length.isdigit():
        raise Refusal(400, "Content-Length must be one decimal number.")
    return int(length) if len(length) < 20 else 1 << 63


def expects_continue(headers: dict[bytes, bytes], http10: bool) -> bool:
    """Whether the client waits for `100 Continue` (RFC 9110, section 10.1.1)."""
    value = headers.get(b"expect")
    if value is None or http10:
        return False
    if value.lower() != b"100-continue":
        raise Refusal(417, "The only supported expectation is '100-continue'.")
    return True
