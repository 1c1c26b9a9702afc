"""A request that a gateway has under way on the multiplexed socket. It offers what `net.call.Call` does."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from colonnade.errors import BadUpstream
from colonnade.net.call import Receiver
from colonnade.net.head import Header
from colonnade.net.mux.flow import Inflow, Outflow
from colonnade.net.mux.frames import CANCEL, LENGTH, UNKNOWN, Malformed, frame
from colonnade.net.mux.heads import ID, AnswerHead, pack_fields, unpack_fields

if TYPE_CHECKING:
    from colonnade.net.mux.upstream import MuxClient

logger = logging.getLogger(__name__)


class WholeReceiver(Receiver, Protocol):
    """Takes one answer, in one piece if it comes so."""

    def whole(self, head: AnswerHead, identity: bytes, body: bytes | memoryview) -> None:
        """The whole answer; `identity` is its `x-request-id`, empty if it has none."""


class MuxCall:
    """A request under way.

    Attributes:
        stream: its number.
        outflow: the request's body on its way; None if it came with the head.
        closed: the receiver hears nothing more.
    """

    closed = False
    outflow: Outflow | None = None
    _finished = False  # the request is complete
    _inflow: Inflow | None = None  # of the answer's body, once its head has come

    def __init__(self, link: MuxClient, stream: int, receiver: WholeReceiver) -> None:
        self._link = link
        self.stream = stream
        self.receiver = receiver
        self._paused = False

    def write(self, chunk: bytes | memoryview) -> None:
        """Send a part of the request's body. Without effect when the call is over."""
        if self.outflow is not None and not self.closed and not self._finished and chunk:
            self.outflow.write(chunk)

    def finish(self, trailers: Sequence[Header] = ()) -> None:
        """End the request's body, with `trailers` behind it."""
        if self.outflow is not None and not self.closed and not self._finished:
            self._finished = True
            self.outflow.finish(pack_fields(trailers) if trailers else b"")

    def on_writable(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Call `pause` while the peer reads the request's body too slowly, `resume` when it has caught up."""
        if self.outflow is not None and not self.closed:
            self.outflow.pause = pause
            self.outflow.resume = resume
            if self.outflow.held:
                pause()

    def pause(self) -> None:
        """Take no more of the answer for now; parts that are on their way may still come."""
        self._paused = True
        if self._inflow is not None:
            self._inflow.hold(True)

    def resume(self) -> None:
        """Take back `pause`."""
        self._paused = False
        if self._inflow is not None and not self.closed:
            self._inflow.hold(False)

    def cancel(self) -> None:
        """Give up: the peer is told, and frees what the request holds."""
        if not self.closed:
            self._link.put(frame(CANCEL, self.stream))
            self.close()
            self._link.ended(self)

    def close(self) -> None:
        """Tell the receiver nothing more."""
        self.closed = True
        if self.outflow is not None:
            self.outflow.drop()

    # Called by the link.

    def answered(self, head: AnswerHead, identity: bytes, body: bytes | memoryview) -> None:
        """Take the whole answer."""
        self.close()
        try:
            self.receiver.whole(head, identity, body)
        except Exception as error:
            self._not_taken(error)

    def began(self, head: AnswerHead, identity: bytes, announced: bytes) -> None:
        """Take the head of an answer that comes in parts."""
        if self._inflow is not None or len(announced) != LENGTH.size:
            raise Malformed("an answer that begins twice, or without a length")
        self._inflow = Inflow(self._link, self.stream)
        if self._paused:
            self._inflow.hold(True)
        fields = [*head.fields, (ID, identity)] if identity else list(head.fields)
        length = LENGTH.unpack(announced)[0]
        if length != UNKNOWN:
            fields.append((b"content-length", b"%d" % length))
        try:
            self.receiver.head(head.status, fields)
        except Exception as error:
            self._break(error)

    def part(self, part: bytes) -> None:
        """Take a part of the answer's body."""
        if self._inflow is None:
            raise Malformed("a body before its head")
        try:
            self.receiver.chunk(part)
        except Exception as error:
            self._break(error)
        if not self.closed:
            self._inflow.came(len(part))

    def ended(self, trailers: bytes) -> None:
        """Take the end of the answer."""
        if self._inflow is None:
            raise Malformed("an end before its head")
        fields = unpack_fields(trailers) if trailers else ()
        self.close()
        try:
            self.receiver.end(fields)
        except Exception as error:
            self._not_taken(error)

    def broken(self, error: Exception, sent: bool) -> None:
        """No (complete) answer comes. `sent`: a byte of the request may have reached the peer."""
        if not self.closed:
            self.close()
            self._fail(error, sent)

    def broken_off(self) -> None:
        """The peer broke off its answer."""
        self.broken(BadUpstream("The upstream server broke off its answer."), True)

    @property
    def begun(self) -> bool:
        """Whether the head of the answer has come."""
        return self._inflow is not None

    def _break(self, error: Exception) -> None:
        if not self.closed:
            self._link.put(frame(CANCEL, self.stream))
            self._link.ended(self)
            self.close()
        self._not_taken(error)

    def _not_taken(self, error: Exception) -> None:
        logger.error("a receiver failed", exc_info=error)
        self._fail(BadUpstream("The answer of the upstream server could not be passed on."), True)

    def _fail(self, error: Exception, sent: bool) -> None:
        """Tell the receiver; what it raises must not end the other calls of the link."""
        self._link.guarded(partial(self.receiver.failed, error, sent))
