"""A request on its way whose body and answer somebody wants to see afterwards.

Only routes with observers pay for it, and their callers wait for nobody: observers are told when all is over. Of a
body as much is kept as the bound allows, and how long it was; the parts of a stream pass on at once, as ever.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import time
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


class Kept(NamedTuple):
    """The beginning of a body, at most `defaults.OBSERVED_BYTES` of it, and the length of what came."""

    data: bytes = b""
    size: int = 0

    @property
    def is_whole(self) -> bool:
        """Whether all that came is kept."""
        return self.size == len(self.data)


class Observation(NamedTuple):
    """A request that is over, answered or not.

    Attributes:
        proxy: which took it.
        exchange: its head; the body has been taken.
        way: that it went.
        revision: that it was for.
        request_id: by which it is known to its caller and to the replica.
        began: seconds of Unix time at which it came.
        seconds: until it was over.
        replica: name of the pod that answered last; empty if none has.
        request: its body.
        status: that it ended with, 499 if its caller left before.
        code: the same for a gRPC call, by name; empty for others.
        head: the fields of the replica's answer; None if no replica has answered.
        answer: the body of that.
        ended: the answer came to its end.
    """

    proxy: Sender
    exchange: Exchange
    way: Way
    revision: Revision
    request_id: bytes
    began: float
    seconds: float
    replica: str
    request: Kept
    status: int
    code: str
    head: Sequence[Header] | None
    answer: Kept
    ended: bool

    @property
    def body(self) -> bytes | None:
        """The request's whole body; None if it was too large to be kept."""
        return self.request.data if self.request.is_whole else None

    @property
    def reply(self) -> Reply | None:
        """The whole answer; None if there is none, or it was too large to be kept."""
        if self.head is None or not self.ended or not self.answer.is_whole:
            return None
        return Reply(self.status, dict(self.head), self.answer.data)


class Observer(Protocol):
    """Who wants to see requests of a service."""

    def wants(self, exchange: Exchange) -> bool:
        """Whether this one is of interest; its body has not come yet."""

    def saw(self, observation: Observation) -> None:
        """It is over. Returns at once."""


class Observed(Forward):
    """A `Forward` that keeps what its observers want to see."""

    _observers: tuple[Observer, ...] = ()
    _asked: Kept | None = None  # the body, if it came whole
    _asked_parts: list[bytes] | None = None
    _asked_size = 0
    _answer_parts: list[bytes] | None = None  # of a replica, as far as it has come
    _answer_kept = 0
    _answer_size = 0
    _answer_head: Sequence[Header] | None = None
    _answered_by = ""
    _answer_ended = False

    def _enter(self) -> None:
        exchange = self._exchange
        self._observers = tuple(one for one in self._way.service.observers if one.wants(exchange))
        super()._enter()

    # The request.

    def _collected(self, body: Part) -> None:
        if self._observers:  # now, as a replica may write into a large body that it shares
            size = len(body)
            self._asked = Kept(
                bytes(body if size <= defaults.OBSERVED_BYTES else body[: defaults.OBSERVED_BYTES]), size
            )
        super()._collected(body)

    def _body_part(self, part: bytes) -> None:
        if self._observers:
            if self._asked_parts is None:
                self._asked_parts = []
            left = defaults.OBSERVED_BYTES - self._asked_size
            self._asked_size += len(part)
            if left > 0:
                self._asked_parts.append(part if len(part) <= left else part[:left])
        super()._body_part(part)

    # The answer.

    def whole(self, head: AnswerHead, identity: bytes, body: Part) -> None:
        if self._observers:
            self._begin_answer(head.fields)
            self._keep(body)
            self._answer_ended = True
        super().whole(head, identity, body)

    def head(self, status: int, headers: list[Header]) -> None:
        if self._observers:
            self._begin_answer(headers)
        super().head(status, headers)

    def chunk(self, data: bytes) -> None:
        if self._observers:
            self._keep(data)
        super().chunk(data)

    def end(self, trailers: Sequence[Header] = ()) -> None:
        self._answer_ended = True
        super().end(trailers)

    def _begin_answer(self, headers: Sequence[Header]) -> None:
        self._answer_head = headers
        self._answer_parts = []
        self._answer_kept = self._answer_size = 0
        self._answered_by = "" if self._replica is None else self._replica.backend.name

    def _keep(self, part: Part) -> None:
        self._answer_size += len(part)
        left = defaults.OBSERVED_BYTES - self._answer_kept
        if left > 0 and self._answer_parts is not None:
            kept = bytes(part if len(part) <= left else part[:left])
            self._answer_kept += len(kept)
            self._answer_parts.append(kept)

    # Ends.

    def _code_name(self) -> str:
        """The gRPC status that it ended with; empty if it is no gRPC call."""
        return ""

    def _count(self, status: int, seconds: float) -> None:
        super()._count(status, seconds)
        if not self._observers:
            return
        asked = self._asked or Kept(b"".join(self._asked_parts or ()), self._asked_size)
        seen = Observation(
            self._proxy,
            self._exchange,
            self._way,
            self._revision,
            self._request_id,
            time() - seconds,
            seconds,
            self._answered_by,
            asked,
            status,
            self._code_name(),
            self._answer_head,
            Kept(b"".join(self._answer_parts or ()), self._answer_size),
            self._answer_ended,
        )
        for observer in self._observers:
            try:
                observer.saw(seen)
            except Exception:
                log.exception("an observer of requests failed")
