"""The writing half of a connection: frames that leave together, and bodies that wait for their windows.

All frames that one turn of the event loop makes leave in one write. A body goes out as far as the peer's windows and
the transport allow; the rest waits with its stream, and the streams take turns.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic

from colonnade.net.head import Part
from colonnade.net.http2 import frames
from colonnade.net.http2.frames import END_STREAM
from colonnade.net.outgoing import Outgoing

STREAM_WINDOW = 1 << 20  # bytes of one body that come before the application has asked for more

_MAX_HELD_FRAMES = 256  # that one turn collects; then the transport must see them, or there would be no back-pressure
_TURN_BYTES = 256 << 10  # of one stream that go out before others have their turn and the transport is asked


class Stream:
    """What an endpoint knows of one stream.

    Attributes:
        id: its number.
        window: bytes that the peer still takes on it.
        pending: what waits for a window.
        pending_size: bytes of that.
        tail: frames that follow the data: trailers; empty if END_STREAM goes with the last DATA; None: more will come.
        unread: bytes that came and were not credited to the peer again.
        held: the application wants no more for now.
    """

    id: int
    window: int
    pending: deque[memoryview] | None = None
    pending_size = 0
    tail: bytes | None = None
    unread = 0
    held = False

    def sent(self) -> None:
        """All that was pending has gone out."""

    def progressed(self, now: float) -> None:
        """Some of what was pending has gone out."""


class FrameWriter(Outgoing):
    """What an endpoint writes.

    Attributes:
        send_window: bytes that the peer still takes over all streams.
        largest_frame: the largest frame that it takes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.send_window = frames.DEFAULT_WINDOW
        self.largest_frame = frames.SMALLEST_MAX_FRAME
        self._flush_due = False
        self._blocked: dict[int, Stream] = {}  # streams with something pending, in turn

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._stalled = monotonic()
        self._buffered = self.transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        self.writing_paused = False
        self._wake()
        self._pump()

    def send(self, data: bytes) -> None:
        """Write frames; they leave at the end of this turn of the event loop."""
        self._out.append(data)
        if self._corked:
            if len(self._out) >= _MAX_HELD_FRAMES:
                self._flush()
        elif not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush_turn)

    def send_body(self, stream: Stream, data: Part, tail: bytes | None) -> None:
        """Send a part of a stream's body as far as the windows allow; see `Stream.tail`."""
        size = len(data)
        room = min(stream.window, self.send_window, _TURN_BYTES)
        if size <= room and stream.pending is None and not self.writing_paused:
            stream.window -= size
            self.send_window -= size
            self._emit(stream.id, data, size, tail)
            return
        stream.tail = tail
        if stream.pending is None:
            stream.pending = deque()
            stream.progressed(monotonic())
            self._blocked[stream.id] = stream
        if data:
            stream.pending.append(memoryview(data))
            stream.pending_size += size
        self._push(stream)

    def forget(self, stream: Stream) -> None:
        """Drop what a stream has pending."""
        if self._blocked.pop(stream.id, None) is not None:
            stream.pending = None
            stream.pending_size = 0

    def credit(self, stream: Stream) -> None:
        """Let the peer send what the application has taken."""
        if not stream.held and stream.unread >= STREAM_WINDOW >> 1:
            self.send(frames.window_update(stream.id, stream.unread))
            stream.unread = 0

    def _flush_turn(self) -> None:
        self._flush_due = False
        if self._out and not self.transport.is_closing():
            self._flush()

    def _emit(self, stream: int, data: bytes | memoryview, size: int, tail: bytes | None) -> None:
        """Write DATA that the windows allow, in frames that the peer takes."""
        name = stream.to_bytes(4, "big")
        largest = self.largest_frame
        at = 0
        while size - at > largest:
            self._out.append(b"%b\x00\x00%b" % (largest.to_bytes(3, "big"), name))
            self._out.append(data[at : at + largest])  # type: ignore[arg-type]  # `writelines` and `join` take views
            at += largest
        rest = data[at:] if at else data
        flags = END_STREAM if tail == b"" else 0
        if rest or flags:
            head = b"%b\x00%c%b" % ((size - at).to_bytes(3, "big"), flags, name)
            self._out.append(head)
            self._out.append(rest)  # type: ignore[arg-type]
        self.send(tail or b"")

    def _push(self, stream: Stream) -> None:
        """Send what is pending on one stream, as far as the windows allow."""
        pending = stream.pending
        if pending is None:
            return
        moved = False
        while pending and not self.writing_paused:
            part = pending[0]
            size = len(part)
            room = min(stream.window, self.send_window, size, _TURN_BYTES)
            if room <= 0:
                break
            moved = True
            if room < size:
                pending[0] = part[room:]
                part = part[:room]
            else:
                pending.popleft()
            stream.window -= room
            self.send_window -= room
            stream.pending_size -= room
            self._emit(stream.id, part, room, stream.tail if not pending else None)
            if room == _TURN_BYTES:
                self._flush()  # may find that the transport has enough
        if not pending:
            if not moved and stream.tail is not None:
                self._emit(stream.id, b"", 0, stream.tail)
            stream.pending = None
            self._blocked.pop(stream.id, None)
            stream.sent()
        elif moved:
            stream.progressed(monotonic())

    def _pump(self) -> None:
        for stream in list(self._blocked.values()):
            if self.send_window <= 0 and stream.pending:
                break
            self._push(stream)
