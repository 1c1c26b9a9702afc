"""One inference over HTTP, from the head of the request to the end of the answer.

V1 and V2 differ in how a body is read and an answer is written; they share everything between: readiness, content
codings, where the model runs, a client that leaves, counting. Every step is a callback of this object, so a request
costs no task and no future. Bodies are decoded on the loop: a JSON parser holds the interpreter lock for its whole
run, so another thread would stall the loop just the same. zlib releases the lock, so codings go to a thread.
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from colonnade.errors import Error, InferenceError
from colonnade.model.binding import Operation
from colonnade.net import Exchange, Header
from colonnade.server import answers, compression
from colonnade.server.execution import Execution, Ticket
from colonnade.server.metrics import CLIENT_LEFT, Traffic
from colonnade.server.repository import Hosted

Body = bytes | bytearray | memoryview

_NO_HEADERS: Mapping[str, str] = {}
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # a token, RFC 9110 section 5.6.2


class HttpCall(ABC):
    """One inference over HTTP. Made by a route with the head, then it lives by itself.

    `max_body` bounds the inflated body in bytes.
    """

    protocol: str

    __slots__ = (
        "_max_body",
        "_open",
        "_response_headers",
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
        self.exchange = exchange
        self.hosted = hosted
        self._version = version
        self._traffic = traffic
        self._response_headers: dict[str, str] = {}
        self._max_body = max_body
        self.ticket: Ticket | None = None  # None: nothing to cancel
        self._open = True
        traffic.begin()
        if not exchange.received:
            try:
                hosted.serving(version)  # refuses now what would be refused after a large upload
            except Error as error:
                self.fail(error)
                return
        exchange.collect(self._receive)
        if self._open:
            exchange.on_disconnect(self._leave)

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

    def _receive(self, body: bytes) -> None:
        coding = self.exchange.headers.get(b"content-encoding")
        if coding is not None:
            self._off_loop(partial(compression.inflate, body, coding, self._max_body), self._start)
            return
        self._start(body)

    def _start(self, body: Body) -> None:
        try:
            self.execution = self.hosted.serving(self._version)
            self.ticket = self.start(body)
        except Exception as error:
            self.fail(error)

    def run(self, operation: Operation, payload: Any, size: int) -> Ticket | None:
        """Starts an operation of `execution`; its outcome goes to `_finish`."""
        headers = _text(self.exchange.headers) if self.execution.takes_headers else _NO_HEADERS
        filled = self._response_headers
        return self.execution.start(operation, payload, headers, filled, size, self._finish)

    def _finish(self, result: Any, error: Exception | None) -> None:
        """Takes the model's outcome."""
        if error is not None:
            self.fail(error)
            return
        try:
            self.write(result)
        except Exception as failure:
            self.fail(failure)

    def answer(self, chunks: Sequence[bytes], content_type: bytes, headers: Sequence[Header] = ()) -> None:
        """Answers 200 with a whole body, compressed if the client asks for it, and the model's headers."""
        if self._response_headers:
            headers = [*headers, *_fields(self._response_headers)]
        coding = compression.wanted(self.exchange.headers.get(b"accept-encoding"))
        if coding is None:
            self._reply(chunks, content_type, headers)
            return
        coded = [*headers, (b"content-encoding", coding), (b"vary", b"accept-encoding")]
        self._off_loop(
            partial(compression.deflate, chunks, coding), lambda body: self._reply(body, content_type, coded)
        )

    def fail(self, error: Exception) -> None:
        """Answers with a failure, or cuts an answer that has begun."""
        if not self._open:
            return
        if self.exchange.started:
            self.close(500)
            self.exchange.abort()
        else:
            self.close(answers.refuse(self.exchange, error))

    def close(self, code: int) -> None:
        """Counts the request as done."""
        if self._open:
            self._open = False
            self._traffic.end(code)

    def _reply(self, body: bytes | Sequence[bytes], content_type: bytes, headers: Sequence[Header]) -> None:
        exchange = self.exchange
        exchange.reply(200, body, content_type, answers.identified(exchange, headers))
        self.close(200)

    def _leave(self) -> None:
        """The client is gone: nobody waits for the result any more."""
        self.close(CLIENT_LEFT)
        if self.ticket is not None:
            self.ticket.cancel()

    def _off_loop(self, work: Callable[[], Body], then: Callable[[Any], None]) -> None:
        def done(future: asyncio.Future[Body]) -> None:
            try:
                body = future.result()
                if self._open:
                    then(body)
            except Exception as error:
                self.fail(error)

        asyncio.get_running_loop().run_in_executor(None, work).add_done_callback(done)


def _text(headers: Mapping[bytes, bytes]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers.items()}


def _fields(headers: Mapping[str, Any]) -> list[Header]:
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
