"""One inference over HTTP, from the head of the request to the end of the answer.

V1 and V2 differ in how a body is read and an answer is written; they share everything between: readiness, content
codings, where the model runs, a client that leaves, counting. Every step is a callback of this object, so a request
costs no task and no future. Bodies are decoded on the loop: a JSON parser holds the interpreter lock for its whole
run, so another thread would stall the loop just the same. zlib releases the lock, so codings go to a thread.
"""

from __future__ import annotations

import asyncio
import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from math import inf
from time import monotonic
from typing import Any

from colonnade.errors import DeadlineExceeded, Error, InferenceError
from colonnade.model.binding import Operation
from colonnade.net import Exchange, Header, deadlines
from colonnade.server import answers, compression
from colonnade.server.batch import Call
from colonnade.server.execution import Execution, Ticket
from colonnade.server.metrics import CLIENT_LEFT, Traffic
from colonnade.server.repository import Hosted

Body = bytes | bytearray | memoryview

_EVENTS = b"text/event-stream"
_NO_HEADERS: Mapping[str, str] = {}
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # a token, RFC 9110 section 5.6.2


class HttpCall(Call):
    """One inference over HTTP. Made by a route with the head, then it lives by itself.

    `max_body` bounds the inflated body in bytes.
    """

    protocol: str

    __slots__ = (
        "_filled",
        "_max_body",
        "_open",
        "_overdue",
        "_traffic",
        "_version",
        "exchange",
        "execution",
        "hosted",
        "ticket",
    )

    execution: Execution

    def __init__(
        self, exchange: Exchange, hosted: Hosted, version: str | None, traffic: Traffic, max_body: int
    ) -> None:
        super().__init__(self.deadline_of(exchange))
        self.exchange = exchange
        self.hosted = hosted
        self._version = version
        self._traffic = traffic
        self._filled: dict[str, str] | None = None  # by the model
        self._max_body = max_body
        self.ticket: Ticket | None = None  # None: nothing to cancel
        self._open = True
        self._overdue: asyncio.TimerHandle | None = None  # ends it at its deadline
        traffic.begin()
        if exchange.received and b"content-encoding" not in exchange.headers:
            self._start(exchange.whole())
        else:
            try:
                hosted.serving(version)  # refuses now what would be refused after a large upload
            except Error as error:
                self.fail(error)
                return
            exchange.collect_view(self._receive, self.aligned)
        if self._open:
            exchange.on_disconnect(self._leave)

    def deadline_of(self, exchange: Exchange) -> float | None:
        """When the client stops waiting. What a head says of it is looked up once for all requests with that head."""
        seconds: float | None = exchange.memo
        if seconds is None:
            seconds = deadlines.allowed(exchange.headers)
            exchange.memo = seconds = inf if seconds is None else seconds
        return None if seconds == inf else monotonic() + seconds

    @abstractmethod
    def start(self, body: Body) -> Ticket | None:
        """Decodes the body and gives it to `run`.

        Raises:
            Exception: the body is refused, or the model has no place for it.
        """

    @abstractmethod
    def write(self, result: Any) -> None:
        """Answers with the model's result, by `answer` or in parts.

        Raises:
            Exception: the result cannot be encoded.
        """

    @property
    def aligned(self) -> int:
        """Offset in a large body at which an array begins."""
        return 0

    def _receive(self, body: Body) -> None:
        coding = self.exchange.headers.get(b"content-encoding")
        if coding is not None:
            self._off_loop(partial(compression.inflate, body, coding, self._max_body), self._start)
            return
        self._start(body)

    def _start(self, body: Body) -> None:
        try:
            self.execution = self.hosted.serving(self._version)
            ticket = self.start(body)
            if self._open and ticket is not self:  # or each request would be a cycle, which only the collector frees
                self.ticket = ticket
            if self.deadline is not None and self._open:
                self._overdue = asyncio.get_running_loop().call_later(self.deadline - monotonic(), self._late)
        except Exception as error:
            self.fail(error)

    def run(self, operation: Operation, payload: Any, size: int) -> Ticket | None:
        """Starts an operation of `execution`; its outcome goes to `settle`."""
        cached = self.execution.cached
        if cached is not None:
            return cached.start(self, operation, payload, size, self.exchange.headers.get(b"cache-control"))
        return self.execution.start(self, operation, payload, size)

    @property
    def request_headers(self) -> Mapping[str, str]:
        return headers_text(self.exchange.headers) if self.execution.takes_headers else _NO_HEADERS

    @property
    def response_headers(self) -> dict[str, str]:
        if self._filled is None:
            self._filled = {}
        return self._filled

    def settle(self, result: Any, error: Exception | None) -> None:
        if error is not None:
            self.fail(error)
            return
        try:
            self.write(result)
        except Exception as failure:
            self.fail(failure)

    def answer(self, chunks: Sequence[bytes | memoryview], content_type: bytes, headers: Sequence[Header] = ()) -> None:
        """Answers 200 with a whole body, compressed if the client asks for it, and the model's headers."""
        exchange = self.exchange
        asked = exchange.headers
        if len(chunks) == 1 and not (
            headers or self._filled or b"accept-encoding" in asked
        ):  # all that most answers are
            identity = asked.get(b"x-request-id")
            exchange.reply(200, chunks[0], content_type, () if identity is None else ((b"x-request-id", identity),))
            self.close(200)
            return
        if self._filled:
            headers = [*headers, *model_fields(self._filled)]
        coding = compression.wanted(asked.get(b"accept-encoding"))
        if coding is None:
            self._reply(chunks, content_type, headers)
            return
        coded = [*headers, (b"content-encoding", coding), (b"vary", b"accept-encoding")]
        self._off_loop(
            partial(compression.deflate, chunks, coding), lambda body: self._reply(body, content_type, coded)
        )

    def stream(self, parts: AsyncIterator[Any], encode: Callable[[Any], bytes]) -> None:
        """Answers 200 part by part, as they come, and no faster than the client reads them."""
        self.ticket = self.execution.own(self._stream(parts, encode))

    async def _stream(self, parts: AsyncIterator[Any], encode: Callable[[Any], bytes]) -> None:
        exchange = self.exchange
        try:
            async for part in parts:
                encoded = encode(part)
                if not exchange.started:
                    exchange.start(200, answers.identified(exchange, ()), _EVENTS)
                exchange.write(encoded)
                await exchange.drain()
            if not exchange.started:
                exchange.start(200, answers.identified(exchange, ()), _EVENTS)
            exchange.finish()
            self.close(200)
        except Exception as error:
            self.fail(error)
        finally:
            close = getattr(parts, "aclose", None)
            if close is not None:
                await close()

    def fail(self, error: Exception) -> None:
        """Answers with a failure, or cuts an answer that has begun."""
        if not self._open:
            return
        if self.exchange.started:
            self.close(500)
            self.exchange.abort()
        else:
            self.close(answers.refuse(self.exchange, error))

    def close(self, code: int | str) -> None:
        """Counts the request as done."""
        if self._open:
            self._open = False
            self.ticket = None
            if self._overdue is not None:
                self._overdue.cancel()
                self._overdue = None
            self._traffic.end(code)

    def _reply(
        self, body: bytes | Sequence[bytes | memoryview], content_type: bytes, headers: Sequence[Header]
    ) -> None:
        exchange = self.exchange
        exchange.reply(200, body, content_type, answers.identified(exchange, headers))
        self.close(200)

    def _late(self) -> None:
        """Its deadline has passed: the client is told now, and the place is free."""
        self._overdue = None
        ticket = self.ticket or self
        self.fail(DeadlineExceeded("The request's deadline passed before its answer was complete."))
        ticket.cancel()

    def _leave(self) -> None:
        """The client is gone: nobody waits for the result any more."""
        ticket = self.ticket or self
        self.close(CLIENT_LEFT)
        ticket.cancel()

    def _off_loop(self, work: Callable[[], Body], then: Callable[[Any], None]) -> None:
        def done(future: asyncio.Future[Body]) -> None:
            try:
                body = future.result()
                if self._open:
                    then(body)
            except Exception as error:
                self.fail(error)

        asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(done)


def headers_text(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The headers of a request as a model gets them."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}


def model_fields(headers: Mapping[str, Any]) -> list[Header]:
    """What a model put into `response_headers`, as header fields.

    Raises:
        InferenceError: a name or value that no header can carry.
    """
    fields = [
        (name.lower().encode(errors="replace"), str(value).encode(errors="replace")) for name, value in headers.items()
    ]
    for name, value in fields:
        if not _NAME.fullmatch(name) or any(byte < 0x20 and byte != 9 for byte in value):
            raise InferenceError("The model's response_headers hold a name or value that is not allowed in a header")
    return fields
