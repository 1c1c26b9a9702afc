"""WebSocket through the gateway: the handshake is forwarded, and after 101 the bytes pass both ways unread.

Each has a connection of its own to its replica, also to one of this product.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from colonnade import defaults
from colonnade.errors import Error, Unavailable
from colonnade.gateway import own
from colonnade.gateway.forward import CLIENT_GONE, RETRY_SOON, Sender
from colonnade.gateway.forwarding import response_headers
from colonnade.gateway.replica import Replica
from colonnade.gateway.revision import Revision
from colonnade.gateway.routes import not_ready
from colonnade.gateway.way import Way
from colonnade.net import Exchange, Header
from colonnade.net.handshake import WEBSOCKET
from colonnade.net.head import field_lines
from colonnade.net.tunnel import TunnelEnd, UpgradeCall

_GRANTED = 101


class Tunnel:
    """One handshake and what follows it. Is a `Waiter` while there is no replica for it."""

    def __init__(self, proxy: Sender, exchange: Exchange, way: Way, revision: Revision) -> None:
        self._proxy = proxy
        self._exchange = exchange
        self._way = way
        self._revision = revision
        self._started = time.perf_counter()
        self._replica: Replica | None = None
        self._call: UpgradeCall | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None  # until the handshake is answered
        self._over = True
        self._since = 0.0  # when it began, by the event loop's clock

    def begin(self) -> None:
        """Ask a replica, or wait for one."""
        self._over = False
        self._since = asyncio.get_running_loop().time()
        self._proxy.in_flight += 1
        self._revision.guard.begin(self._started)
        self._exchange.on_disconnect(self._client_gone)
        self._send(turn=False)

    def released(self) -> None:
        """There is a replica, or this revision is not for it any more."""
        self._send(turn=True)

    def expired(self) -> None:
        """It has waited as long as the route lets it."""
        self._revision.waiting.remove(self)
        self._refuse(503, not_ready(self._revision.route), RETRY_SOON)

    def _send(self, *, turn: bool) -> None:
        revision = self._revision
        now = time.monotonic()
        limited = revision.limit > 0
        balancer = revision.balancer
        replica = revision.pick(balancer, now, (), turn=turn) if limited else balancer.pick(now)
        loop = asyncio.get_running_loop()
        if replica is None or not revision.ready:
            if not revision.wait(self, 0, self._since):
                self._refuse(503, not_ready(revision.route), RETRY_SOON)
        else:
            self._replica = replica
            replica.take()
            self._timer = loop.call_later(self._way.timeout or defaults.READ_TIMEOUT, self._timed_out)
            self._task = loop.create_task(self._ask(replica))

    async def _ask(self, replica: Replica) -> None:
        exchange = self._exchange
        identity = exchange.headers.get(b"x-request-id") or self._proxy.request_id()
        try:
            lines = field_lines([*self._way.fields(exchange), (b"x-request-id", identity)])
            head = b"GET %b HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n%b\r\n" % (self._way.path, lines)
            self._call = call = UpgradeCall(head, self._answered)
            await call.connect(replica.http.address)
        except Unavailable as error:
            replica.load.unreachable(time.monotonic())
            self._answered(0, [], b"", error)
        except ValueError:
            self._refuse(400, "The request target or a header field holds a character that must be encoded.")

    def _answered(self, status: int, fields: list[Header], body: bytes, error: Error | None) -> None:
        """Take the replica's answer to the handshake."""
        call = self._call
        now = time.monotonic()
        if self._replica is None:
            return
        self._stop_timer()
        if error is not None or call is None:
            self._revision.counts.failures.inc()
            self._revision.guard.failed(self._replica.load, now)
            self._revision.guard.gave_up(now)
            name = f"{self._revision.route.namespace}/{self._revision.route.name}"
            self._refuse(502, f"No replica of service {name} answered the WebSocket handshake.")
        elif status != _GRANTED:
            if status < 500:
                self._revision.guard.answered(self._replica.load)
            else:
                self._revision.guard.erred(self._replica.load, status, now)
            kept, content_type, _ = response_headers(fields)
            self._exchange.reply(status, body, content_type or b"", kept)
            self._end(status)
        else:
            self._revision.guard.answered(self._replica.load)
            kept, _, _ = response_headers(fields)
            self._exchange.upgrade(
                [(b"upgrade", WEBSOCKET), *kept],
                lambda server: TunnelEnd(server, call, lambda: self._end(_GRANTED)),
            )

    def _refuse(self, status: int, message: str, headers: Sequence[Header] = ()) -> None:
        self._exchange.reply(status, own.error(message), headers=headers)
        self._end(status)

    def _timed_out(self) -> None:
        self._timer = None
        if self._replica is not None:
            self._revision.guard.failed(self._replica.load, time.monotonic())
        self._stop()
        route = self._revision.route
        self._refuse(
            504, f"No replica of service {route.namespace}/{route.name} answered the WebSocket handshake in time."
        )

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _stop(self) -> None:
        """Gives up the connection to the replica."""
        if self._task is not None:
            self._task.cancel()
        if self._call is not None:
            self._call.close()

    def _client_gone(self) -> None:
        self._stop()
        self._end(CLIENT_GONE)

    def _end(self, status: int) -> None:
        if not self._over:
            self._revision.counts.http(status, self._leave())

    def _leave(self) -> float:
        """Hold nothing any more. Returns the seconds that it took."""
        self._over = True
        self._stop_timer()
        self._revision.waiting.remove(self)
        replica, self._replica = self._replica, None
        if replica is not None:
            replica.release()
        self._proxy.in_flight -= 1
        seconds = time.perf_counter() - self._started
        self._revision.guard.end(self._started, seconds)
        return seconds
