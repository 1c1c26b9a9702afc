"""One step of a graph that is under way: its attempts, its time, and what becomes of its answer.

An answer that the graph's caller gets whatever it says is passed on as it comes: the parts of a stream leave at once,
and a caller that reads slowly slows down the replica. Any other answer is collected, as the graph has to look at it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from time import monotonic, perf_counter
from typing import TYPE_CHECKING

from colonnade import defaults
from colonnade.gateway import own
from colonnade.gateway.forwarding import Header
from colonnade.gateway.graph_exchange import StepExchange
from colonnade.gateway.revision import Revision
from colonnade.graph.execution import Done
from colonnade.graph.outcome import Answer, Failure, Outcome
from colonnade.graph.plan import Step
from colonnade.net import Exchange
from colonnade.net.head import Body
from colonnade.net.head_parse import RequestHead

if TYPE_CHECKING:
    from colonnade.gateway.graph_call import GraphCall

PASSING = frozenset({502, 503, 504})  # statuses that another attempt may not find
_TIMED_OUT = 504


class StepCall:
    """One call of a step. Is the `Sink` of each of its attempts."""

    def __init__(
        self, call: GraphCall, step: Step, where: str, body: bytes, client: Exchange | None, done: Done
    ) -> None:
        """`client`: gets the answer as it comes; None if the graph has to look at it first. `where` names the step."""
        self._call = call
        self._step = step
        self._where = where
        self._body = body
        self._client = client
        self._done = done
        self._exchange: StepExchange | None = None
        self._revision: Revision | None = None  # whose budget pays for retries
        self._attempts = 0
        self._begun = 0.0
        self._timer: asyncio.TimerHandle | None = None  # until the next attempt
        self._over = False
        # Of an answer that comes in parts.
        self._head: tuple[int, Sequence[Header], bytes] | None = None
        self._parts: list[bytes] = []
        self._passing = False

    def begin(self) -> None:
        """Make an attempt."""
        self._timer = None
        self._attempts += 1
        self._begun = perf_counter()
        self._head = None
        self._parts = []
        self._exchange = None
        asked = self._call.target(self._step)
        if isinstance(asked, str):
            self._end(Failure(f"step {self._where}: {asked}"))
            return
        self._revision = asked.service.sole
        head = self._call.head(asked.path, asked.host, len(self._body))
        self._exchange = exchange = StepExchange(head, self._body, self)
        self._call.send(exchange, asked, self._limit())

    def cancel(self) -> None:
        """Give up on it."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if self._exchange is not None:
            self._exchange.leave()

    def _limit(self) -> float | None:
        """Seconds that an attempt may take, by the step and by the graph's limit for each call."""
        limits = [limit for limit in (self._step.timeout, self._call.plan.service_timeout) if limit is not None]
        return min(limits, default=None)

    # The answer.

    def answered(self, status: int, body: Body, content_type: bytes, headers: Sequence[Header]) -> None:
        """Take a whole answer."""
        if self._over or self._again(status):
            return
        if self._client is not None:
            self._pass(status, body, content_type, headers)
            return
        whole = body if isinstance(body, bytes) else b"".join(body if isinstance(body, (list, tuple)) else (body,))
        if self._kept(len(whole)):
            self._end(Answer(status, whole, content_type, tuple(headers)))

    def unanswered(self, status: int, message: str) -> None:
        """Nobody answered. A step that took too long has an answer of its own, 504, which a soft dependency bears; all
        else is no answer."""
        if self._over or self._again(status):
            return
        if status == _TIMED_OUT and not self._by_service_timeout():
            self.answered_here(status, message)
        else:
            reason = f"{self._step.url} could not be reached" if self._step.url else message
            self._end(Failure(f"step {self._where}: {reason}"))

    def answered_here(self, status: int, message: str) -> None:
        """Answer for the step."""
        body = own.error(message)
        if self._client is not None:
            self._pass(status, body, b"application/json", ())
        else:
            self._end(Answer(status, body))

    def begun(self, status: int, headers: Sequence[Header], content_type: bytes, length: int | None) -> None:
        """Take the head of an answer in parts."""
        if self._over or self._again(status):
            return
        self._head = (status, headers, content_type)
        client, exchange = self._client, self._exchange
        if client is None or exchange is None:
            return
        self._passing = True
        self._call.answering(status)
        client.start(status, [*headers, (b"x-request-id", self._call.request_id)], content_type, length)
        client.on_writable(lambda: exchange.writable(False), lambda: exchange.writable(True))

    def part(self, data: bytes) -> None:
        """Take a part of it."""
        if self._over:
            return
        if self._passing and self._client is not None:
            self._client.write(data)
        elif self._kept(len(data)):
            self._parts.append(data)

    def ended(self) -> None:
        """Take its end."""
        if self._over or self._head is None:
            return
        status, headers, content_type = self._head
        if self._passing and self._client is not None:
            self._client.finish()
            self._end(Answer(status, passed_on=True))
        else:
            self._end(Answer(status, b"".join(self._parts), content_type, tuple(headers)))

    def broken(self) -> None:
        """It broke off: what was passed on cannot be taken back, so the caller must see that too."""
        if self._over:
            return
        if self._passing and self._client is not None:
            self._client.abort()
            self._end(Answer(502, passed_on=True))
        elif not self._again(502):
            self._end(Failure(f"the answer of step {self._where} broke off"))

    def _pass(self, status: int, body: Body, content_type: bytes, headers: Sequence[Header]) -> None:
        if self._client is not None:
            self._call.answering(status)
            fields = [*headers, (b"x-request-id", self._call.request_id)]
            self._client.reply(status, body, content_type, fields)
        self._end(Answer(status, passed_on=True))

    def _kept(self, size: int) -> bool:
        """Whether so many bytes of the answer may be kept; else the step has failed."""
        if self._call.keep(size):
            return True
        exchange = self._exchange
        self._end(Failure(f"the answers of the steps are larger than {defaults.GRAPH_KEPT_BYTES} bytes together"))
        if exchange is not None:
            exchange.leave()
        return False

    def _by_service_timeout(self) -> bool:
        limit = self._call.plan.service_timeout
        return limit is not None and limit == self._limit() and perf_counter() - self._begun >= limit

    def _again(self, status: int) -> bool:
        """Whether another attempt is made, as this one ended with a status that may pass."""
        if status not in PASSING or self._attempts > self._step.retries:
            return False
        if self._revision is not None and not self._revision.guard.may_retry(monotonic()):
            return False
        pause = min(defaults.GRAPH_RETRY_FIRST * 2.0 ** (self._attempts - 1), defaults.GRAPH_RETRY_MAX)
        left = self._call.left()
        if left is not None and left <= pause:
            return False
        if self._exchange is not None:
            exchange, self._exchange = self._exchange, None
            exchange.leave()  # the rest of an answer that nobody wants
        if self._revision is not None:
            self._revision.counts.retries.inc()
        jitter = 0.5 + random.random() / 2  # noqa: S311
        self._timer = asyncio.get_running_loop().call_later(pause * jitter, self.begin)
        return True

    def _end(self, outcome: Outcome) -> None:
        self._over = True
        self._done(outcome)


def request_head(path: bytes, fields: list[Header], identity: bytes, length: int) -> RequestHead:
    """The head of a step's request."""
    headers = dict(fields) | {b"x-request-id": identity}
    target, _, query = path.partition(b"?")
    return RequestHead(b"POST", path, target, query, headers, fields, True, False, length, False)
