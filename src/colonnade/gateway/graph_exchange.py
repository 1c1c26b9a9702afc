"""A request of a graph's step: an exchange without a socket, whose client is this process.

A step goes the same way as any other request of the service it asks: it is admitted, held, split, balanced, retried and
counted there. So a step is an `Exchange`, and what answers it need not know that nobody listens at its other end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, cast

from colonnade.gateway.forward import Forward
from colonnade.gateway.forwarding import Header
from colonnade.net import Exchange
from colonnade.net.head import Body
from colonnade.net.head_parse import RequestHead

if TYPE_CHECKING:
    pass

log = logging.getLogger(__name__)

ID = b"x-request-id"


class Sink(Protocol):
    """Who takes the answer of a step. `answered`, `unanswered` and `broken` each end it, and so does `ended`."""

    def answered(self, status: int, body: Body, content_type: bytes, headers: Sequence[Header]) -> None:
        """The whole answer."""

    def unanswered(self, status: int, message: str) -> None:
        """Nobody answered, for a reason that this gateway has a status and words for."""

    def begun(self, status: int, headers: Sequence[Header], content_type: bytes, length: int | None) -> None:
        """The head of an answer that comes in parts."""

    def part(self, data: bytes) -> None:
        """A part of it."""

    def ended(self) -> None:
        """Its end."""

    def broken(self) -> None:
        """The answer broke off."""


class _Inside:
    """The connection of an exchange that has none."""

    peer: str | None = None
    secure = False

    def guarded(self, callback: Callable[[], object]) -> None:
        """Call what the application left for the end of the exchange."""
        try:
            callback()
        except Exception:
            log.exception("the end of a step's request failed")


_INSIDE = _Inside()


class StepExchange(Exchange):
    """One request of a step. Its body is there from the beginning; its answer goes to a `Sink`."""

    def __init__(self, head: RequestHead, body: bytes, sink: Sink) -> None:
        super().__init__(_INSIDE, head, body=body)
        self._sink = sink

    def unanswered(self, status: int, message: str) -> None:
        """End it without an answer of anybody."""
        if not self.closed:
            self._complete()
            self._sink.unanswered(status, message)

    def abort(self) -> None:
        if not self.closed:
            self._complete()
            self._sink.broken()

    def pause(self) -> None:
        """Nothing of the body is to come."""

    def resume(self) -> None:
        """Likewise."""

    def reply(
        self,
        status: int,
        body: Body = b"",
        content_type: bytes = b"application/json",
        headers: Iterable[Header] = (),
        trailers: Sequence[Header] = (),
    ) -> None:
        if self.closed:
            return
        if self.started:
            raise RuntimeError("the answer has started already")
        self._complete()
        self._sink.answered(status, body, content_type, [header for header in headers if header[0] != ID])

    def _begin_answer(self, status: int, headers: Iterable[Header], content_type: bytes, length: int | None) -> None:
        self.started = True
        self._sink.begun(status, [header for header in headers if header[0] != ID], content_type, length)

    def _write_part(self, chunk: bytes) -> None:
        self._sink.part(chunk)

    def _end_answer(self, trailers: Sequence[Header]) -> None:
        self._complete()
        self._sink.ended()

    @property
    def slow(self) -> bool:
        """The sink keeps up, or it has asked for a pause."""
        return False

    def _complete(self) -> None:
        self.closed = True
        self._forget()


class StepForward(Forward):
    """A step on its way to a replica. What no replica says is told as that, and not as an answer."""

    def _fail(self, status: int, message: str, headers: list[Header] | None = None) -> None:
        cast("StepExchange", self._exchange).unanswered(status, message)
        self._done(status)
