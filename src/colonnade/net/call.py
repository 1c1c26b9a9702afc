"""A request that a client has under way, and who takes its answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from colonnade.errors import Error
from colonnade.net.head import Header, field_lines
from colonnade.net.request_head import Framing

if TYPE_CHECKING:
    from colonnade.net.upstream import Upstream
    from colonnade.net.upstream_connection import UpstreamConnection

# RFC 9110, section 9.2.2: sending these twice is the same as sending them once.
IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})

_HELD_BYTES = 64 << 10  # of a streamed body while the connection is not there yet


class Receiver(Protocol):
    """Takes one answer. After `end` or `failed` nothing more comes."""

    def head(self, status: int, headers: list[Header]) -> None:
        """The head, names in lower case; informational answers (1xx) are not shown."""

    def chunk(self, data: bytes) -> None:
        """A part of the body, without framing."""

    def end(self, trailers: Sequence[Header] = ()) -> None:
        """The answer is complete; `trailers` came behind its body."""

    def failed(self, error: Exception, sent: bool) -> None:
        """No (complete) answer comes. `sent`: a byte of the request may have reached the peer."""


class Call:
    """A request under way. `write` and `finish` serve streamed bodies; `cancel` ends it silently."""

    __slots__ = (
        "_closed",
        "_connection",
        "_finished",
        "_framing",
        "_held",
        "_pause_writer",
        "_reading_paused",
        "_resume_writer",
        "_upstream",
        "answered",
        "head",
        "method",
        "receiver",
        "replayable",
        "reused",
    )

    def __init__(
        self, upstream: Upstream, method: bytes, head: bytes, framing: Framing, finished: bool, receiver: Receiver
    ) -> None:
        self._upstream = upstream
        self._connection: UpstreamConnection | None = None
        self._framing = framing
        self._held: list[bytes] = []
        self._closed = False
        self._finished = finished
        self._reading_paused = False
        self._pause_writer: Callable[[], None] | None = None
        self._resume_writer: Callable[[], None] | None = None
        self.method = method
        self.head = head  # with the body, if that was given whole
        self.receiver = receiver
        self.answered = False  # a byte of the answer came
        self.reused = False  # went out on a pooled connection
        self.replayable = finished and method in IDEMPOTENT

    @property
    def finished(self) -> bool:
        """Whether the request is complete."""
        return self._finished

    @property
    def closed(self) -> bool:
        """Whether the receiver hears nothing more."""
        return self._closed

    def write(self, chunk: bytes) -> None:
        """Send a part of the request's body. Without effect when the call is over."""
        if self._closed or self._finished or not chunk:
            return
        parts = [b"%x\r\n" % len(chunk), chunk, b"\r\n"] if self._framing is Framing.CHUNKED else [chunk]
        if self._connection is not None:
            self._connection.send(parts)
            return
        before = sum(map(len, self._held))
        self._held += parts
        if before <= _HELD_BYTES < before + len(chunk) and self._pause_writer is not None:
            self._pause_writer()

    def finish(self, trailers: Sequence[Header] = ()) -> None:
        """End the request's body. `trailers` go out behind one of unknown length; else they are left out."""
        if self._closed or self._finished:
            return
        self._finished = True
        parts = [b"0\r\n%b\r\n" % field_lines(trailers)] if self._framing is Framing.CHUNKED else []
        if self._connection is not None:
            self._connection.send(parts)
        else:
            self._held += parts

    def on_writable(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Call `pause` while the peer reads the request's body too slowly, `resume` when it has caught up."""
        self._pause_writer = pause
        self._resume_writer = resume
        if self._connection is not None and self._connection.writing_paused:
            pause()

    def pause(self) -> None:
        """Read no more of the answer for now; parts that were read already may still come."""
        self._reading_paused = True
        if self._connection is not None:
            self._connection.pause_reading()

    def resume(self) -> None:
        """Take back `pause`."""
        self._reading_paused = False
        if self._connection is not None:
            self._connection.resume_reading()

    def cancel(self) -> None:
        """Give up: the connection is cut, which is how HTTP/1.1 tells the peer."""
        if self._closed:
            return
        connection = self._detach()
        if connection is not None:
            connection.abort()

    # Called by the upstream and its connections.

    def attach(self, connection: UpstreamConnection) -> None:
        """Go out on `connection`."""
        self._connection = connection
        held, self._held = self._held, []
        connection.send([self.head, *held] if held else [self.head])
        if self._reading_paused:
            connection.pause_reading()
        if not held:
            return
        if sum(map(len, held)) > _HELD_BYTES and not connection.writing_paused and self._resume_writer is not None:
            self._resume_writer()

    def writable(self, yes: bool) -> None:
        """Pass on from the connection whether the peer keeps up."""
        callback = self._resume_writer if yes else self._pause_writer
        if callback is not None and not self._closed:
            callback()

    def ended(self, trailers: Sequence[Header] = ()) -> None:
        """The answer is complete and the connection is free again."""
        if not self._closed:
            self._detach()
            self.receiver.end(trailers)

    def broken(self, error: Error, sent: bool) -> None:
        """The connection failed under this call."""
        if self._closed:
            return
        if self.reused and not self.answered and self.replayable:
            self._connection = None
            self._upstream.replay(self)
            return
        self._detach()
        self.receiver.failed(error, sent)

    def _detach(self) -> UpstreamConnection | None:
        self._closed = True
        self._held.clear()
        connection, self._connection = self._connection, None
        self._pause_writer = self._resume_writer = None
        return connection
