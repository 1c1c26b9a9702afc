"""The handshake of WebSocket (RFC 6455, section 4): a request of HTTP/1.1 that offers an upgrade. What comes after it
is in `websocket`, or passes unread (`tunnel`)."""

from __future__ import annotations

import base64
import binascii
from urllib.parse import urlsplit

from colonnade.errors import Error, Forbidden, InvalidInput
from colonnade.net.exchange import Exchange
from colonnade.net.head import Header

WEBSOCKET = b"websocket"
VERSION = b"13"

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16


class UnknownVersion(Error):
    """A handshake for a version of WebSocket that is not spoken here."""

    status = 426
    reason = "UpgradeRequired"


def offers_websocket(exchange: Exchange) -> bool:
    """Whether a request is a handshake."""
    headers = exchange.headers
    return (
        exchange.method == b"GET"
        and exchange.length == 0
        and not exchange.takes_trailers
        and headers.get(b"upgrade", b"").lower() == WEBSOCKET
        and b"upgrade" in headers.get(b"connection", b"").lower()
    )


def accepted(exchange: Exchange) -> list[Header]:
    """The header fields that take a handshake up.

    Browsers let any page open a WebSocket to any address and read from it; so one that comes from a page of another
    host is refused.

    Raises:
        InvalidInput: it has no valid key.
        UnknownVersion: it is for another version of WebSocket.
        Forbidden: it comes from a page of another host.
    """
    headers = exchange.headers
    if headers.get(b"sec-websocket-version") != VERSION:
        raise UnknownVersion("WebSocket is spoken here in version 13 only; send Sec-WebSocket-Version: 13")
    key = headers.get(b"sec-websocket-key", b"")
    try:
        size = len(base64.b64decode(key, validate=True))
    except binascii.Error:
        size = 0
    if size != _KEY_BYTES:
        raise InvalidInput("Sec-WebSocket-Key is not the base64 form of 16 bytes; use a client of WebSocket")
    origin = headers.get(b"origin")
    if origin is not None and not _same_host(origin, headers.get(b"host", b"")):
        shown = origin[:200].decode("latin-1")
        raise Forbidden(f"A page of {shown} may not open a WebSocket here; only one of this host may")
    from hashlib import sha1  # brings OpenSSL's, for which no start shall wait

    digest = sha1(key + _GUID, usedforsecurity=False).digest()
    return [(b"upgrade", WEBSOCKET), (b"sec-websocket-accept", base64.b64encode(digest))]


def _same_host(origin: bytes, host: bytes) -> bool:
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower() == host.decode("latin-1").lower()
    except ValueError:
        return False
