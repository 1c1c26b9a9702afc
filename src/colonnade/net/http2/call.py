"""A request that a client has under way on an HTTP/2 stream. It offers what `net.call.Call` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from colonnade.errors import Error
from colonnade.net.call import Receiver
from colonnade.net.head import Header
from colonnade.net.http2 import frames
from colonnade.net.http2.fields import fields
from colonnade.net.http2.frames import END_STREAM
from colonnade.net.http2.writing import Stream

if TYPE_CHECKING:
    from colonnade.net.http2.client import Http2Client

_PENDING_BYTES = 64 << 10  # with more than that to send, the writer is told to pause


class Http2Call(Stream):
    """A request under way.

    Attributes:
        block: the fields of its head.
        finished: all of the request was written.
        answered: the head of the answer has come.
        received: bytes of the answer's body that came.
        closed: the receiver hears nothing more.
    """

    id = 0
    window = 0
    answered = False
    closed = False
    received = 0
    _link: Http2Client | None = None
    _slow = False
    _trailers: Sequence[Header] = ()  # of a body that was complete before the call was sent
    _pause_writer: Callable[[], None] | None = None
    _resume_writer: Callable[[], None] | None = None

    def __init__(self, block: bytes, body: bytes | None, receiver: Receiver) -> None:
        """`body`: all of it; None if it follows."""
        self.block = block
        self.receiver = receiver
        self.finished = body is not None
        self._early: list[bytes] = [body] if body else []

    def write(self, chunk: bytes) -> None:
        """Send a part of the request's body. Without effect when the call is over."""
        if self.closed or self.finished or not chunk:
            return
        if self._link is None:
            self._early.append(chunk)
        else:
            self._link.send_body(self, chunk, None)
        self.check_pace()

    def finish(self, trailers: Sequence[Header] = ()) -> None:
        """End the request's body, with `trailers` behind it."""
        if self.closed or self.finished:
            return
        self.finished = True
        if self._link is not None:
            self._link.send_body(self, b"", self._tail(self._link, trailers))
        else:
            self._trailers = trailers

    def on_writable(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Call `pause` while the peer reads the request's body too slowly, `resume` when it has caught up."""
        self._pause_writer = pause
        self._resume_writer = resume
        self._slow = False
        self.check_pace()

    def pause(self) -> None:
        """Take no more of the answer than the window allows that was announced."""
        self.held = True

    def resume(self) -> None:
        """Take back `pause`."""
        if self.held:
            self.held = False
            if self._link is not None and not self.closed:
                self._link.credit(self)

    def cancel(self) -> None:
        """Give up: the stream is reset, and the others on the connection go on."""
        if not self.closed:
            link = self._link
            self._close()
            if link is not None:
                link.give_up(self)

    # Called by the connection.

    def attach(self, link: Http2Client, number: int) -> None:
        """Go out as a stream of this connection."""
        self._link = link
        self.id = number
        self.window = link.initial_window
        early, self._early = self._early, []
        link.send_head(self, ended=self.finished and not early and not self._trailers)
        if self.finished and self._trailers and not early:
            link.send_body(self, b"", self._tail(link, self._trailers))
        for at, part in enumerate(early, 1):
            last = self.finished and at == len(early)
            link.send_body(self, part, self._tail(link, self._trailers) if last else None)
        self.check_pace()

    def ended(self, trailers: list[tuple[bytes, bytes]]) -> None:
        """The answer is complete."""
        if not self.closed:
            self._close()
            self.receiver.end(trailers)

    def broken(self, error: Error, sent: bool) -> None:
        """The answer will not come, or not be complete."""
        if not self.closed:
            self._close()
            self.receiver.failed(error, sent)

    def sent(self) -> None:
        """See `Stream.sent`."""
        self.check_pace()

    def check_pace(self) -> None:
        """Tell the writer if the peer has become too slow, or has caught up."""
        if self._link is None:
            slow = sum(map(len, self._early)) > _PENDING_BYTES
        else:
            slow = self.pending_size > _PENDING_BYTES or self._link.writing_paused
        if slow != self._slow and not self.closed:
            self._slow = slow
            callback = self._pause_writer if slow else self._resume_writer
            if callback is not None:
                callback()

    def _tail(self, link: Http2Client, trailers: Sequence[Header]) -> bytes:
        """What follows the last of the body; see `Stream.tail`."""
        return frames.header_frames(self.id, fields(trailers), END_STREAM, link.largest_frame) if trailers else b""

    def _close(self) -> None:
        self.closed = True
        self._early.clear()
        self._pause_writer = self._resume_writer = None
        self._link = None
