"""The client's end of an HTTP/2 connection: calls out, each on a stream of its own, and their answers back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from colonnade.errors import BadUpstream, Error, Unavailable
from colonnade.net.head import Header
from colonnade.net.http2 import frames
from colonnade.net.http2.call import Http2Call
from colonnade.net.http2.endpoint import CONNECTION_WINDOW, MAX_FRAME, Endpoint
from colonnade.net.http2.fields import BlockReader
from colonnade.net.http2.frames import END_STREAM, Fault, StreamFault
from colonnade.net.http2.request import Malformed, check_fields
from colonnade.net.http2.writing import STREAM_WINDOW

if TYPE_CHECKING:
    from colonnade.net.http2.upstream import Http2Upstream

logger = logging.getLogger(__name__)

_BROKEN_OFF = "The upstream server broke off its answer."


class _Answer:
    """The fields of an answer's head or trailers; the head of a final answer has a status."""

    __slots__ = ("fields", "status")

    def __init__(self, decoded: list[Header]) -> None:
        self.status = 0
        if decoded and decoded[0][0] == b":status":
            if not decoded[0][1].isdigit():
                raise Malformed("a status that is no number")
            self.status = int(decoded[0][1])
            decoded = decoded[1:]
        check_fields(decoded)
        self.fields = decoded


class Http2Client(Endpoint):
    """A connection of an `Http2Upstream`."""

    def __init__(self, upstream: Http2Upstream) -> None:
        super().__init__()
        self._upstream = upstream
        self._reader: BlockReader[_Answer] = BlockReader(2 * upstream.header_bytes)
        self._calls: dict[int, Http2Call] = {}
        self._next = 1
        self._most = 100  # streams at one time, until the peer says
        self.leaving = False  # no new streams

    @property
    def has_room(self) -> bool:
        """Whether another call may begin here now."""
        return len(self._calls) < self._most and not self.leaving

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.send(
            frames.PREFACE
            + frames.settings(
                [
                    (frames.ENABLE_PUSH, 0),
                    (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
                    (frames.MAX_FRAME_SIZE, MAX_FRAME),
                    (frames.MAX_HEADER_LIST_SIZE, self._upstream.header_bytes),
                ]
            )
            + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self.deaf = self.leaving = True
        calls, self._calls = self._calls, {}
        self._blocked.clear()
        self._upstream.lost(self)
        for call in calls.values():
            call.broken(BadUpstream(_broken(call)), True)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._check_paces()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._check_paces()

    # Called by the upstream and calls.

    def take(self, call: Http2Call) -> None:
        """Send a call."""
        number = self._next
        self._next += 2
        if self._next > frames.LARGEST_STREAM:
            self.leaving = True
        self._calls[number] = call
        call.attach(self, number)

    def send_head(self, call: Http2Call, *, ended: bool) -> None:
        """Send the head of a call."""
        self.send(frames.header_frames(call.id, call.block, END_STREAM if ended else 0, self.largest_frame))

    def give_up(self, call: Http2Call) -> None:
        """Reset a call's stream."""
        if self._calls.pop(call.id, None) is not None:
            self.forget(call)
            if not self.transport.is_closing():
                self.send(frames.rst_stream(call.id, frames.CANCEL))
            self._upstream.freed(self)

    def close(self) -> None:
        """Cut the connection; calls in flight fail."""
        self.leaving = True
        self.transport.abort()

    def close_if_unused(self) -> None:
        """Close a connection that takes no new calls once its last one has ended."""
        if not self._calls and not self.transport.is_closing():
            self.transport.close()

    # Called by the reading half.

    @property
    def last_stream(self) -> int:
        return 0

    @property
    def max_block_bytes(self) -> int:
        return 2 * self._upstream.header_bytes

    def streams(self) -> Iterable[Http2Call]:
        return self._calls.values()

    def stream(self, number: int) -> Http2Call | None:
        if number >= self._next or not number & 1:
            raise Fault(frames.PROTOCOL_ERROR, f"a frame on stream {number}, which is not open")
        return self._calls.get(number)

    def peer_takes(self, streams: int) -> None:
        self._most = streams
        self._upstream.freed(self)

    def take_block(self, stream: int, block: bytes, ended: bool, data: bytes, at: int) -> int:
        call = self.stream(stream)
        answer = self._reader.known(block)
        if answer is None:
            decoded = self._reader.read(block)
            try:
                answer = _Answer(decoded)
            except Malformed as error:
                raise StreamFault(stream, frames.PROTOCOL_ERROR, str(error)) from None
            self._reader.learn(block, answer)
        if call is None:
            return at
        if call.answered:
            if answer.status or not ended:
                raise StreamFault(stream, frames.PROTOCOL_ERROR, "trailers that are none")
            self._end(call, answer.fields)
        elif answer.status >= 200:
            call.answered = True
            self._pass_on(call, answer.status, answer.fields)
            if ended:
                self._end(call, [])
        elif ended or not answer.status:
            raise StreamFault(stream, frames.PROTOCOL_ERROR, "an answer without a status")
        return at

    def take_data(self, stream: int, payload: bytes, size: int, ended: bool) -> None:
        call = self.stream(stream)
        if call is None:
            return
        if not call.answered:
            raise StreamFault(stream, frames.PROTOCOL_ERROR, "a body before its head")
        call.unread += size
        if call.unread > STREAM_WINDOW:
            raise StreamFault(stream, frames.FLOW_CONTROL_ERROR, "DATA beyond the window")
        if payload and not call.closed:
            try:
                call.receiver.chunk(payload)
            except Exception as error:
                self._not_taken(call, error)
                return
        if ended:
            self._end(call, [])
        elif not call.closed:
            self.credit(call)

    def take_reset(self, stream: int, code: int) -> None:
        call = self.stream(stream)
        if call is None:
            return
        if code == frames.NO_ERROR and call.answered:
            self.forget(call)  # the rest of the request is not wanted; the answer goes on
            call.finished = True
            return
        self._drop(call)
        if code == frames.REFUSED_STREAM:
            call.broken(Unavailable("The upstream server takes no more requests at the moment."), False)
        else:
            call.broken(BadUpstream(_broken(call)), True)

    def take_goaway(self, last_stream: int, code: int) -> None:
        self.leaving = True
        self._upstream.retire(self)
        for number, call in list(self._calls.items()):
            if number > last_stream:
                self._drop(call)
                call.broken(Unavailable("The upstream server is ending."), False)
        self.close_if_unused()

    def stream_failed(self, fault: StreamFault) -> None:
        logger.debug("stream %d ended: %s", fault.stream, fault)
        self.send(frames.rst_stream(fault.stream, fault.code))
        call = self._calls.get(fault.stream)
        if call is not None:
            self._drop(call)
            call.broken(BadUpstream("The upstream server sent a malformed or oversized answer."), True)

    # Inside.

    def _pass_on(self, call: Http2Call, status: int, fields: list[Header]) -> None:
        try:
            if not call.closed:
                call.receiver.head(status, fields)
        except Exception as error:
            self._not_taken(call, error)

    def _end(self, call: Http2Call, trailers: list[Header]) -> None:
        if self._calls.pop(call.id, None) is None:
            return
        self.forget(call)
        if not call.finished:
            self.send(frames.rst_stream(call.id, frames.NO_ERROR))
        try:
            call.ended(trailers)
        finally:
            self._upstream.freed(self)

    def _drop(self, call: Http2Call) -> None:
        if self._calls.pop(call.id, None) is not None:
            self.forget(call)
            self._upstream.freed(self)

    def _not_taken(self, call: Http2Call, error: BaseException) -> None:
        logger.error("a receiver failed", exc_info=error)
        failure: Error = BadUpstream("The answer of the upstream server could not be passed on.")
        self.send(frames.rst_stream(call.id, frames.CANCEL))
        self._drop(call)
        call.broken(failure, True)

    def _check_paces(self) -> None:
        for call in list(self._calls.values()):
            call.check_pace()


def _broken(call: Http2Call) -> str:
    return _BROKEN_OFF if call.answered else "The upstream server closed the connection without an answer."
