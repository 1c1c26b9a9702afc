"""The writing half of a connection: few large writes, and a client that reads too slowly.

What is written while bytes are being read is held back (`_corked`) and goes out in one write at the end.
"""

from __future__ import annotations

import asyncio

from colonnade.net.head import Part

_JOIN_BELOW = 64 << 10  # up to here one joined write is cheaper than several buffers
_MAX_CORKED = 64  # writes held back; then the transport must see them, or there would be no back-pressure


class Outgoing(asyncio.Protocol):
    """What a connection writes.

    Attributes:
        transport: set by the connection when it is made.
        writing_paused: the client reads more slowly than it is answered.
    """

    __slots__ = ("_buffered", "_corked", "_out", "_stalled", "_waiters", "transport", "writing_paused")

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._corked = False  # collect what is written
        self._out: list[bytes] = []
        self._waiters: list[asyncio.Future[None]] = []
        self._buffered = 0  # bytes that the client had not taken at the last look
        self._stalled = 0.0  # since when it has taken none
        self.writing_paused = False

    def send(self, data: bytes) -> None:
        """Write, or add to what this turn of reading writes at its end."""
        if self._corked:
            self._out.append(data)
            if len(self._out) >= _MAX_CORKED:
                self._flush()
        else:
            self.transport.write(data)

    def send_all(self, parts: list[Part]) -> None:
        """Write large buffers in order, now and without joining them."""
        if self._out:
            self._flush()
        self.transport.writelines(parts)

    def wait_writable(self, waiter: asyncio.Future[None]) -> None:
        """Resolve `waiter` when the client has read enough, or is gone."""
        self._waiters.append(waiter)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if len(out) == 1:
            self.transport.write(out[0])
        elif sum(map(len, out)) <= _JOIN_BELOW:
            self.transport.write(b"".join(out))
        else:
            self.transport.writelines(out)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
