"""A request that passes as it is, its answer part by part; and which header fields go on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from colonnade.net import Exchange, Header, Upstream
from colonnade.net.asynchronous import fail

_ONE_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
    | {b"content-length", b"expect", b"http2-settings"}
)
_NO_BODY = (204, 304)


def kept(headers: Iterable[Header]) -> list[Header]:
    """The fields that mean more than the connection they came on."""
    return [header for header in headers if header[0] not in _ONE_HOP]


class Passing:
    """Takes an answer for an exchange. See `net.Receiver`.

    Attributes:
        over: resolved when nothing more comes.
    """

    def __init__(self, exchange: Exchange, upstream: Upstream, body: bytes) -> None:
        """Sends the request."""
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exchange = exchange
        self._bare: int | None = None  # the status of an answer that has no body by its nature
        self._fields: list[Header] = []
        self._call = upstream.request(exchange.method, exchange.target, kept(exchange.raw_headers), body, receiver=self)
        exchange.on_disconnect(self.cancel)

    def cancel(self) -> None:
        """The client has gone."""
        self._call.cancel()
        self._end()

    def head(self, status: int, headers: list[Header]) -> None:
        """See `Receiver`."""
        fields = dict(headers)
        length = fields.get(b"content-length", b"")
        self._fields = [header for header in kept(headers) if header[0] != b"content-type"]
        if status in _NO_BODY:
            self._bare = status
            return
        whole = int(length) if length.isdigit() else None
        self._exchange.start(status, self._fields, fields.get(b"content-type"), whole)
        self._exchange.on_writable(self._call.pause, self._call.resume)

    def chunk(self, data: bytes) -> None:
        """See `Receiver`."""
        self._exchange.write(data)

    def end(self, trailers: Sequence[Header] = ()) -> None:
        """See `Receiver`."""
        if self._bare is not None:
            self._exchange.reply(self._bare, b"", b"", self._fields)
        else:
            self._exchange.finish(trailers)
        self._end()

    def failed(self, error: Exception, sent: bool) -> None:
        """See `Receiver`."""
        fail(self._exchange, error)
        self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)
