"""TLS for the public ports: what a server offers, and HTTP/2 beside HTTP/1.1 by ALPN (RFC 7301)."""

from __future__ import annotations

import ssl
from pathlib import Path

from colonnade.errors import InvalidInput


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Settings for a server with this certificate (a chain, in PEM) and its key. Sessions are resumed by tickets.

    Raises:
        InvalidInput: the files cannot be read, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"TLS certificate {certificate} with key {key} cannot be used: {error}") from None
    return context
