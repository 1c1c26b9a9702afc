"""One request and its answer, as the application sees them.

An exchange reaches the application as soon as the head is complete, in the very callback that brought the bytes. The
application asks for the body whole (`collect`) or in parts (`stream`) and answers whole (`reply`) or in parts (`start`,
`write`, `finish`), then or later, from the event loop's thread.

How the answer leaves is a subclass's: `http1_exchange`, `http2/stream`, `mux/exchange`. What holds for one in parts is
checked here; a whole one, as most are, costs one call of the subclass and no other.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from colonnade.net.head import BODILESS, Body, Header, Part, ReadyHead
from colonnade.net.head_parse import RequestHead
from colonnade.net.request_body import RequestBody

if TYPE_CHECKING:
    from colonnade.net.server import HttpServer

_ID = b"x-request-id"


class Origin(Protocol):
    """What every exchange asks of where it came from."""

    @property
    def peer(self) -> str | None: ...

    @property
    def secure(self) -> bool: ...

    def guarded(self, callback: Callable[[], object]) -> None: ...


class Exchange(RequestBody):
    """One request and its answer.

    Attributes:
        method: as sent, `b"POST"`.
        path: target before `?`, not decoded; `b"*"` for `OPTIONS *`.
        headers: lower-case name to value; repeated fields are joined by `b", "`. Not to be changed: requests share it.
        trailers: fields behind a chunked body, names in lower case, once it is `received`; without those that would
            change what the head says.
        keep_alive: the connection stays open after this answer.
        started: the head of the answer is written.
        closed: the answer is complete or the client is gone; writing has no effect any more.
        bounded: the transport refuses a body over its limit. An application that bounds the parts of an endless body
            itself may switch this off before it takes the body.
        takes_trailers: trailers go out behind every answer, as gRPC needs it.
    """

    # Defaults live in the class, so that a request pays only for what it uses.
    bounded = True
    takes_trailers = False
    trailers: Sequence[Header] = ()
    _connection: Origin
    _left: int | None = None  # bytes of the answer still due; None if not counted
    _disconnect: tuple[Callable[[], object], ...] = ()
    _pause_writer: Callable[[], None] | None = None
    _resume_writer: Callable[[], None] | None = None
    _waiters: tuple[asyncio.Future[None], ...] = ()  # for the client to catch up

    def __init__(
        self, connection: Origin, head: RequestHead, extra: Header | None = None, body: bytes | None = None
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

    @abstractmethod
    def abort(self) -> None:
        """Cut the answer, and nothing else if the transport can: the honest end of one that cannot go on."""

    # The answer.

    @abstractmethod
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

    def relay(self, head: ReadyHead, identity: bytes, body: Part) -> None:
        """`reply` with a head that many answers share, and the value of its `x-request-id`, empty if it has none. The
        value must be one that came in a request's head, where the parser has checked it."""
        fields = [*head.fields, (_ID, identity)] if identity else head.fields
        self.reply(head.status, body, head.content_type, fields, head.trailers)

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
        self._begin_answer(status, headers, content_type or b"", length)
        self._left = 0 if self.method == b"HEAD" or status in BODILESS else length

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
        if self._left is not None:
            if self.method == b"HEAD":
                return
            size = len(chunk)
            if size > self._left:
                raise ValueError(f"{size} bytes written where {self._left} were left of the announced length")
            self._left -= size
        self._write_part(chunk)

    def finish(self, trailers: Sequence[Header] = ()) -> None:
        """End a started answer. One that is shorter than announced is cut, so that the client knows. `trailers` need an
        answer of unknown length in HTTP/1.1; else they are left out.

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
        else:
            self._end_answer(trailers)

    def upgrade(self, headers: Iterable[Header], make: Callable[[HttpServer], asyncio.Protocol]) -> None:
        """Answer 101 to a request that offers an upgrade, and leave the connection to another protocol, which is a
        `Link`. A body must not have been announced.

        Raises:
            RuntimeError: the answer has started already, or the request did not come over HTTP/1.1.
            ValueError: a header field holds CR, LF or NUL.
        """
        raise RuntimeError("only HTTP/1.1 has upgrades")

    @abstractmethod
    def _begin_answer(self, status: int, headers: Iterable[Header], content_type: bytes, length: int | None) -> None:
        """Send the head of an answer in parts; it has `started` then."""

    @abstractmethod
    def _write_part(self, chunk: bytes) -> None:
        """Send a part of the body, which is not empty and fits the announced length."""

    @abstractmethod
    def _end_answer(self, trailers: Sequence[Header]) -> None:
        """Send the end of an answer that has all its body."""

    # Back-pressure.

    @property
    @abstractmethod
    def slow(self) -> bool:
        """Whether the client reads more slowly than this answer is written."""

    async def drain(self) -> None:
        """Wait while the client reads more slowly than this answer is written. Returns at once when it is gone."""
        if not self.closed and self.slow:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._wait_writable(waiter)
            await waiter

    def on_writable(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Call `pause` when the client reads too slowly and `resume` when it has caught up: `drain` for callbacks."""
        self._hooked = True
        self._pause_writer = pause
        self._resume_writer = resume
        if self.slow and not self.closed:
            pause()

    def writable(self, yes: bool) -> None:
        """Pass on from the connection whether the client keeps up."""
        callback = self._resume_writer if yes else self._pause_writer
        if callback is not None and not self.closed:
            callback()

    def _wait_writable(self, waiter: asyncio.Future[None]) -> None:
        self._waiters = (*self._waiters, waiter)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    # The end.

    def leave(self) -> None:
        """Take from the connection that no answer can be given any more; tells the application once."""
        if self.closed:
            return
        self.closed = True
        callbacks = self._disconnect
        self._forget()
        for callback in callbacks:
            self._connection.guarded(callback)

    def _forget(self) -> None:
        """Drop what refers to the application: closures over this exchange would be a cycle for the collector."""
        self._disconnect = ()
        self._done = self._chunk = self._end = self._pause_writer = self._resume_writer = None
        self._first = self._rest = self._allocate = self._filled = None
        if self._waiters:
            self._wake()


App = Callable[[Exchange], None]
