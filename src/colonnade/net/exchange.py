"""One request and its answer, as the application sees them.

An exchange reaches the application as soon as the head is complete, in the very callback that brought the bytes. The
application asks for the body whole (`collect`) or in parts (`stream`) and answers whole (`reply`) or in parts (`start`,
`write`, `finish`), then or later, from the event loop's thread. A connection has one exchange with the application at a
time; pipelined ones wait, so answers go out in order.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from colonnade.net.buffers import LARGE, take
from colonnade.net.head import (
    BODILESS,
    CHUNKED,
    CLOSE,
    CONTINUE,
    KEEP_ALIVE,
    Body,
    Header,
    Part,
    ReadyHead,
    field_lines,
)
from colonnade.net.head_parse import RequestHead

if TYPE_CHECKING:
    from colonnade.net.connection import Connection
    from colonnade.net.server import HttpServer

_ID = b"x-request-id"
_SMALL_PART = 4096  # parts below this are merged, so that a body of tiny chunks costs no object per chunk
_HELD_BYTES = 64 << 10  # what is kept of a body that nobody has asked for yet
_JOIN_BELOW = 64 << 10  # up to here one joined write is cheaper than two buffers


class Exchange:
    """One request and its answer.

    Attributes:
        method: as sent, `b"POST"`.
        path: target before `?`, not decoded; `b"*"` for `OPTIONS *`.
        headers: lower-case name to value; repeated fields are joined by `b", "`. Not to be changed: requests share it.
        length: announced length of the request's body; None for a chunked one.
        trailers: fields behind a chunked body, names in lower case, once it is `received`; without those that would
            change what the head says.
        keep_alive: the connection stays open after this answer.
        closed: the answer is complete or the client is gone; writing has no effect any more.
        bounded: the transport refuses a body over its limit. An application that bounds the parts of an endless body
            itself may switch this off before it takes the body.
        takes_trailers: trailers go out behind every answer, as gRPC needs it.
    """

    # Defaults live in the class, so that a request pays only for what it uses.
    closed = False
    bounded = True
    takes_trailers = False
    started = False  # the head of the answer is written
    received = False  # the body is complete
    trailers: Sequence[Header] = ()
    size = 0  # bytes of the body that came so far
    size_before = 0  # of them, those that came before the connection's clock began to count the body's rate
    _first: bytes | None = None  # of the body, while nobody has taken it
    _rest: list[bytes | bytearray] | None = None
    _done: Callable[[Any], None] | None = None
    _allocate: Callable[[int], memoryview] | None = None
    _filled: memoryview | None = None  # the body, if it is received in a buffer of its own
    pooled = False  # that is one of `buffers`
    aligned = 0  # offset in it that is aligned
    _chunk: Callable[[bytes], None] | None = None
    _end: Callable[[], None] | None = None
    _expects = False  # the client waits for 100 before it sends the body
    _hooked = False  # the application left callbacks to forget
    _chunked = False
    _left: int | None = None  # bytes of the answer still due; None if not counted
    _disconnect: tuple[Callable[[], object], ...] = ()
    _pause_writer: Callable[[], None] | None = None
    _resume_writer: Callable[[], None] | None = None

    def __init__(
        self, connection: Connection, head: RequestHead, extra: Header | None = None, body: bytes | None = None
    ) -> None:
        """`extra`: a field behind those of `head`, which requests may share. `body`: all of it, if it has come."""
        self._connection = connection
        self._head = head
        self._extra = extra
        self.method = head.method
        self.path = head.path
        self.headers = head.headers if extra is None else {**head.headers, extra[0]: extra[1]}
        self.keep_alive = head.keep_alive
        self.length = head.length
        if body is not None:
            self._first = body
            self.size = head.length or 0
            self.received = True
        elif head.expects:
            self._expects = True

    @property
    def head(self) -> RequestHead:
        """The head, which requests may share."""
        return self._head

    @property
    def target(self) -> bytes:
        """As sent: path and query, or the absolute form."""
        return self._head.target

    @property
    def query(self) -> bytes:
        """The target after `?`, not decoded."""
        return self._head.query

    @property
    def raw_headers(self) -> Sequence[Header]:
        """Header fields in order, names in lower case."""
        return self._head.fields if self._extra is None else [*self._head.fields, self._extra]

    # The connection.

    @property
    def peer(self) -> str | None:
        """Address of the client without its port; None on a Unix socket."""
        return self._connection.peer

    @property
    def secure(self) -> bool:
        """Whether the connection is encrypted."""
        return self._connection.secure

    @property
    def memo(self) -> Any:
        """What the application has made of this request's head alone; None at first. It is kept as long as the head is
        remembered and comes back with requests that have the same head, also on other connections. An `X-Request-ID`
        at the end does not count as part of the head."""
        return self._head.memo

    @memo.setter
    def memo(self, made: Any) -> None:
        self._head.memo = made

    def on_disconnect(self, callback: Callable[[], object]) -> None:
        """Call back once if the client leaves, or the transport refuses its body, before the answer is complete."""
        if not self.closed:
            self._disconnect = (*self._disconnect, callback)

    def abort(self) -> None:
        """Cut the connection: the honest end of an answer that has started and cannot go on."""
        self._connection.abort()

    # The request's body.

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

    def missing(self) -> memoryview | None:
        """For the connection: what is still to be filled of a buffer that this exchange takes its body in; None if it
        takes it otherwise."""
        length = self.length
        if not (self.pooled or self._allocate) or length is None or length - self.size < LARGE or self.closed:
            return None
        view = take(length, self.aligned) if self._allocate is None else self._allocate(length)
        view[: self.size] = self._take()
        self._filled = view
        return view[self.size :]

    def fill(self, body: memoryview, size: int) -> bool:
        """For the connection: take the body in a buffer that it has, so many bytes of which have come; False if this
        exchange takes it otherwise."""
        if not self.pooled or self.closed:
            return False
        self.size = size
        self._filled = body
        return True

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

    def pause(self) -> None:
        """Read no more of the body from the socket; parts that were read already may still come."""
        if not self.received:
            self._connection.hold_body(True)

    def resume(self) -> None:
        """Take back `pause`."""
        self._connection.hold_body(False)

    def _wanted(self) -> None:
        if self._expects:
            self._expects = False
            if not self.size and not self.started:
                self._continue()
        self.resume()

    def _continue(self) -> None:
        self._connection.send(CONTINUE)

    def _take(self) -> bytes:
        first, rest = self._first, self._rest
        self._first = self._rest = None
        if rest is None:
            return first or b""
        rest.insert(0, first or b"")
        return b"".join(rest)

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

    # The answer.

    def reply(
        self,
        status: int,
        body: Body = b"",
        content_type: bytes = b"application/json",
        headers: Iterable[Header] = (),
        trailers: Sequence[Header] = (),
    ) -> None:
        """Answer whole, in one write. Parts of `body` are sent one after the other; `content_type` empty sends none.

        Framing, `connection` and `date` are the transport's own: such fields in `headers` are left out. `trailers` go
        out where the protocol has them behind a whole answer: not in HTTP/1.1.

        Raises:
            RuntimeError: the answer has started already.
            ValueError: a header field holds CR, LF or NUL.
        """
        if self.closed:
            return
        if self.started:
            raise RuntimeError("the answer has started already")
        connection = self._connection
        if (
            status == 200
            and type(body) is bytes
            and len(body) < _JOIN_BELOW
            and self.keep_alive
            and self.received
            and not (connection.closing_soon or self._head.http10)
            and self.method != b"HEAD"
        ):
            self.started = self.closed = True
            extra = field_lines(headers) if headers else b""
            prefix = connection.heads.prefix(200, content_type)
            connection.send(b"%bcontent-length: %d\r\n%b\r\n%b" % (prefix, len(body), extra, body))
            self._disconnect = ()
            if self._hooked:
                self._forget()
            connection.answered(self)
            return
        parts: Sequence[Part] = body if isinstance(body, (list, tuple)) else (body,)
        size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        if not self.received and (self._expects or connection.discards_too_much(self)):
            self.keep_alive = False
        extra = field_lines(headers) if headers else b""
        if self._head.http10 or not self.keep_alive or connection.closing_soon:
            extra += self._connection_field()
        self.started = True
        empty = status in BODILESS
        prefix = connection.heads.prefix(status, b"" if empty else content_type)
        if empty:
            connection.send(b"%b%b\r\n" % (prefix, extra))
        elif self.method == b"HEAD":
            connection.send(b"%bcontent-length: %d\r\n%b\r\n" % (prefix, size, extra))
        elif len(parts) == 1 and size < _JOIN_BELOW:
            connection.send(b"%bcontent-length: %d\r\n%b\r\n%b" % (prefix, size, extra, bytes(parts[0])))
        else:
            connection.send_all([b"%bcontent-length: %d\r\n%b\r\n" % (prefix, size, extra), *parts])
        self.closed = True
        self._disconnect = ()
        if self._hooked or not self.received:
            self._forget()
        connection.answered(self)

    def relay(self, head: ReadyHead, identity: bytes, body: Part) -> None:
        """`reply` with a head that many answers share, and the value of its `x-request-id`, empty if it has none. The
        value must be one that came in a request's head, where the parser has checked it."""
        connection = self._connection
        if (
            not (self.received and self.keep_alive and identity and head.plain)
            or self.started
            or connection.closing_soon
            or self._head.http10
            or self.method == b"HEAD"
            or type(body) is not bytes
            or len(body) >= _JOIN_BELOW
        ):
            fields = [*head.fields, (_ID, identity)] if identity else head.fields
            self.reply(head.status, body, head.content_type, fields, head.trailers)
            return
        if self.closed:
            return
        self.started = self.closed = True
        connection.send(
            b"%bcontent-length: %d\r\n%bx-request-id: %b\r\n\r\n%b"
            % (connection.heads.prefix(head.status, head.content_type), len(body), head.lines, identity, body)
        )
        self._disconnect = ()
        if self._hooked:
            self._forget()
        connection.answered(self)

    def start(
        self,
        status: int,
        headers: Iterable[Header] = (),
        content_type: bytes | None = None,
        length: int | None = None,
    ) -> None:
        """Start an answer in parts: chunked, or of exactly `length` bytes. To HTTP/1.0 an answer of unknown length ends
        with the connection. An answer to HEAD may name the length and gets no body.

        Raises:
            RuntimeError: the answer has started already.
            ValueError: a header field holds CR, LF or NUL.
        """
        if self.closed:
            return
        if self.started:
            raise RuntimeError("the answer has started already")
        connection = self._connection
        silent = status in BODILESS or self.method == b"HEAD"
        if length is not None:
            framing = b"" if status in BODILESS else b"content-length: %d\r\n" % length
            self._left = 0 if silent else length
        elif silent:
            framing = b""
            self._left = 0
        elif self._head.http10:
            framing = b""
            self.keep_alive = False
        else:
            framing = CHUNKED
            self._chunked = True
        if self._expects:
            self.keep_alive = False
        extra = field_lines(headers)
        self.started = True
        connection.send(
            b"%b%b%b%b\r\n"
            % (connection.heads.prefix(status, content_type or b""), framing, extra, self._connection_field())
        )

    def write(self, chunk: bytes) -> None:
        """Send a part of a started answer. Nothing is sent to HEAD.

        Raises:
            RuntimeError: the answer has not started.
            ValueError: the part goes beyond the length given to `start`.
        """
        if self.closed or not chunk:
            return
        if not self.started:
            raise RuntimeError("the answer has not started")
        size = len(chunk)
        if self._chunked:
            if size < _JOIN_BELOW:
                self._connection.send(b"%x\r\n%b\r\n" % (size, chunk))
            else:
                self._connection.send_all([b"%x\r\n" % size, chunk, b"\r\n"])
            return
        if self._left is not None:
            if self.method == b"HEAD":
                return
            if size > self._left:
                raise ValueError(f"{size} bytes written where {self._left} were left of the announced length")
            self._left -= size
        self._connection.send(chunk)

    def finish(self, trailers: Sequence[Header] = ()) -> None:
        """End a started answer. One that is shorter than announced cuts the connection, so that the client knows.
        `trailers` need an answer of unknown length in HTTP/1.1; else they are left out.

        Raises:
            RuntimeError: the answer has not started.
            ValueError: a trailer field holds CR, LF or NUL.
        """
        if self.closed:
            return
        if not self.started:
            raise RuntimeError("the answer has not started")
        if self._left:
            self.abort()
            return
        if self._chunked:
            self._connection.send(b"0\r\n%b\r\n" % (field_lines(trailers) if trailers else b""))
        self._complete()

    def upgrade(self, headers: Iterable[Header], make: Callable[[HttpServer], asyncio.Protocol]) -> None:
        """Answer 101 to a request that offers an upgrade, and leave the connection to another protocol, which is a
        `Link`. Only HTTP/1.1 has that; a body must not have been announced.

        Raises:
            RuntimeError: the answer has started already.
            ValueError: a header field holds CR, LF or NUL.
        """
        if self.closed:
            return
        if self.started:
            raise RuntimeError("the answer has started already")
        lines = field_lines(headers)
        self.started = self.closed = True
        self._forget()
        connection = self._connection
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\n%b\r\n" % lines)
        connection.hand_over(self, make)

    async def drain(self) -> None:
        """Wait while the client reads more slowly than this answer is written. Returns at once when it is gone."""
        if not self.closed and self._connection.writing_paused:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._connection.wait_writable(waiter)
            await waiter

    def on_writable(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Call `pause` when the client reads too slowly and `resume` when it has caught up: `drain` for callbacks."""
        self._hooked = True
        self._pause_writer = pause
        self._resume_writer = resume
        if self._connection.writing_paused and not self.closed:
            pause()

    def writable(self, yes: bool) -> None:
        """Pass on from the connection whether the client keeps up."""
        callback = self._resume_writer if yes else self._pause_writer
        if callback is not None and not self.closed:
            callback()

    def leave(self) -> None:
        """Take from the connection that no answer can be given any more; tells the application once."""
        if self.closed:
            return
        self.closed = True
        callbacks = self._disconnect
        self._forget()
        for callback in callbacks:
            self._connection.guarded(callback)

    def _connection_field(self) -> bytes:
        if not self.keep_alive or self._connection.closing_soon:
            self.keep_alive = False
            return CLOSE
        return KEEP_ALIVE if self._head.http10 else b""

    def _complete(self) -> None:
        self.closed = True
        self._forget()
        self._connection.answered(self)

    def _forget(self) -> None:
        """Drop what refers to the application: closures over this exchange would be a cycle for the collector."""
        self._disconnect = ()
        self._done = self._chunk = self._end = self._pause_writer = self._resume_writer = None
        self._first = self._rest = self._allocate = self._filled = None


App = Callable[[Exchange], None]
