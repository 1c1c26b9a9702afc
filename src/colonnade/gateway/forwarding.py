"""What a proxy changes in a message on its way: header fields, and whether a failed request may be sent again.

Pure. The rules are RFC 9110 sections 7.6 (fields of one hop), 9.2.2 (idempotent methods) and the customary
`X-Forwarded-*` fields. Header names come in lower case, as `net` hands them over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Header = tuple[bytes, bytes]

# Methods that have the same effect once or twice (RFC 9110 section 9.2.2); POST and PATCH have not.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})

# Fields that mean this connection only (RFC 9110 section 7.6.1) or that the next hop's own connection sets anew.
_ONE_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-authentication-info",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"http2-settings",
    }
)
_REQUEST_DROPPED = _ONE_HOP | {b"content-length", b"expect", b"x-forwarded-for", b"x-request-id"}
_RESPONSE_DROPPED = _ONE_HOP | {b"content-length", b"content-type"}
_PLAIN_CONNECTION = frozenset({b"keep-alive", b"close", b"Keep-Alive", b"Close"})


def request_headers(
    raw: Iterable[Header],
    fields: Mapping[bytes, bytes],
    *,
    client: bytes,
    scheme: bytes,
    hide_authorization: bool,
) -> list[Header]:
    """The header fields to send to the replica, without `x-request-id` and those that frame the body (`net` adds them).

    Args:
        raw: the client's fields in order.
        fields: the same by name.
        client: the address of the client as text, empty if it has none (Unix socket).
        hide_authorization: the credential was meant for the gateway, so the replica does not see it.
    """
    dropped: frozenset[bytes] | set[bytes] = _REQUEST_DROPPED
    listed = _listed(fields.get(b"connection"))
    if listed or hide_authorization:
        dropped = _REQUEST_DROPPED | listed | ({b"authorization"} if hide_authorization else frozenset())
    sent = [header for header in raw if header[0] not in dropped]
    before = fields.get(b"x-forwarded-for") if b"x-forwarded-for" not in listed else None
    if client or before:
        sent.append((b"x-forwarded-for", b", ".join(part for part in (before, client) if part)))
    if b"x-forwarded-host" not in fields:
        host = fields.get(b"host")
        if host:
            sent.append((b"x-forwarded-host", host))
    if b"x-forwarded-proto" not in fields:
        sent.append((b"x-forwarded-proto", scheme))
    return sent


def response_headers(raw: Iterable[Header]) -> tuple[list[Header], bytes | None, int | None]:
    """The replica's fields for the client without those that frame the body, its content type, and its length.

    Raises:
        ValueError: the length is not a number, or there are two of them.
    """
    kept: list[Header] = []
    content_type: bytes | None = None
    length: int | None = None
    listed: frozenset[bytes] = frozenset()
    for header in raw:
        name, value = header
        if name not in _RESPONSE_DROPPED:
            kept.append(header)
        elif name == b"content-type":
            content_type = value
        elif name == b"content-length":
            if not value.isdigit() or (length is not None and length != int(value)):
                raise ValueError("content-length")
            length = int(value)
        elif name == b"connection":
            listed |= _listed(value)
    if listed:
        kept = [header for header in kept if header[0] not in listed]
    return kept, content_type, length


def may_repeat(method: bytes, sent: bool) -> bool:
    """Whether a request whose connection failed before any byte of the answer may go to another replica.

    Args:
        sent: any byte of it may have reached the first replica.
    """
    return not sent or method in IDEMPOTENT


def _listed(connection: bytes | None) -> frozenset[bytes]:
    """The field names that a `Connection` value declares to be of this hop only."""
    if connection is None or connection in _PLAIN_CONNECTION:
        return frozenset()
    return frozenset(name.strip().lower() for name in connection.split(b",")) - {b"keep-alive", b"close", b""}
