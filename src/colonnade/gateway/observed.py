"""A request on its way whose body and answer somebody wants to see afterwards.

Only routes with observers pay for it, and their callers wait for nobody: observers are told when the answer has gone
out. What is larger than the bound is not kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from colonnade import defaults
from colonnade.gateway.comparison import Reply
from colonnade.gateway.forward import Forward, Sender
from colonnade.gateway.forwarding import Header
from colonnade.gateway.revision import Revision
from colonnade.net import Exchange, Part
from colonnade.net.mux import AnswerHead

if TYPE_CHECKING:
    from colonnade.gateway.way import Way

log = logging.getLogger(__name__)


class Observation(NamedTuple):
    """A request that a replica has answered.

    Attributes:
        proxy: which took it.
        exchange: its head; the body has been taken.
        way: that it went.
        revision: that answered.
        body: of the request; None if it was too large to be kept.
        reply: the answer; None if it was too large to be kept.
    """

    proxy: Sender
    exchange: Exchange
    way: Way
    revision: Revision
    body: bytes | None
    reply: Reply | None


class Observer(Protocol):
    """Who wants to see requests of a service."""

    def wants(self, exchange: Exchange) -> bool:
        """Whether this one is of interest; its body has not come yet."""

    def saw(self, observation: Observation) -> None:
        """It has been answered. Returns at once."""


class Observed(Forward):
    """A `Forward` that keeps what its observers want to see."""

    _observers: tuple[Observer, ...] = ()
    _answer: list[bytes] | None = None  # of a replica, as far as it has come
    _answer_size = 0
    _answer_head: tuple[int, Sequence[Header]] | None = None
    _answered = False

    def begin(self) -> None:
        exchange = self._exchange
        self._observers = tuple(one for one in self._way.service.observers if one.wants(exchange))
        super().begin()

    def _shares(self, size: int) -> bool:
        """A replica may write into memory that it shares, so a body that is looked at later is not put there."""
        return not self._observers and super()._shares(size)

    def whole(self, head: AnswerHead, identity: bytes, body: Part) -> None:
        if self._observers:
            self._begin_answer(head.status, head.fields)
            self._keep(body)
            self._answered = True
        super().whole(head, identity, body)

    def head(self, status: int, headers: list[Header]) -> None:
        if self._observers:
            self._begin_answer(status, headers)
        super().head(status, headers)

    def chunk(self, data: bytes) -> None:
        self._keep(data)
        super().chunk(data)

    def end(self, trailers: Sequence[Header] = ()) -> None:
        self._answered = True
        super().end(trailers)

    def _begin_answer(self, status: int, headers: Sequence[Header]) -> None:
        self._answer_head = status, headers
        self._answer = []
        self._answer_size = 0

    def _keep(self, part: Part) -> None:
        if self._answer is not None:
            self._answer_size += len(part)
            if self._answer_size > defaults.OBSERVED_BYTES:
                self._answer = None
            else:
                self._answer.append(bytes(part))

    def _done(self, status: int) -> None:
        super()._done(status)
        if not self._observers or not self._answered or self._answer_head is None:
            return
        body = self._body
        kept = None if body is None or len(body) > defaults.OBSERVED_BYTES else bytes(body)
        reply = None
        if self._answer is not None:
            reply = Reply(self._answer_head[0], dict(self._answer_head[1]), b"".join(self._answer))
        seen = Observation(self._proxy, self._exchange, self._way, self._revision, kept, reply)
        for observer in self._observers:
            try:
                observer.saw(seen)
            except Exception:
                log.exception("an observer of requests failed")
