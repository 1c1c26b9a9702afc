"""Listening to one process of the gateway: the lines that it streams of the work of each revision (`gateway.stats`).

It listens for as long as the control plane lives. A process that ends, hangs or is started again is asked anew; what it
had to tell meanwhile is lost, which its lines allow for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from colonnade.net import Address, Header, Upstream

log = logging.getLogger(__name__)

SILENCE = 5.0  # seconds without a line, of which one is due each second; then the process is asked anew
RETRY = 0.25  # seconds until one that is gone is asked anew
MAX_LINE = 1 << 20  # bytes

Heard = Callable[[dict[str, Any]], None]


async def listen(path: str, heard: Heard) -> None:
    """Call `heard` with each line of the process whose admin socket this is, {} for a heartbeat, until cancelled."""
    upstream = Upstream(Address(path=path))
    try:
        while True:
            lines = _Lines(heard)
            call = upstream.request(b"GET", b"/stats", (), b"", receiver=lines)
            try:
                await lines.ended()
            finally:
                call.cancel()
            await asyncio.sleep(RETRY)
    finally:
        upstream.close()


class _Lines:
    """Takes the stream apart. Is the call's `Receiver`."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard
        self._rest = b""
        self._sign = asyncio.Event()  # something came
        self._over = False

    async def ended(self) -> None:
        """Wait until nothing comes any more."""
        try:
            while not self._over:
                async with asyncio.timeout(SILENCE):
                    await self._sign.wait()
                self._sign.clear()
        except TimeoutError:
            log.warning("a process of the gateway tells nothing; asking it anew")

    def head(self, status: int, headers: list[Header]) -> None:
        if status != 200:
            self._end()

    def chunk(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._sign.set()
        for line in lines:
            if line and not self._over:
                self._take(line)
        if len(self._rest) > MAX_LINE:
            self._end()

    def end(self, trailers: Sequence[Header] = ()) -> None:
        self._end()

    def failed(self, error: Exception, sent: bool) -> None:
        self._end()

    def _end(self) -> None:
        self._over = True
        self._sign.set()

    def _take(self, line: bytes) -> None:
        try:
            self._heard(msgspec.json.decode(line, type=dict[str, Any]))
        except Exception:
            log.exception("a line of the gateway could not be taken", extra={"line": line[:200].decode("latin-1")})
