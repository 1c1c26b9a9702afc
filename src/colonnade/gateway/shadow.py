"""Shadow traffic: a revision gets copies of a share of the requests, and its answers are compared and thrown away.

A copy is sent when its request has been answered, so a caller never waits for a shadow. It is a request of the shadow's
revision like any other, with its own breaker and its own counts; the service that is shadowed does not hear of it. So
many copies may be under way as `defaults.SHADOW_IN_FLIGHT`; more are dropped and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import StrEnum
from time import monotonic

from colonnade import defaults
from colonnade.gateway.comparison import Reply, same
from colonnade.gateway.forwarding import Header
from colonnade.gateway.graph_exchange import StepExchange, StepForward
from colonnade.gateway.observed import Observation
from colonnade.gateway.revision import Revision
from colonnade.gateway.routes import Shadow, not_ready
from colonnade.net import Exchange
from colonnade.net.head import Body
from colonnade.net.head_parse import RequestHead

log = logging.getLogger(__name__)

_GRPC = b"application/grpc"
MARK = (b"x-colonnade-shadow", b"true")  # tells a replica that nobody waits for its answer


class Outcome(StrEnum):
    """What came of a request that was to be copied."""

    EQUAL = "equal"
    DIFFERENT = "different"
    FAILED = "failed"  # the shadow gave no answer
    DROPPED = "dropped"  # no copy was sent: too many are under way, or the body is too large
    UNCOMPARED = "uncompared"  # one of the answers is too large to be compared


class Mirror:
    """Copies the requests of one service to its shadow. Is an `Observer`."""

    def __init__(self, settings: Shadow, revision: Revision) -> None:
        """`revision`: the shadow."""
        self.settings = settings
        self.revision = revision
        self._earned = 0.0  # hundredths of a copy: the share is exact, as that of the split is
        self._under_way = 0

    def wants(self, exchange: Exchange) -> bool:
        if exchange.method != b"POST" or exchange.headers.get(b"content-type", b"").startswith(_GRPC):
            return False
        self._earned += self.settings.percent
        if self._earned < 100.0:
            return False
        self._earned -= 100.0
        return True

    def saw(self, observation: Observation) -> None:
        if not observation.ended:
            return
        revision = self.revision
        if observation.revision is revision:  # that has a share of its own: what it answered itself is not compared
            return
        refused = revision.guard.admit(monotonic()) is not None or not revision.ready
        if observation.body is None or refused or self._under_way >= defaults.SHADOW_IN_FLIGHT:
            self._count(Outcome.DROPPED)
            return
        self._under_way += 1
        exchange = StepExchange(_head(observation), observation.body, _Compared(observation.reply, self._ended))
        way = observation.way.to(revision)
        _Copy(observation.proxy, exchange, way, revision).begin()

    def _ended(self, outcome: Outcome) -> None:
        self._under_way -= 1
        self._count(outcome)

    def _count(self, outcome: Outcome) -> None:
        self.revision.counts.shadowed(outcome)


class _Copy(StepForward):
    """A copy on its way. It goes to no other revision: there it would be executed a second time."""

    def _wait(self, now: float) -> None:
        if self._revision.retired:
            self._fail(503, not_ready(self._revision.route))
        else:
            super()._wait(now)


class _Compared:
    """Takes the answer of a shadow. Is a `Sink`."""

    def __init__(self, expected: Reply | None, ended: Callable[[Outcome], None]) -> None:
        self._expected = expected
        self._ended = ended
        self._head: tuple[int, Sequence[Header]] = (0, ())
        self._parts: list[bytes] = []
        self._size = 0

    def answered(self, status: int, body: Body, content_type: bytes, headers: Sequence[Header]) -> None:
        self._head = status, headers
        for part in (body,) if isinstance(body, (bytes, memoryview)) else body:
            self.part(bytes(part))
        self.ended()

    def unanswered(self, status: int, message: str) -> None:
        self._ended(Outcome.FAILED)

    def begun(self, status: int, headers: Sequence[Header], content_type: bytes, length: int | None) -> None:
        self._head = status, headers

    def part(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= defaults.SHADOW_COMPARED_BYTES:
            self._parts.append(data)

    def ended(self) -> None:
        self._ended(self._outcome())

    def broken(self) -> None:
        self._ended(Outcome.FAILED)

    def _outcome(self) -> Outcome:
        expected = self._expected
        if expected is None or max(self._size, len(expected.body)) > defaults.SHADOW_COMPARED_BYTES:
            return Outcome.UNCOMPARED
        reply = Reply(self._head[0], dict(self._head[1]), b"".join(self._parts))
        return Outcome.EQUAL if same(expected, reply) else Outcome.DIFFERENT


def _head(observation: Observation) -> RequestHead:
    exchange = observation.exchange
    fields = [*exchange.raw_headers, MARK]
    headers = {**exchange.headers, MARK[0]: MARK[1]}
    length = len(observation.body or b"")
    return RequestHead(
        exchange.method, exchange.target, exchange.path, exchange.query, headers, fields, True, False, length, False
    )
