"""The line in which requests wait for a joined one: who goes with whom, and when.

What arrives in one turn of the event loop goes together; what arrives while enough joined requests are under way waits
for the first of them to end. So a lone request never waits, and under load each joined request takes all that has come
meanwhile. Several are under way at a time, for the server behind may have several threads.

What is wrong with one request is told to that one: an error answer to a joined request is no answer to anybody, its
halves are asked again by themselves, down to the one that is refused alone. Only where the server says that it cannot
now (429, 502, 503, 504) all of them hear that, for to ask it again would make it worse.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple

from colonnade import defaults
from colonnade.errors import Error, Overloaded
from colonnade.net import Exchange, FetchedResponse, Header, Upstream
from colonnade.net.asynchronous import fail
from colonnade.server.batchproxy.bodies import HEADER_LENGTH, Answer, Rows
from colonnade.server.batchproxy.passing import Passing, kept

_log = logging.getLogger(__name__)

CALLS = 4  # joined requests under way
TIMEOUT = 600.0  # seconds that one may take; who calls has a shorter one
_BUSY = (429, 502, 503, 504)
_MAX_KINDS = 256  # kinds that were found not to be joinable

_OWN = frozenset(
    {b"host", b"date", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"content-type"}
    | {b"x-request-id", b"traceparent", b"tracestate", b"baggage", b"forwarded", b"request-timeout", b"b3"}
    | {HEADER_LENGTH}
)
_OWN_PREFIXES = (b"x-forwarded-", b"x-b3-", b"x-envoy-")


class Waiting(NamedTuple):
    """A request in the line. `kind` is equal for those that may be joined."""

    exchange: Exchange
    body: bytes
    rows: Rows
    kind: Hashable
    since: float


def meaning(headers: Iterable[Header]) -> tuple[Header, ...]:
    """The fields that may mean something to the server: requests that differ in them are not joined.

    Left out are those that every request has of its own, and those of its way.
    """
    return tuple(
        sorted(header for header in kept(headers) if header[0] not in _OWN and not header[0].startswith(_OWN_PREFIXES))
    )


def together(line: Iterable[Waiting], most: int) -> list[Waiting]:
    """The first in the line and those that go with it, in order: at most so many rows, but the first in any case."""
    found: list[Waiting] = []
    count = 0
    for each in line:
        if found and (each.kind != found[0].kind or count + each.rows.count > most):
            continue
        found.append(each)
        count += each.rows.count
        if count >= most:
            break
    return found


class Line:
    """The requests that wait, and the joined ones under way. Belongs to one event loop."""

    def __init__(self, upstream: Upstream, most: int, latency: float = 0.0, calls: int = CALLS) -> None:
        """
        Args:
            upstream: the server.
            most: rows of a joined request.
            latency: seconds that rows may wait for others while a joined request is under way.
            calls: joined requests under way at a time.
        """
        self._upstream = upstream
        self._most = most
        self._latency = latency
        self._calls = calls
        self._waiting: deque[Waiting] = deque()
        self._alone: dict[Hashable, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._look: asyncio.Handle | None = None

    def add(self, exchange: Exchange, body: bytes, rows: Rows) -> None:
        """Queue a request.

        Raises:
            Overloaded: too many wait.
        """
        if len(self._waiting) >= defaults.MAX_QUEUE:
            raise Overloaded(f"{len(self._waiting)} requests wait for the server already.")
        kind = (exchange.target, type(rows), rows.kind, meaning(exchange.raw_headers))
        if kind in self._alone:
            Passing(exchange, self._upstream, body)
            return
        waiting = Waiting(exchange, body, rows, kind, monotonic())
        self._waiting.append(waiting)
        exchange.on_disconnect(lambda: self._left(waiting))
        self._soon(0.0)

    def _left(self, waiting: Waiting) -> None:
        try:
            self._waiting.remove(waiting)
        except ValueError:
            pass  # it is under way

    def _soon(self, seconds: float) -> None:
        if self._look is not None:
            self._look.cancel()
        loop = asyncio.get_running_loop()
        self._look = loop.call_later(seconds, self._send) if seconds > 0 else loop.call_soon(self._send)

    def _send(self) -> None:
        """Send what may go now."""
        self._look = None
        while self._waiting and len(self._tasks) < self._calls:
            batch = together(self._waiting, self._most)
            left = batch[0].since + self._latency - monotonic()
            if self._tasks and left > 0 and sum(each.rows.count for each in batch) < self._most:
                self._soon(left)
                return
            for each in batch:
                self._waiting.remove(each)
            task = asyncio.get_running_loop().create_task(self._ask(batch))
            self._tasks.add(task)
            task.add_done_callback(self._done)
            for each in batch:
                each.exchange.on_disconnect(partial(_gone, batch, task))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a joined request failed", exc_info=error)
        self._soon(0.0)

    async def _ask(self, batch: Sequence[Waiting]) -> None:
        """One joined request, for those whose clients are still there."""
        batch = [each for each in batch if not each.exchange.closed]
        if len(batch) < 2:
            for each in batch:
                await Passing(each.exchange, self._upstream, each.body).over
            return
        kind = type(batch[0].rows)
        rows = [each.rows for each in batch]
        first = batch[0].exchange
        fields = [*meaning(first.raw_headers), (b"content-type", b"application/json")]
        target = first.target.decode("latin-1")
        try:
            found = await self._upstream.fetch("POST", target, fields, kind.join(rows), TIMEOUT)
        except Error as error:
            for each in batch:
                fail(each.exchange, error)
            return
        if found.status in _BUSY:
            for each in batch:
                _reply(each.exchange, found, None)
            return
        if found.status != 200:
            middle = len(batch) // 2
            await self._ask(batch[:middle])
            await self._ask(batch[middle:])
            return
        length = dict(found.headers).get(HEADER_LENGTH, b"")
        answers = kind.part(rows, found.body, int(length) if length.isdigit() else None)
        if answers is None:
            _log.warning("the server does not answer row by row: its requests are joined no more")
            if len(self._alone) < _MAX_KINDS:
                self._alone[batch[0].kind] = None
            await asyncio.gather(*(Passing(each.exchange, self._upstream, each.body).over for each in batch))
            return
        for each, answer in zip(batch, answers, strict=True):
            _reply(each.exchange, found, answer)


def _gone(batch: Sequence[Waiting], task: asyncio.Task[None]) -> None:
    """A client has gone: when all of them have, nobody waits for the joined request."""
    if all(each.exchange.closed for each in batch):
        task.cancel()


def _reply(exchange: Exchange, found: FetchedResponse, answer: Answer | None) -> None:
    """Answer with one's part of an answer, or with all of it."""
    if exchange.closed:
        return
    own = (b"content-type", HEADER_LENGTH)
    fields = [header for header in kept(found.headers) if header[0] not in own]
    if answer is None:
        exchange.reply(found.status, found.body, dict(found.headers).get(b"content-type", b""), fields)
        return
    if answer.header_length is not None:
        fields.append((HEADER_LENGTH, b"%d" % answer.header_length))
    exchange.reply(found.status, answer.body, answer.content_type, fields)
