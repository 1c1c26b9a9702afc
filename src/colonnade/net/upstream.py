"""The client: pooled keep-alive connections to one peer, with callbacks for the data path and `fetch` for the rest.

What it promises a gateway: an answer is passed on as it comes; a failure says whether any byte of the request may have
reached the peer, which decides whether somebody else may be asked; and a pooled connection that the peer closed in the
meantime (the one failure that is nobody's fault) is hidden by one retry, if the request may be sent twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import monotonic

from colonnade import defaults
from colonnade.errors import DeadlineExceeded, Error, TooLarge, Unavailable
from colonnade.net.address import Address
from colonnade.net.background import Background
from colonnade.net.call import Call, Receiver
from colonnade.net.head import Header
from colonnade.net.known_heads import KnownHeads
from colonnade.net.request_head import Framing, request_head
from colonnade.net.tls import client_context
from colonnade.net.upstream_connection import AnswerHead, UpstreamConnection

logger = logging.getLogger(__name__)

# Below the peer's own idle timeout, or requests would race with its close.
_IDLE_TIMEOUT = defaults.IDLE_TIMEOUT * 0.8
_MAX_FETCHED_BYTES = defaults.MAX_BODY_BYTES


@dataclass(frozen=True)
class FetchedResponse:
    """A whole answer; header names in lower case."""

    status: int
    headers: list[Header]
    body: bytes


class Upstream:
    """Connections to one address.

    At most `max_idle` unused ones are kept, each for less than the peer's idle timeout; an unused one that the peer
    closes is dropped at once. There is no bound on used ones: who calls bounds its calls.

    Args:
        address: the peer.
        connect_timeout: seconds.
        max_idle: connections kept without a call.
        idle_timeout: seconds that an unused connection is kept.
        header_bytes: bound on the head of an answer.
        tls: the peer is spoken to over TLS; its certificate must be good for the host, by the machine's authorities.
    """

    def __init__(
        self,
        address: Address,
        *,
        connect_timeout: float = defaults.CONNECT_TIMEOUT,
        max_idle: int = 128,
        idle_timeout: float = _IDLE_TIMEOUT,
        header_bytes: int = defaults.MAX_HEADER_BYTES,
        tls: bool = False,
    ) -> None:
        self.address = address
        self._tls = tls
        self.header_bytes = header_bytes
        self.known: KnownHeads[AnswerHead] = KnownHeads()
        self._authority = address.authority
        self._connect_timeout = connect_timeout
        self._max_idle = max_idle
        self._idle_timeout = idle_timeout
        self._idle: list[UpstreamConnection] = []  # the last used one at the end
        self._open: set[UpstreamConnection] = set()
        self._connecting = Background()
        self._reaper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        """Pooled connections."""
        return len(self._idle)

    @property
    def open(self) -> int:
        """Connections, used and pooled."""
        return len(self._open)

    def request(
        self, method: bytes, target: bytes, headers: Iterable[Header], body: bytes | None, *, receiver: Receiver
    ) -> Call:
        """Send a request. `body` None means that it follows by `Call.write` and `Call.finish`: chunked, or of the
        length that a content-length in `headers` announces. Other framing and connection fields in `headers` are left
        out, and a Host is added if there is none.

        Raises:
            ValueError: method, target or a header holds a byte that would end its line early.
        """
        head, framing = request_head(method, target, headers, body, self._authority)
        return self._begin(Call(self, method, head + body if body else head, framing, body is not None, receiver))

    def head(self, method: bytes, target: bytes, headers: Iterable[Header], length: int | None) -> bytes:
        """A head for `send` and `begin`, to be made once for many requests: all but the `x-request-id` at its end.
        `length`: of the body, None if it is not known.

        Raises:
            ValueError: method, target or a header holds a byte that would end its line early.
        """
        if length:
            headers = [*headers, (b"content-length", b"%d" % length)]
        head, _ = request_head(method, target, headers, None if length is None or length else b"", self._authority)
        return head.removesuffix(b"\r\n")

    def send(self, method: bytes, head: bytes, identity: bytes, body: bytes, *, receiver: Receiver) -> Call:
        """Send a whole request with a head that was made before."""
        message = b"%bx-request-id: %b\r\n\r\n%b" % (head, identity, body)
        return self._begin(Call(self, method, message, Framing.WHOLE, True, receiver))

    def begin(self, method: bytes, head: bytes, identity: bytes, length: int | None, *, receiver: Receiver) -> Call:
        """Send a request with a head that was made before; its body follows by `Call.write` and `Call.finish`."""
        framing = Framing.CHUNKED if length is None else Framing.LENGTH
        message = b"%bx-request-id: %b\r\n\r\n" % (head, identity)
        return self._begin(Call(self, method, message, framing, False, receiver))

    def _begin(self, call: Call) -> Call:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                call.reused = True
                connection.take(call)
                return call
        self._connect_for(call)
        return call

    async def fetch(
        self, method: str, target: str, headers: Iterable[Header] = (), body: bytes = b"", timeout: float = 5.0
    ) -> FetchedResponse:
        """Send a request and wait for the whole answer.

        Raises:
            DeadlineExceeded: it took longer than `timeout` seconds.
            Error: the peer is not there, or broke off (`Unavailable`, `BadUpstream`).
        """
        collector = _Collector(asyncio.get_running_loop().create_future())
        call = self.request(method.encode("ascii"), target.encode("ascii"), headers, body, receiver=collector)
        try:
            async with asyncio.timeout(timeout):
                return await collector.result
        except TimeoutError:
            raise DeadlineExceeded(f"No answer to {method} {target} within {timeout:g} s.") from None
        finally:
            call.cancel()

    def close(self) -> None:
        """Cut all connections; calls in flight fail. New requests fail, too."""
        self._closed = True
        for task in self._connecting:
            task.cancel()
        for connection in list(self._open):
            connection.abort()
        self._idle.clear()
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None

    # Called by calls and connections.

    def replay(self, call: Call) -> None:
        """Send a call again, on a new connection: the pooled one had been closed by the peer."""
        call.reused = False
        self._connect_for(call)

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose call is over."""
        if self._closed or len(self._idle) >= self._max_idle:
            connection.abort()
            return
        connection.idle_since = monotonic()
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = asyncio.get_running_loop().call_later(self._idle_timeout / 4, self._reap)

    def lost(self, connection: UpstreamConnection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def _connect_for(self, call: Call) -> None:
        self._connecting.start(self._connect(call))

    async def _connect(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        try:
            if self._closed:
                raise Unavailable("The connection pool is closed.")
            async with asyncio.timeout(self._connect_timeout):
                if self.address.path is not None:
                    _, connection = await loop.create_unix_connection(self._connection, self.address.path)
                else:
                    _, connection = await loop.create_connection(
                        self._connection,
                        self.address.host or "",
                        self.address.port or 0,
                        ssl=client_context() if self._tls else None,
                    )
        except (OSError, TimeoutError) as error:
            logger.debug("no connection to %s: %s", self.address, error)
            why = "not within the time allowed" if isinstance(error, TimeoutError) else "refused or absent"
            call.broken(Unavailable(f"The upstream server cannot be reached ({why})."), False)
        except asyncio.CancelledError:
            call.broken(Unavailable("The connection pool is closed."), False)
        except Error as error:
            call.broken(error, False)
        else:
            self._open.add(connection)
            if call.closed:
                self.release(connection)
            else:
                connection.take(call)

    def _connection(self) -> UpstreamConnection:
        return UpstreamConnection(self)

    def _reap(self) -> None:
        self._reaper = None
        oldest = monotonic() - self._idle_timeout
        for connection in [idle for idle in self._idle if idle.idle_since < oldest]:
            self._idle.remove(connection)
            connection.abort()
        if self._idle:
            self._reaper = asyncio.get_running_loop().call_later(self._idle_timeout / 4, self._reap)


@dataclass
class _Collector:
    """Receiver behind `fetch`."""

    result: asyncio.Future[FetchedResponse]
    status: int = 0
    headers: list[Header] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0

    def head(self, status: int, headers: list[Header]) -> None:
        self.status = status
        self.headers = headers

    def chunk(self, data: bytes) -> None:
        self.parts.append(data)
        self.size += len(data)
        if self.size > _MAX_FETCHED_BYTES and not self.result.done():
            self.result.set_exception(TooLarge(f"The answer exceeds {_MAX_FETCHED_BYTES} bytes."))

    def end(self, trailers: Sequence[Header] = ()) -> None:
        if not self.result.done():
            self.result.set_result(FetchedResponse(self.status, self.headers, b"".join(self.parts)))

    def failed(self, error: Exception, sent: bool) -> None:
        if not self.result.done():
            self.result.set_exception(error)
