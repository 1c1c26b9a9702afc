"""HTTP/2 for a server that may never hear it: imported with the first connection that speaks it.

Every port of a replica takes it, and most replicas are only ever asked over `mux`, so no start shall wait for it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colonnade.net.server import Dialect, HttpServer

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client that speaks it sends first (RFC 9113, section 3.4)."""


class LaterHttp2:
    """The dialect `http2.Http2`, see there.

    Example:
        HttpServer(app, dialects=[(HTTP2_PREFACE, LaterHttp2())])
    """

    def __init__(self) -> None:
        self._dialect: Dialect | None = None

    def __call__(self, server: HttpServer) -> asyncio.Protocol:
        if self._dialect is None:
            from colonnade.net.http2 import Http2

            self._dialect = Http2()
        return self._dialect(server)
