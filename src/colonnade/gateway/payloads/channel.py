"""The way from the gateway to its writer: bounded, and never waited for.

A request counts against the bounds of its log until the writer has told what came of it, wherever it is meanwhile: in
this process, in the socket, in the writer. So one sink that hangs costs so much memory and no more, and its requests
are dropped and counted while the other logs go on. A writer that ends is started again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple, cast

import msgspec

from colonnade import defaults
from colonnade.gateway.metrics import RevisionMetrics
from colonnade.gateway.payloads.messages import Close, Open, Outcome, Seen, Tellings, frame
from colonnade.gateway.payloads.settings import Logging, Origin
from colonnade.gateway.payloads.tap import Tap

log = logging.getLogger(__name__)

_MODULE = "colonnade.gateway.payloads"
_RETRY_FIRST = 0.1  # seconds until a writer that ended is started again
_RETRY_MAX = 10.0
_TOGETHER = 0.005  # seconds in which what is noted goes in one write: one for each request costs more than the noting
_AT_ONCE = 64 << 10  # bytes that go at once
_ENDING = 1.0  # seconds more that a writer has which was told to end in so many


class _UnderWay(NamedTuple):
    tap: Tap
    size: int
    counts: RevisionMetrics


class Channel:
    """The logs of one gateway process and the process that writes them, started with the first log."""

    def __init__(self, spool: Path) -> None:
        """`spool`: folder for what has not reached its sink yet."""
        self._spool = spool
        self._taps: dict[int, Tap] = {}
        self._logs = count(1)
        self._numbers = count(1)
        self._under_way: dict[int, _UnderWay] = {}
        self._writer: _Writer | None = None
        self._unsent: list[bytes] = []  # until the writer is there
        self._task: asyncio.Task[None] | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._over = asyncio.Event()
        self._closing = False

    def open(self, origin: Origin, settings: Logging) -> Tap:
        """A log of its own number."""
        tap = Tap(next(self._logs), origin, settings, self)
        self._taps[tap.log] = tap
        if self._writer is None and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        self._send(_opening(tap))
        return tap

    def close(self, tap: Tap) -> None:
        """Nothing more comes for it; what is under way is still written."""
        if self._taps.pop(tap.log, None) is not None and not self._closing:
            self._send(frame(Close(tap.log)))

    def number(self) -> int:
        """A number for the next request."""
        return next(self._numbers)

    def offer(self, tap: Tap, seen: Seen, size: int, counts: RevisionMetrics) -> None:
        """Give a request to the writer, or drop it."""
        full = tap.under_way >= defaults.LOG_QUEUE or tap.bytes + size > defaults.LOG_QUEUE_BYTES
        if full or self._closing or tap.log not in self._taps:
            counts.logged(Outcome.DROPPED)
            return
        try:
            data = frame(seen)
        except (UnicodeEncodeError, msgspec.MsgspecError):
            counts.logged(Outcome.FAILED)
            return
        tap.under_way += 1
        tap.bytes += size
        self._under_way[seen.number] = _UnderWay(tap, size, counts)
        self._send(data)

    def told(self, outcome: Outcome, numbers: Sequence[int]) -> None:
        """Take from the writer what came of requests."""
        for number in numbers:
            found = self._under_way.pop(number, None)
            if found is not None:
                found.tap.under_way -= 1
                found.tap.bytes -= found.size
                found.counts.logged(outcome)

    async def end(self, seconds: float) -> None:
        """Let the writer write what it has, for so many seconds."""
        self._closing = True
        task, self._task = self._task, None
        if task is None:
            return
        try:
            async with asyncio.timeout(seconds + _ENDING):
                while self._writer is None and self._under_way:  # it is being started
                    await asyncio.sleep(_TOGETHER)
                if self._writer is not None:
                    self._writer.finish()
                    await self._over.wait()
        except TimeoutError:
            log.warning("the payload log's writer is still at it; it goes on alone", extra=self._numbers_left())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()

    def _numbers_left(self) -> Mapping[str, int]:
        return {"requests": len(self._under_way)}

    def _send(self, data: bytes) -> None:
        if self._writer is None:
            self._unsent.append(data)
        else:
            self._writer.write(data)

    async def _run(self) -> None:
        """Keep a writer running until cancelled."""
        failures = 0
        while True:
            self._over.clear()
            try:
                await self._start()
                started = asyncio.get_running_loop().time()
                await self._over.wait()
                if asyncio.get_running_loop().time() - started > _RETRY_MAX:
                    failures = 0
            except OSError as error:
                log.error("the payload log's writer does not start", extra={"error": str(error)})
            await self._reap()
            if self._closing:
                return
            failures += 1
            log.warning("the payload log's writer ended; starting it again", extra=self._numbers_left())
            await asyncio.sleep(min(_RETRY_FIRST * 2.0 ** (failures - 1), _RETRY_MAX))

    async def _start(self) -> None:
        ours, its = socket.socketpair()
        with its:
            argv = [sys.executable, "-m", _MODULE, "--fd", str(its.fileno()), "--spool", str(self._spool)]
            self._child = await asyncio.to_thread(_spawn, argv, its.fileno())
        writer = _Writer(self)
        ours.setblocking(False)
        await asyncio.get_running_loop().create_unix_connection(lambda: writer, sock=ours)
        unsent, self._unsent = self._unsent, []
        for data in unsent:
            writer.write(data)
        self._writer = writer

    async def _reap(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(child.wait)

    def ended(self) -> None:
        """The writer has gone, and what it had not told is lost."""
        self._writer = None
        self.told(Outcome.LOST, list(self._under_way))
        self._unsent = [_opening(tap) for tap in self._taps.values()]
        self._over.set()


class _Writer(asyncio.Protocol):
    """The connection to the writer."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._tellings = Tellings()
        self._transport: asyncio.WriteTransport | None = None
        self._held: list[bytes] = []
        self._held_size = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)

    def write(self, data: bytes) -> None:
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size >= _AT_ONCE:
            self._flush()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TOGETHER, self._flush)

    def finish(self) -> None:
        self._flush()
        if self._transport is not None:
            self._transport.write_eof()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        held, self._held = self._held, []
        self._held_size = 0
        if self._transport is not None:
            self._transport.write(b"".join(held))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        for told in self._tellings.feed(data):
            self._channel.told(told.outcome, told.numbers)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._flush()
        self._channel.ended()


def _opening(tap: Tap) -> bytes:
    return frame(Open(tap.log, tap.origin, tap.settings))


def _spawn(argv: list[str], descriptor: int) -> subprocess.Popen[bytes]:
    """Start the writer in a session of its own: what ends the gateway at once lets it write what it has."""
    return subprocess.Popen(argv, pass_fds=(descriptor,), stdin=subprocess.DEVNULL, start_new_session=True)
