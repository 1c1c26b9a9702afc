"""Tests of large bodies on the conditions of graphs, out of the way of all other requests: in a process beside the
gateway, which is started when the first is asked for. They take turns there; a caller that leaves loses its turn.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from colonnade import defaults
from colonnade.gateway import graph_condition_worker as worker
from colonnade.graph.conditions import TOO_LARGE, TOO_MUCH, Choice
from colonnade.graph.execution import Cancel, Hear
from colonnade.graph.gjson import Budget
from colonnade.graph.outcome import Failure

log = logging.getLogger(__name__)

_BUSY = Failure("too many large bodies wait for the conditions of graphs; try again later", 503)
_FAILED = Failure("the process that tests large bodies on conditions could not answer", 500)
_ATTEMPTS = 2  # of a question whose process ended
_COMMAND = (sys.executable, "-m", worker.__name__)


@dataclass(eq=False)
class _Question:
    body: bytes
    paths: Sequence[str]
    budget: Budget
    done: Hear
    left: bool = False


class Conditions:
    """The questions that wait, and the process that answers them."""

    def __init__(self) -> None:
        self._waiting: deque[_Question] = deque()
        self._bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    def test(self, body: bytes, paths: Sequence[str], budget: Budget, done: Hear) -> Cancel:
        """Find out which condition holds first; see `Caller.test`."""
        question = _Question(body, paths, budget, done)
        if len(body) > defaults.GRAPH_CONDITION_BYTES:
            asyncio.get_running_loop().call_soon(_tell, question, TOO_LARGE)
        elif self._bytes + len(body) > defaults.GRAPH_CONDITION_WAITING:
            asyncio.get_running_loop().call_soon(_tell, question, _BUSY)
        else:
            self._waiting.append(question)
            self._bytes += len(body)
            if self._task is None:
                self._task = asyncio.create_task(self._work())

        def leave() -> None:
            question.left = True
            if question in self._waiting:
                self._waiting.remove(question)
                self._bytes -= len(question.body)

        return leave

    def close(self) -> None:
        """End the process, and forget who waits."""
        if self._task is not None:
            self._task.cancel()
        self._waiting.clear()
        self._end()

    async def _work(self) -> None:
        """Answer all that wait."""
        try:
            while self._waiting:
                question = self._waiting.popleft()
                try:
                    _tell(question, await self._found(question))
                finally:
                    self._bytes -= len(question.body)
        finally:
            self._task = None

    async def _found(self, question: _Question) -> Choice | Failure:
        for _ in range(_ATTEMPTS):
            try:
                async with asyncio.timeout(defaults.GRAPH_CONDITION_TIME):
                    reply = await self._asked(question)
            except TimeoutError:
                self._end()
                break
            except Exception as error:  # whatever a pipe to a process that is gone says
                log.warning("the process that tests conditions gave no answer: %r", error)
                self._end()
                continue
            question.budget.left = reply.left
            return TOO_MUCH if reply.tested is None else reply.tested
        return _FAILED

    async def _asked(self, question: _Question) -> worker.Reply:
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                *_COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        source, sink = self._process.stdout, self._process.stdin
        assert source is not None
        assert sink is not None
        sink.write(worker.question(question.body, question.paths, question.budget.left))
        sink.write(question.body)
        await sink.drain()
        return worker.read_reply(await source.readexactly(worker.REPLY_BYTES))

    def _end(self) -> None:
        """Stop the process; one that is in the middle of a question has nothing more to say."""
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.kill()


def _tell(question: _Question, found: Choice | Failure) -> None:
    if question.left:
        return
    try:
        question.done(found)
    except Exception:
        log.exception("a request of a graph failed")
