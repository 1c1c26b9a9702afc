"""Requests that come one after another on one stream, and their answers in the same order.

Each is started as it comes, so requests of one stream share calls of the model like those of many clients. An answer
that is ready before those ahead of it waits for them. What is wrong with one request is said in its place, and the
stream goes on. So many requests, and so many bytes of them, are taken at a time: then nothing more is read until
the first of them has its answer.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from time import monotonic
from typing import Any

from colonnade import defaults
from colonnade.errors import DeadlineExceeded
from colonnade.server import parameters
from colonnade.server.batch import Call
from colonnade.server.call import headers_text
from colonnade.server.execution import Execution, Ticket
from colonnade.server.identity import new_id
from colonnade.server.metrics import Traffic
from colonnade.server.repository import Hosted
from colonnade.wire.tensors import InferRequest, InferResponse


class Turn(Call):
    """One request of a conversation, and its answer.

    Attributes:
        execution: what runs it, once its model is known to serve.
        identity: its id; empty while it has none.
        length: bytes of its message.
        request: as the model gets it, once it is decoded.
        ready: its answer is known, or has begun.
        wants_end: see `parameters.wants_end`.
    """

    __slots__ = (
        "_decode",
        "_error",
        "_filled",
        "_find",
        "_open",
        "_overdue",
        "_result",
        "_talk",
        "_ticket",
        "_traffic",
        "_version",
        "_writing",
        "execution",
        "identity",
        "length",
        "ready",
        "request",
        "wants_end",
    )

    execution: Execution
    request: InferRequest

    def __init__(
        self,
        talk: Conversation,
        find: Callable[[], Hosted],
        version: str | None,
        decode: Callable[[Execution], InferRequest],
        length: int,
        identity: str = "",
    ) -> None:
        """`find` names the model and `decode` makes the request; each raises what is wrong with it."""
        super().__init__(talk.deadline)
        self.length = length
        self.identity = identity
        self.ready = False
        self.wants_end = False
        self._talk = talk
        self._find = find
        self._version = version
        self._decode = decode
        self._traffic: Traffic | None = None
        self._filled: dict[str, str] | None = None
        self._result: Any = None
        self._error: Exception | None = None
        self._ticket: Ticket | None = None
        self._overdue: asyncio.TimerHandle | None = None
        self._writing = False
        self._open = True

    def begin(self) -> None:
        """Start the model on it."""
        talk = self._talk
        try:
            hosted = self._find()
            self._traffic = talk.traffic(hosted)
            self._traffic.begin()
            self.execution = execution = hosted.serving(self._version)
            self.request = request = self._decode(execution)
            self.identity = request.id = request.id or new_id()
            self.wants_end = parameters.wants_end(request)
            self.deadline = parameters.deadline(request, self.deadline)
            if execution.cached is None:
                ticket = execution.start(self, execution.infer, request, self.length)
            else:
                control = talk.headers.get(b"cache-control")
                ticket = execution.cached.start(self, execution.infer, request, self.length, control)
            if self._open and ticket is not self:  # or it would be a cycle, which only the collector frees
                self._ticket = ticket
            if self._open and self.deadline is not None and self.deadline != talk.deadline:
                self._overdue = asyncio.get_running_loop().call_later(self.deadline - monotonic(), self._late)
        except Exception as error:
            self.settle(None, error)

    @property
    def request_headers(self) -> Mapping[str, str]:
        return headers_text(self._talk.headers) if self.execution.takes_headers else {}

    @property
    def response_headers(self) -> dict[str, str]:
        if self._filled is None:
            self._filled = {}  # a stream has no place for the headers of one answer
        return self._filled

    def settle(self, result: Any, error: Exception | None) -> None:
        if self._open and not self.ready:
            self._result, self._error = result, error
            self.ready = True
            self._talk.advance()

    def answer(self) -> bool:
        """Say the answer, which is ready; False if its parts are still to come."""
        if self._writing:
            return False
        error, result = self._error, self._result
        self._result = None
        if error is None and isinstance(result, AsyncGenerator):
            self._writing = True
            self._ticket = self.execution.own(self._in_parts(result))
            return False
        try:
            if error is not None:
                raise error
            self._talk.tell(self, result, None)
        except Exception as failure:
            self._close(self._talk.tell_error(self, failure))
        else:
            self._close(self._talk.ok)
        return True

    def leave(self) -> None:
        """Nobody listens any more."""
        ticket = self._ticket or self
        self._close(self._talk.left)
        ticket.cancel()

    async def _in_parts(self, parts: AsyncGenerator[InferResponse, None]) -> None:
        talk = self._talk
        code = talk.ok
        try:
            async with aclosing(parts):
                async for part in parts:
                    talk.tell(self, part, False)
                    await talk.drain()
            talk.tell_end(self)
        except Exception as error:
            code = talk.tell_error(self, error)
        self._close(code)
        talk.said(self)

    def _late(self) -> None:
        """Its own deadline has passed: its answer is that, and its place is free."""
        self._overdue = None
        ticket = self._ticket or self
        error = DeadlineExceeded("The request's deadline passed before its answer was complete.")
        if not self._writing:
            self.settle(None, error)
            ticket.cancel()
            return
        ticket.cancel()
        self._close(self._talk.tell_error(self, error))
        self._talk.said(self)

    def _close(self, code: int | str) -> None:
        """Count it as done."""
        if self._open:
            self._open = False
            self._ticket = None
            if self._overdue is not None:
                self._overdue.cancel()
                self._overdue = None
            if self._traffic is not None:
                self._traffic.end(code)


class Conversation(ABC):
    """A stream of requests. What carries it is a subclass, which calls `ask` with each, `end` behind the last one, and
    `leave` if its caller has gone.

    Attributes:
        ok: the code that a good answer is counted with.
        left: the code for one whose caller left.
        headers: of the call that opened the stream.
        deadline: when nobody waits for any answer any more (monotonic seconds); None: never.
        open: answers are still to be said.
        slow: the caller reads more slowly than it is answered.
    """

    ok: int | str
    left: int | str

    def __init__(self, headers: Mapping[bytes, bytes], deadline: float | None) -> None:
        self.headers = headers
        self.deadline = deadline
        self.open = True
        self.slow = False
        self._turns: deque[Turn] = deque()  # that have begun
        self._waiting: deque[Turn] = deque()  # that have not: what was on its way when reading was stopped
        self._size = 0
        self._looking = False
        self._held = False
        self._ending = False

    @abstractmethod
    def traffic(self, hosted: Hosted) -> Traffic:
        """What counts the requests of a model."""

    @abstractmethod
    def tell(self, turn: Turn, response: InferResponse, last: bool | None) -> None:
        """Say an answer, or a part of one (`last` is False).

        Raises:
            Exception: it cannot be said.
        """

    @abstractmethod
    def tell_end(self, turn: Turn) -> None:
        """An answer in parts is complete."""

    @abstractmethod
    def tell_error(self, turn: Turn, error: Exception) -> int | str:
        """Say that there is no answer, or no more of it. Returns the code to count it with."""

    @abstractmethod
    async def drain(self) -> None:
        """Wait while the caller reads too slowly."""

    @abstractmethod
    def hold(self, yes: bool) -> None:
        """Read no more requests for now, or go on."""

    @abstractmethod
    def ended(self) -> None:
        """No more requests come, and all have their answers."""

    def ask(self, turn: Turn) -> None:
        """Take a request."""
        if self.open and not self._ending:
            self._waiting.append(turn)
            self._look()

    def end(self) -> None:
        """No more requests come."""
        self._ending = True
        self._look()

    def stop(self) -> None:
        """Take no more requests, but answer those that have begun."""
        self._waiting.clear()
        self.end()

    def leave(self) -> None:
        """The caller is gone."""
        self.open = False
        self._waiting.clear()
        turns, self._turns = self._turns, deque()
        for turn in turns:
            turn.leave()

    def keeps_up(self, yes: bool) -> None:
        """Whether the caller reads what it is answered."""
        self.slow = not yes
        self._look()

    # Called by turns.

    def advance(self) -> None:
        """Say what is ready and not behind anything that is not."""
        while self._turns and (turn := self._turns[0]).ready and turn.answer():
            self._drop(turn)
        self._look()

    def said(self, turn: Turn) -> None:
        """All parts of this answer were said, or it was broken off."""
        self._drop(turn)
        self.advance()

    def _drop(self, turn: Turn) -> None:
        if self._turns and self._turns[0] is turn:  # else its caller has left meanwhile
            self._turns.popleft()
            self._size -= turn.length

    def _look(self) -> None:
        """Begin what there is room for, or see that all is over."""
        if self._looking:  # a turn that ends as it begins comes back here, and must not begin the next one inside
            return
        self._looking = True
        while self._waiting and not self._full:
            turn = self._waiting.popleft()
            self._turns.append(turn)
            self._size += turn.length
            turn.begin()
        self._looking = False
        if not self.open:
            return
        if self._ending and not self._turns and not self._waiting:
            self.open = False
            self.ended()
        elif self._held != self._full:
            self._held = self._full
            self.hold(self._held)

    @property
    def _full(self) -> bool:
        return self.slow or len(self._turns) >= defaults.STREAM_REQUESTS or self._size > defaults.STREAM_BYTES
