"""A request that came over the multiplexed socket, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, cast

from colonnade.net.exchange import Exchange
from colonnade.net.head import BODILESS, Body, Header, Part
from colonnade.net.head_parse import RequestHead
from colonnade.net.mux.flow import Inflow, Outflow
from colonnade.net.mux.frames import ANSWER, ANSWER_AT, BEGIN, HEADER, LENGTH, MAX_ID, UNKNOWN, WHOLE, Malformed
from colonnade.net.mux.heads import ID, pack_fields
from colonnade.net.request_head import METHODS_WITH_BODY

if TYPE_CHECKING:
    from colonnade.net.mux.server import MuxConnection


LENGTH_FIELD = b"content-length"


class MuxExchange(Exchange):
    """An exchange whose answer leaves in frames.

    Attributes:
        stream_id: the number of its stream.
        inflow: credit for the request's body; None if that came with the head.
        outflow: the answer's body on its way; None if it leaves in one frame.
    """

    takes_trailers = True
    inflow: Inflow | None = None
    outflow: Outflow | None = None

    def __init__(
        self, link: MuxConnection, stream: int, head: RequestHead, identity: bytes, body: bytes | memoryview
    ) -> None:
        """A request whose body came with its head."""
        super().__init__(link, head)
        self._link = link
        self.stream_id = stream
        self.length = self.size = size = len(body)
        self._first = cast(bytes, body)
        self.received = True
        self.headers = headers = head.headers.copy()
        if identity:
            headers[ID] = identity
        if size or head.method in METHODS_WITH_BODY:
            headers[LENGTH_FIELD] = b"%d" % size

    def expect(self, length: int) -> None:
        """The body, of this length or of `UNKNOWN`, comes in parts.

        Raises:
            Malformed: no body has that length.
        """
        if length < UNKNOWN:
            raise Malformed(f"a body of {length} bytes")
        self.inflow = Inflow(self._link, self.stream_id)
        self._first = None
        self.size = 0
        self.received = False
        if length == UNKNOWN:
            self.length = None
            self.headers.pop(LENGTH_FIELD, None)
        else:
            self.length = length
            self.headers[LENGTH_FIELD] = b"%d" % length

    @property
    def raw_headers(self) -> Sequence[Header]:
        head = self._head
        return [*head.fields, *(header for header in self.headers.items() if header[0] not in head.headers)]

    def collect(self, done: Callable[[bytes], None]) -> None:
        if isinstance(self._first, memoryview):  # shared memory, for who can do with a view of it
            self._first = bytes(self._first)
        super().collect(done)

    def collect_view(self, done: Callable[[bytes | memoryview], None], aligned: int = 0) -> None:
        if self.received:
            done(self.whole())
        else:
            super().collect_view(done, aligned)

    def take(self, part: bytes) -> None:
        """Take a part of the body."""
        self.feed(part)
        if self.inflow is not None and not self.closed:
            self.inflow.came(len(part))

    def pause(self) -> None:
        if self.inflow is not None and not self.received:
            self.inflow.hold(True)

    def resume(self) -> None:
        if self.inflow is not None and not self.received:
            self.inflow.hold(False)

    # The answer.

    def reply(
        self,
        status: int,
        body: Body = b"",
        content_type: bytes = b"application/json",
        headers: Iterable[Header] = (),
        trailers: Sequence[Header] = (),
    ) -> None:
        if self.closed:
            return
        if self.started:
            raise RuntimeError("the answer has started already")
        parts: Sequence[Part] = body if isinstance(body, (list, tuple)) else (body,)
        size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        bodiless = status in BODILESS or self.method == b"HEAD"
        place = self._link.place(parts) if size > WHOLE and not bodiless else None
        if bodiless or (size > WHOLE and place is None):
            self.start(status, headers, content_type, None if status in BODILESS else size)
            for part in parts:
                self.write(cast(bytes, part))
            self.finish(trailers)
            return
        number, identity = self._head_number(status, content_type, headers, trailers)
        if place is None:
            kind = ANSWER
        else:
            kind, parts, size = ANSWER_AT, (place,), len(place)
        header = HEADER.pack(len(identity) + size, self.stream_id, kind, len(identity), number)
        self._link.put(header, identity, *parts)
        self.started = True
        self._complete()

    def _begin_answer(self, status: int, headers: Iterable[Header], content_type: bytes, length: int | None) -> None:
        number, identity = self._head_number(status, content_type, headers, ())
        announced = LENGTH.pack(UNKNOWN if length is None or status in BODILESS else length)
        frame_size = len(identity) + len(announced)
        self._link.put(HEADER.pack(frame_size, self.stream_id, BEGIN, len(identity), number), identity, announced)
        self.started = True
        self.outflow = outflow = Outflow(self._link, self.stream_id)
        outflow.pause = self._fell_behind
        outflow.resume = self._caught_up

    def _write_part(self, chunk: Part) -> None:
        if self.outflow is not None:
            self.outflow.write(chunk)

    def _end_answer(self, trailers: Sequence[Header]) -> None:
        outflow = self.outflow
        assert outflow is not None
        rest = pack_fields(trailers) if trailers else b""
        self.closed = True
        self._forget()
        outflow.pause = outflow.resume = None
        outflow.ended = self._ended
        outflow.finish(rest)

    def abort(self) -> None:
        """Break off this answer, and no other one of the connection."""
        if not self.closed:
            self._link.broken_off(self)
            self.dropped()

    @property
    def slow(self) -> bool:
        return self.outflow is not None and self.outflow.held

    def dropped(self) -> None:
        """Nobody waits for this answer any more."""
        if self.outflow is not None:
            self.outflow.drop()
        self.leave()

    def _fell_behind(self) -> None:
        self.writable(False)

    def _caught_up(self) -> None:
        self.writable(True)
        self._wake()

    def _head_number(
        self, status: int, content_type: bytes, headers: Iterable[Header], trailers: Sequence[Header]
    ) -> tuple[int, bytes]:
        """The number of an answer's head, and the id that travels apart from it."""
        identity = b""
        fields = tuple(headers)
        if fields and fields[-1][0] == ID and 0 < len(fields[-1][1]) <= MAX_ID:
            identity = fields[-1][1]
            fields = fields[:-1]
        return self._link.head_number(status, content_type, fields, tuple(trailers)), identity

    def _complete(self) -> None:
        self.closed = True
        self._forget()
        self._link.ended(self)

    def _ended(self) -> None:
        self._link.ended(self)
