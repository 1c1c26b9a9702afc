"""The body of a request on its way to the application: whole, in parts, or straight into memory of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from colonnade.net.buffers import LARGE, take

_SMALL_PART = 4096  # parts below this are merged, so that a body of tiny chunks costs no object per chunk
_HELD_BYTES = 64 << 10  # what is kept of a body that nobody has asked for yet


class RequestBody(ABC):
    """The taking half of an exchange. What brings the bytes is a subclass.

    Attributes:
        length: announced length of the body; None for a chunked one.
        closed: nobody wants the rest.
        started: the answer has begun.
        received: the body is complete.
        size: bytes of it that came so far.
        size_before: of them, those that came before the connection's clock began to count the body's rate.
        pooled: it is taken in one of `buffers`.
        aligned: offset in it that lies at a multiple of 16 there.
    """

    # Defaults live in the class, so that a request pays only for what it uses.
    length: int | None
    closed = False
    started = False
    received = False
    size = 0
    size_before = 0
    pooled = False
    aligned = 0
    _first: bytes | None = None  # of the body, while nobody has taken it
    _rest: list[bytes | bytearray] | None = None
    _done: Callable[[Any], None] | None = None
    _allocate: Callable[[int], memoryview] | None = None
    _filled: memoryview | None = None  # the body, if it is received in a buffer of its own
    _chunk: Callable[[bytes], None] | None = None
    _end: Callable[[], None] | None = None
    _expects = False  # the client waits for 100 before it sends the body
    _hooked = False  # the application left callbacks to forget

    # Called by the application.

    def whole(self) -> bytes:
        """The body, once, if it is complete (`received`); what there is of it, if not."""
        if self._rest is None:
            first, self._first = self._first, None
            return first or b""
        return self._take()

    def collect(self, done: Callable[[bytes], None]) -> None:
        """Call `done` once with the whole body, at once if it is there. A body over the limit never arrives: the
        transport answers 413 and reports a disconnect."""
        if self.received:
            done((self._first or b"") if self._rest is None else self._take())
            return
        self._done = done
        if self._expects or self._first is not None:
            self._wanted()

    def collect_view(self, done: Callable[[bytes | memoryview], None], aligned: int = 0) -> None:
        """`collect` without copies for a large body of known length, which comes as a view of a buffer of its own. The
        buffer serves the next body when the last view of it is gone.

        Args:
            aligned: offset in the body that will lie at a multiple of 16 in memory, for an array that begins there.
        """
        if not self.received:
            self.pooled = True
            self.aligned = aligned
        self.collect(done)

    def collect_into(self, allocate: Callable[[int], memoryview], done: Callable[[bytes | memoryview], None]) -> None:
        """`collect_view` into memory that `allocate` gives for a length; `done` gets that memory, or bytes."""
        if not self.received:
            self._allocate = allocate
            self._hooked = True
        self.collect(done)

    def stream(self, chunk: Callable[[bytes], None], end: Callable[[], None]) -> None:
        """Call `chunk` with each part of the body as it comes, then `end`."""
        self._hooked = True
        held = self._take()
        self._chunk = chunk
        self._end = end
        if held:
            chunk(held)
        if self.received:
            end()
        else:
            self._wanted()

    @abstractmethod
    def pause(self) -> None:
        """Take no more of the body from the client; parts that came already may still follow."""

    @abstractmethod
    def resume(self) -> None:
        """Take back `pause`."""

    # Called by the connection.

    def missing(self) -> memoryview | None:
        """What is still to be filled of a buffer that the body is taken in; None if it is taken otherwise."""
        length = self.length
        if not (self.pooled or self._allocate) or length is None or length - self.size < LARGE or self.closed:
            return None
        view = take(length, self.aligned) if self._allocate is None else self._allocate(length)
        view[: self.size] = self._take()
        self._filled = view
        return view[self.size :]

    def fill(self, body: memoryview, size: int) -> bool:
        """Take the body in a buffer that it has, so many bytes of which have come; False if it is taken otherwise."""
        if not self.pooled or self.closed:
            return False
        self.size = size
        self._filled = body
        return True

    def feed(self, part: bytes) -> None:
        """Take a part of the body from the connection."""
        self.size += len(part)
        if self.closed:
            return
        if self._chunk is not None:
            self._chunk(part)
            return
        rest = self._rest
        if self._first is None:
            self._first = part
        elif rest is None:
            self._rest = [bytearray(part) if len(part) < _SMALL_PART else part]
        elif len(part) >= _SMALL_PART:
            rest.append(part)
        elif isinstance(rest[-1], bytearray):
            rest[-1] += part
        else:
            rest.append(bytearray(part))
        if self._done is None and self.size > _HELD_BYTES:
            self.pause()

    def feed_end(self) -> None:
        """Take the end of the body from the connection."""
        self.received = True
        if self.closed:
            return
        if self._done is not None:
            done, self._done = self._done, None
            filled, self._filled = self._filled, None
            done(self._take() if filled is None else filled)
        elif self._end is not None:
            self._end()

    # Inside.

    def _wanted(self) -> None:
        if self._expects:
            self._expects = False
            if not self.size and not self.started:
                self._continue()
        self.resume()

    def _continue(self) -> None:  # noqa: B027  where nobody waits, there is nothing to do
        """Tell the client that the body is wanted, where it may wait for that."""

    def _take(self) -> bytes:
        first, rest = self._first, self._rest
        self._first = self._rest = None
        if rest is None:
            return first or b""
        rest.insert(0, first or b"")
        return b"".join(rest)
