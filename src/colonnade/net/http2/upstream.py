"""An HTTP/2 client of one peer by prior knowledge: what a gateway reaches foreign gRPC servers with.

All calls share one connection, made when the first one comes. What a peer does not take at once, by its bound on
concurrent streams, waits in order. A peer that says GOAWAY ends what it has; what comes later goes over a new
connection. As in `net.upstream`, a failure says whether any byte of the request may have reached the peer.
"""

from __future__ import annotations

import asyncio
import logging
import ssl as tls
from collections import deque
from collections.abc import Iterable

from colonnade import defaults
from colonnade.errors import Unavailable
from colonnade.net.address import Address
from colonnade.net.call import Receiver
from colonnade.net.head import Header
from colonnade.net.http2.call import Http2Call
from colonnade.net.http2.client import Http2Client
from colonnade.net.http2.fields import fields, literal

logger = logging.getLogger(__name__)

_OWN = frozenset({b"host", b"te", b"upgrade", b"proxy-connection", b"expect"})


class Http2Upstream:
    """Calls to one address.

    Args:
        address: the peer.
        connect_timeout: seconds.
        header_bytes: bound on the head of an answer.
        ssl: settings for TLS.
    """

    def __init__(
        self,
        address: Address,
        *,
        connect_timeout: float = defaults.CONNECT_TIMEOUT,
        header_bytes: int = defaults.MAX_HEADER_BYTES,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        self.address = address
        self._ssl = ssl
        self.header_bytes = header_bytes
        self._authority = address.authority
        self._connect_timeout = connect_timeout
        self._link: Http2Client | None = None
        self._links: set[Http2Client] = set()
        self._waiting: deque[Http2Call] = deque()
        self._connecting: asyncio.Task[None] | None = None
        self._closed = False

    def head(self, method: bytes, target: bytes, headers: Iterable[Header], length: int | None) -> bytes:
        """A head for `send` and `begin`, to be made once for many requests: all but the `x-request-id` at its end. The
        length of the body is told by frames.

        Raises:
            ValueError: a header holds CR, LF or NUL.
        """
        given = list(headers)
        authority = next((value for name, value in given if name.lower() == b"host"), self._authority)
        pseudo = [
            (b":method", method),
            (b":scheme", b"https" if self._ssl else b"http"),
            (b":path", target),
            (b":authority", authority),
        ]
        regular = [field for field in given if field[0].lower() not in _OWN]
        return fields([*pseudo, *regular, (b"te", b"trailers")])

    def send(self, method: bytes, head: bytes, identity: bytes, body: bytes, *, receiver: Receiver) -> Http2Call:
        """Send a whole request with a head that was made before. `identity` may be empty: then it has no id."""
        return self._begin(Http2Call(_identified(head, identity), body, receiver))

    def begin(
        self, method: bytes, head: bytes, identity: bytes, length: int | None, *, receiver: Receiver
    ) -> Http2Call:
        """Send a request with a head that was made before; its body follows by `write` and `finish`."""
        return self._begin(Http2Call(_identified(head, identity), None, receiver))

    def close(self) -> None:
        """Cut all connections; calls in flight fail. New ones fail, too."""
        self._closed = True
        if self._connecting is not None:
            self._connecting.cancel()
        for link in list(self._links):
            link.close()
        self._refuse("The connection pool is closed.")

    # Called by connections.

    def freed(self, link: Http2Client) -> None:
        """A call has ended, or the peer takes more of them: those that wait may have a place."""
        if link is self._link:
            while self._waiting and link.has_room:
                call = self._waiting.popleft()
                if not call.closed:
                    link.take(call)
        elif link.leaving:
            link.close_if_unused()

    def retire(self, link: Http2Client) -> None:
        """Give a connection no new calls."""
        if self._link is link:
            self._link = None
            if self._waiting:
                self._connect()

    def lost(self, link: Http2Client) -> None:
        """Forget a connection that is closed."""
        self._links.discard(link)
        self.retire(link)

    # Inside.

    def _begin(self, call: Http2Call) -> Http2Call:
        link = self._link
        if link is not None and link.has_room and not self._waiting:
            link.take(call)
        else:
            self._waiting.append(call)
            if link is None:
                self._connect()
        return call

    def _connect(self) -> None:
        if self._connecting is None:
            self._connecting = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._closed:
                raise ConnectionAbortedError
            async with asyncio.timeout(self._connect_timeout):
                if self.address.path is not None:
                    _, link = await loop.create_unix_connection(self._client, self.address.path)
                else:
                    _, link = await loop.create_connection(
                        self._client, self.address.host or "", self.address.port or 0, ssl=self._ssl
                    )
        except (OSError, TimeoutError) as error:
            self._connecting = None
            logger.debug("no connection to %s: %s", self.address, error)
            why = "not within the time allowed" if isinstance(error, TimeoutError) else "refused or absent"
            self._refuse(f"The upstream server cannot be reached ({why}).")
        else:
            self._connecting = None
            if link.transport.is_closing():
                self._refuse("The upstream server closed the connection at once.")
                return
            self._links.add(link)
            self._link = link
            self.freed(link)

    def _client(self) -> Http2Client:
        return Http2Client(self)

    def _refuse(self, message: str) -> None:
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            call.broken(Unavailable(message), False)


def _identified(head: bytes, identity: bytes) -> bytes:
    return head + literal(b"x-request-id", identity) if identity else head
