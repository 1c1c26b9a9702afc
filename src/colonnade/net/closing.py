"""How a connection stops reading, for a while or for good, and how it closes without taking its answer with it.

A socket that is closed while its client still sends is reset, and the client may lose the answer that lies unread on
its side (RFC 9112, section 9.6). So what follows a last answer is read and dropped, within bounds of bytes and time.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from time import monotonic

from colonnade.net.limits import Limits
from colonnade.net.outgoing import Outgoing


class Closing(Outgoing, ABC):
    """A connection that can be held, drained and closed. Which requests wait on it is a subclass's.

    Attributes:
        begun: when the request that is being read, or else the idle time, began (monotonic seconds); moved on when
            reading resumes and whenever the rate of a body has been found good.
        seen: when the last bytes came.
        deaf: nothing more is read from this client.
    """

    __slots__ = (
        "_cut_at",
        "_discarded",
        "_discarding",
        "_hold_body",
        "_hold_queue",
        "_limits",
        "begun",
        "deaf",
        "seen",
    )

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self._limits = limits
        self._hold_body = self._hold_queue = False  # why reading is stopped
        self._cut_at = 0.0  # closing, and cut then at the latest; 0 while open
        self._discarded = 0  # bytes read and dropped behind an answer
        self._discarding: asyncio.TimerHandle | None = None  # the end of that
        self.begun = self.seen = 0.0
        self.deaf = False

    @abstractmethod
    def abort(self) -> None:
        """Cut the connection; what was written and not sent is lost."""

    @abstractmethod
    def _drop_waiting(self) -> None:
        """Forget what was read, or half read, and has not reached the application."""

    @abstractmethod
    def _resumed(self) -> None:
        """Reading goes on: time and rates count from now."""

    def _linger(self) -> None:
        """Close for writing and drop what the client still sends for a while, so that it can read the answer."""
        self._shut()
        if self.transport.is_closing():
            return
        self._start_discarding()
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._hold(body=False, queue=False)
        else:
            self.transport.close()  # TLS: reads on by itself until the client closes, too

    def _close(self) -> None:
        self._shut()
        self.transport.close()

    def _shut(self) -> None:
        self.deaf = True
        self._drop_waiting()
        self._cut_at = monotonic() + self._limits.read_timeout
        if self._out:
            self._flush()

    def _start_discarding(self) -> None:
        """Bound what the client may still send behind its answer, in bytes and in time."""
        self._stop_discarding()
        self._discarded = 0
        seconds = self._limits.discard_timeout
        self._discarding = asyncio.get_running_loop().call_later(seconds, self._discarded_enough)

    def _stop_discarding(self) -> None:
        if self._discarding is not None:
            self._discarding.cancel()
            self._discarding = None

    def _discard(self, size: int) -> None:
        self._discarded += size
        if self._discarded <= self._limits.discard_bytes:
            return
        if self.deaf:
            self._hold(queue=True)  # the client is stopped, and can still read its answer
        else:
            self._linger()

    def _discarded_enough(self) -> None:
        if self.transport.get_write_buffer_size():
            self._start_discarding()  # the answer is still going out; `check` sees to a client that does not read it
        else:
            self.abort()

    def _hold(self, *, body: bool | None = None, queue: bool | None = None) -> None:
        before = self._hold_body or self._hold_queue
        if body is not None:
            self._hold_body = body
        if queue is not None:
            self._hold_queue = queue
        after = self._hold_body or self._hold_queue
        if before == after or self.transport.is_closing():
            return
        if after:
            self.transport.pause_reading()
        else:
            self._resumed()
            self.transport.resume_reading()
