"""What both ends of the multiplexed socket share: frames out of what is read, and one write per turn of the event loop.

Frames that are put into the link wait in a list until the turn ends. So a thousand requests cost one system call, and
the other side reads them together.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from threading import get_ident
from time import monotonic
from typing import TYPE_CHECKING, cast

from colonnade.net.mux.frames import COUNT, HEADER, MAX_FRAME, PLACE, RELEASE, Malformed, frame

if TYPE_CHECKING:
    from colonnade.net.mux.mapping import Mapping

logger = logging.getLogger(__name__)

_JOIN_BELOW = 256 << 10  # up to here one joined write is cheaper than several buffers


class MuxLink(asyncio.Protocol):
    """One end of a connection.

    Attributes:
        transport: None until the connection is made, and after it is lost.
        loop: the event loop that it belongs to.
        mapping: memory that both ends share; None until it is needed.
        seen: when the last bytes came (monotonic seconds).
        writing_paused: the peer reads more slowly than it is written to.
    """

    transport: asyncio.Transport | None = None
    writing_paused = False

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self.mapping: Mapping | None = None
        self._out: list[bytes | memoryview] = []
        self._scheduled = False
        self._parts: list[bytes] = []  # of a frame that has not come whole
        self._size = 0  # bytes of those
        self._need = 0  # bytes without which there is no use in looking at them again
        self.seen = monotonic()

    # Out.

    def put(self, *parts: bytes | memoryview) -> None:
        """Send frames, given in any number of pieces, at the end of this turn."""
        self._out.extend(parts)
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        self._scheduled = False
        out, transport = self._out, self.transport
        if not out or transport is None:
            return
        self._out = []
        if len(out) < 4 and sum(map(len, out)) > _JOIN_BELOW:
            transport.writelines(out)
        else:
            transport.write(b"".join(out))

    def guarded(self, callback: Callable[[], object]) -> None:
        """Run a callback that nobody up the stack could answer for."""
        try:
            callback()
        except Exception:
            logger.exception("a callback of the application failed")

    def place(self, body: Sequence[bytes | memoryview]) -> bytes | None:
        """Where a body lies in the shared memory, to be sent in its place; None if it has to travel itself."""
        offset = None if self.mapping is None else self.mapping.fill(body)
        return None if offset is None else PLACE.pack(offset, sum(map(len, body)))

    def placed(self, place: bytes) -> memoryview:
        """The body that the peer has put there. The memory is given back when nothing refers to it any more.

        Raises:
            Malformed: there is none.
        """
        if self.mapping is None or len(place) != PLACE.size:
            raise Malformed("a body in memory that is not shared")
        offset, length = PLACE.unpack(place)
        return self.mapping.borrow(offset, length, self._released)

    def freed(self, rest: bytes) -> None:
        """Take a RELEASE.

        Raises:
            Malformed: the peer did not have that body.
        """
        if self.mapping is None or len(rest) != COUNT.size:
            raise Malformed("a body in memory that is not shared")
        self.mapping.free(COUNT.unpack(rest)[0])

    def _released(self, offset: int) -> None:
        if self.transport is None:
            return
        release = frame(RELEASE, 0, COUNT.pack(offset))
        if get_ident() == self._thread:
            self.put(release)
        else:
            self.loop.call_soon_threadsafe(self.put, release)

    def abort(self) -> None:
        """Cut the connection; what was put and not sent is lost."""
        self._out.clear()
        self._parts.clear()
        if self.transport is not None:
            self.transport.abort()

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.seen = monotonic()
        self.flush()

    def pause_writing(self) -> None:
        self.writing_paused = True

    def resume_writing(self) -> None:
        self.writing_paused = False

    def data_received(self, data: bytes) -> None:
        self.seen = monotonic()
        if self._parts:
            self._parts.append(data)
            self._size += len(data)
            if self._size < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        try:
            self._read(data)
        except Malformed as fault:
            logger.error("the peer of a multiplexed socket does not keep to the protocol: %s", fault)
            self.abort()

    def _read(self, data: bytes) -> None:
        at, end = 0, len(data)
        unpack = HEADER.unpack_from
        while end - at >= 12:
            length, stream, kind, identity, head = unpack(data, at)
            begin = at + 12
            stop = begin + length
            if stop > end:
                if length > MAX_FRAME:
                    raise Malformed(f"a frame of {length} bytes")
                self._keep(data[at:], 12 + length)
                return
            if identity:
                if identity > length:
                    raise Malformed("an id that is longer than its frame")
                middle = begin + identity
                self.take(kind, stream, head, data[begin:middle], data[middle:stop])
            else:
                self.take(kind, stream, head, b"", data[begin:stop])
            at = stop
        if at < end:
            self._keep(data[at:], 12)

    def _keep(self, rest: bytes, need: int) -> None:
        self._parts.append(rest)
        self._size = len(rest)
        self._need = need

    @abstractmethod
    def take(self, kind: int, stream: int, head: int, identity: bytes, rest: bytes) -> None:
        """Take one frame.

        Raises:
            Malformed: it is not allowed here.
        """
