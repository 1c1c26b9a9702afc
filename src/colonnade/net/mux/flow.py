"""How much of one body may be on its way: credit, as in HTTP/2's flow control, so that a slow reader stops its own
request and no other one of the connection.

A body begins with a window of credit. Who sends it uses that up and then keeps what is left; who takes it gives back
what it has taken, unless its own reader asked it to hold.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from colonnade.net.mux.frames import BODY, COUNT, CREDIT, END, HEADER, PART, WINDOW, Malformed, frame

if TYPE_CHECKING:
    from colonnade.net.mux.link import MuxLink


class Outflow:
    """The sending end of one body.

    Attributes:
        pause: called when the other side takes the body too slowly.
        resume: called when it has caught up.
        ended: called when the end of the body has been put into the link.
    """

    __slots__ = ("_credit", "_held", "_last", "_link", "_stream", "ended", "pause", "resume")

    def __init__(self, link: MuxLink, stream: int) -> None:
        self._link = link
        self._stream = stream
        self._credit = WINDOW
        self._held: deque[bytes | memoryview] = deque()
        self._last: bytes | None = None  # the rest of the END frame that is due
        self.pause: Callable[[], None] | None = None
        self.resume: Callable[[], None] | None = None
        self.ended: Callable[[], None] | None = None

    @property
    def held(self) -> bool:
        """Whether something waits for credit."""
        return bool(self._held)

    def write(self, part: bytes | memoryview) -> None:
        """Send a part of the body, or keep it until there is credit."""
        if self._held:
            self._held.append(part)
            return
        rest = self._send(part)
        if rest is not None:
            self._held.append(rest)
            if self.pause is not None:
                self.pause()

    def finish(self, rest: bytes = b"") -> None:
        """Send the end of the body, with its trailers, behind what is kept."""
        self._last = rest
        if not self._held:
            self._end()

    def grant(self, size: int) -> None:
        """Take credit from the other side."""
        self._credit += size
        held = self._held
        if not held:
            return
        while held:
            rest = self._send(held.popleft())
            if rest is not None:
                held.appendleft(rest)
                return
        if self._last is not None:
            self._end()
        elif self.resume is not None:
            self.resume()

    def drop(self) -> None:
        """Send nothing more."""
        self._held.clear()
        self.pause = self.resume = self.ended = None

    def _end(self) -> None:
        self._link.put(frame(END, self._stream, self._last or b""))
        ended = self.ended
        self.drop()
        if ended is not None:
            ended()

    def _send(self, part: bytes | memoryview) -> memoryview | None:
        """Put as much of a part into the link as there is credit for; what is left, or None."""
        size = len(part)
        if size <= PART and size <= self._credit:
            self._credit -= size
            self._link.put(HEADER.pack(size, self._stream, BODY, 0, 0), part)
            return None
        view = memoryview(part)
        while size := min(len(view), PART, self._credit):
            self._credit -= size
            self._link.put(HEADER.pack(size, self._stream, BODY, 0, 0), view[:size])
            view = view[size:]
        return view if view else None


class Inflow:
    """The taking end of one body."""

    __slots__ = ("_allowed", "_held", "_link", "_stream", "_taken")

    def __init__(self, link: MuxLink, stream: int) -> None:
        self._link = link
        self._stream = stream
        self._allowed = WINDOW  # bytes that the other side may still send
        self._taken = 0  # bytes taken and not given back as credit
        self._held = False

    def came(self, size: int) -> None:
        """Count a part that came, after its reader has seen it.

        Raises:
            Malformed: the other side had no credit for it.
        """
        self._allowed -= size
        self._taken += size
        if self._allowed < 0:
            raise Malformed("more of a body than there was credit for")
        self._grant()

    def hold(self, yes: bool) -> None:
        """Give no credit until that is taken back."""
        self._held = yes
        self._grant()

    def _grant(self) -> None:
        if self._held or self._taken < WINDOW // 2:
            return
        self._link.put(frame(CREDIT, self._stream, COUNT.pack(self._taken)))
        self._allowed += self._taken
        self._taken = 0
