"""Processes that have imported what replicas need, and fork them: most of a cold start is over before it begins.

A pool never stands in the way of a start. Where there is no seed, or it does not answer, or answers that it cannot, the
replica is started as a program, and nobody waits. A seed is planted when a replica that one could have forked has
become ready, so that the next start is quick, and what was planted is written down, so that it is after a restart, too.
The least recently used seed without children makes room for another.

A fork is a child of its seed, which keeps its id until we ask how it ended. So an end is seen as that of our own
children is, through a pidfd, and nobody else can get the id while we look. When a seed dies, what it forked runs on as
what was adopted does: only the exit code is lost.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import msgspec

from colonnade import defaults, errors
from colonnade.net import forking
from colonnade.net.forking import Answer, Fork, Forked, Question, Ready, Reap, Reaped, Refused
from colonnade.platforms import process
from colonnade.platforms.base import Seed
from colonnade.platforms.process import Process, marks
from colonnade.security import files

log = logging.getLogger(__name__)

OUTPUT = "seeds.log"
PLANTED = "seeds.json"
FORK_TIMEOUT = 2.0  # seconds until a replica is started as a program instead
REAP_TIMEOUT = 2.0  # seconds until nobody knows how it ended
SETTLE = 2.0  # seconds from the readiness of a replica to the imports of a seed: its first requests come first
LIVED = 60.0  # a seed that lived for so long died of something else than its imports
DEATHS = 5  # of younger ones in a row; then it is not planted again

_seeds = msgspec.json.Decoder(list[Seed])


class SeedLost(Exception):
    """A seed did not do what it was asked for, and is no more."""


class ForkedChild:
    """A `process.Child` that a seed made."""

    def __init__(self, pid: int, seed: _Planted) -> None:
        self.pid = pid
        self._seed = seed

    def kill(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # its seed died, too
            pass

    def reap(self, told: Callable[[int | None], None]) -> None:
        self._seed.reap(self.pid, told)


class Standing(NamedTuple):
    """A seed that runs: what it has imported, whether it can fork yet, and how many replicas it has forked that run."""

    name: str
    ready: bool
    children: int


@dataclass(slots=True, eq=False)
class _Planted:
    """A seed that runs.

    Attributes:
        run: its mark.
        end: our end of its socket.
        ready: it has said that it can fork.
        used: when it was wanted last.
        lost: it is no more, or will not be soon.
        children: what it forked and has not reaped.
        waiting: those who asked it, in the order of the answers to come.
    """

    seed: Seed
    run: str
    end: socket.socket
    process: Process | None = None
    ready: bool = False
    used: float = field(default_factory=time.monotonic)
    begun: float = field(default_factory=time.monotonic)
    lost: bool = False
    children: set[int] = field(default_factory=set)
    waiting: deque[Callable[[Answer | None], None]] = field(default_factory=deque)

    def ask(self, question: Question, told: Callable[[Answer | None], None], descriptors: Iterable[int] = ()) -> None:
        """Have `told` called with the answer, or with None when the seed is lost.

        Raises:
            OSError: it is gone, does not listen, or the question is too long.
        """
        forking.send(self.end, question, list(descriptors))
        self.waiting.append(told)

    def reap(self, pid: int, told: Callable[[int | None], None]) -> None:
        """See `process.Child.reap`."""
        answered: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def answer(found: Answer | None) -> None:
            if not answered.done():
                answered.set_result(found)
                told(found.code if isinstance(found, Reaped) else None)

        self.children.discard(pid)
        try:
            if self.lost:
                raise BrokenPipeError
            self.ask(Reap(pid), answer)
        except OSError:
            answer(None)
        else:
            asyncio.get_running_loop().call_later(REAP_TIMEOUT, answer, None)


class Pool:
    """The seeds of one platform. Belongs to one event loop.

    Args:
        mark: the state directory, by which processes are found again.
        folder: where it is; keeps what was planted and what seeds print.
        limit: seeds at one time.
    """

    def __init__(self, mark: str, folder: Path, limit: int = defaults.POOL_SEEDS) -> None:
        self._mark = mark
        self._folder = folder
        self._limit = limit
        self._planted: dict[bytes, _Planted] = {}
        self._deaths: dict[bytes, int] = {}
        self._unfit: set[bytes] = set()
        self._timers: set[asyncio.TimerHandle] = set()
        self._ending: set[asyncio.Event] = set()
        self._closed = False

    def open(self) -> None:
        """Plant what was planted when the last platform ran."""
        try:
            known = _seeds.decode((self._folder / PLANTED).read_bytes())
        except (OSError, msgspec.DecodeError):
            return
        for seed in known[: self._limit]:
            self._plant(seed)

    async def close(self) -> None:
        """End all seeds; what they forked runs on, and counts as adopted."""
        self._closed = True
        for timer in self._timers:
            timer.cancel()
        for planted in list(self._planted.values()):
            self._drop(planted)
        await asyncio.gather(*(ended.wait() for ended in self._ending))

    def want(self, seed: Seed, delay: float | None = None) -> None:
        """A replica was started that this seed can fork, so another may be: have it soon, and keep it longest."""
        found = self._planted.get(seed.key)
        if found is not None:
            found.used = time.monotonic()
        elif not self._closed:
            self._later(SETTLE if delay is None else delay, seed)

    def standing(self) -> list[Standing]:
        """The seeds that run."""
        return [Standing(each.seed.argv[-1], each.ready, len(each.children)) for each in self._planted.values()]

    def ready(self, seed: Seed) -> bool:
        """Whether it can fork now."""
        found = self._planted.get(seed.key)
        return found is not None and found.ready

    async def fork(
        self, seed: Seed, argv: tuple[str, ...], env: Mapping[str, str], cwd: Path, output: Path
    ) -> ForkedChild | None:
        """A process as `process.spawn` starts it, or None if it is to be started so."""
        found = self._planted.get(seed.key)
        if found is None or not found.ready:
            return None
        found.used = time.monotonic()
        run = env[process.RUN_VARIABLE]
        shown = marks(self._mark, run) | dict(env)
        told: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

        def answered(answer: Answer | None) -> None:
            if not told.done():
                told.set_result(answer)

        log_file = process.open_output(output)
        try:
            found.ask(Fork(argv, shown, str(cwd)), answered, (log_file,))
            answer = await asyncio.wait_for(told, FORK_TIMEOUT)
            if isinstance(answer, Forked):
                found.children.add(answer.pid)
                return ForkedChild(answer.pid, found)
            if isinstance(answer, Refused):
                log.warning("a seed refused to fork", extra={"seed": seed.argv[-1], "reason": answer.reason})
                return None
            raise SeedLost
        except BaseException as error:
            if isinstance(error, OSError) and error.errno == errno.EMSGSIZE:
                return None  # so long a command line, or so many variables
            self._lost(found)  # it may have forked, and nobody would know the process
            process.kill([*process.of_run(self._mark, found.run), *process.of_run(self._mark, run)])
            if not isinstance(error, (TimeoutError, OSError, SeedLost)):
                raise
            log.warning("a seed did not fork", extra={"seed": seed.argv[-1], "error": repr(error)})
            return None
        finally:
            os.close(log_file)

    def _later(self, delay: float, seed: Seed) -> None:
        def plant() -> None:
            self._timers.discard(timer)
            self._plant(seed)

        timer = asyncio.get_running_loop().call_later(delay, plant)
        self._timers.add(timer)

    def _plant(self, seed: Seed) -> None:
        if self._closed or seed.key in self._planted or seed.key in self._unfit:
            return
        if len(self._planted) >= self._limit:
            idle = [each for each in self._planted.values() if not each.children]
            if not idle:
                return
            self._drop(min(idle, key=lambda each: each.used))
        ours, theirs = forking.pair()
        run = os.urandom(8).hex()
        env = marks(self._mark, run) | process.environment(os.environ, seed.env | forking.variables())
        try:
            with theirs:
                child = process.spawn(
                    forking.command(seed.argv, theirs.fileno()),
                    env=env,
                    cwd=self._folder,
                    output=self._folder / OUTPUT,
                    pass_fds=(theirs.fileno(),),
                )
        except (OSError, errors.LoadFailed) as error:
            ours.close()
            self._unfit.add(seed.key)
            log.warning("a seed could not be started", extra={"seed": seed.argv[-1], "error": str(error)})
            return
        ours.setblocking(False)
        planted = _Planted(seed, run, ours)
        planted.process = Process.of_child(child, lambda: self._ended(planted))
        self._planted[seed.key] = planted
        asyncio.get_running_loop().add_reader(ours.fileno(), self._heard, planted)
        self._write_down()

    def _heard(self, planted: _Planted) -> None:
        try:
            answer = forking.answer(planted.end)
        except BlockingIOError:
            return
        except (OSError, msgspec.DecodeError):
            answer = None
        if answer is None:
            self._lost(planted)
        elif isinstance(answer, Ready):
            self._grown(planted, answer)
        elif planted.waiting:
            planted.waiting.popleft()(answer)

    def _grown(self, planted: _Planted, ready: Ready) -> None:
        adapter = planted.seed.argv[-1]
        if ready.trouble:
            log.warning("replicas cannot be forked", extra={"seed": adapter, "reason": ready.trouble})
            self._unfit.add(planted.seed.key)
            self._drop(planted)
            return
        planted.ready = True
        assert planted.process is not None
        memory = process.memory(planted.process.pid)
        log.info("a seed is ready", extra={"seed": adapter, "seconds": ready.seconds, "memory": memory})

    def _ended(self, planted: _Planted) -> None:
        self._lost(planted)
        if planted.process is not None:
            self._ending.discard(planted.process.ended)

    def _lost(self, planted: _Planted) -> None:
        """A seed died, or shall because it does not what it is asked for."""
        if not planted.lost:
            self._drop(planted)
            self._again(planted)

    def _again(self, planted: _Planted) -> None:
        """Plant a seed again that died: later and later if that is all it does."""
        seed = planted.seed
        lived = time.monotonic() - planted.begun >= LIVED
        deaths = self._deaths[seed.key] = 1 if lived else self._deaths.get(seed.key, 0) + 1
        if deaths >= DEATHS:
            self._unfit.add(seed.key)
            log.error("a seed dies again and again; see its output", extra={"seed": seed.argv[-1], "output": OUTPUT})
        elif not self._closed:
            delay = defaults.BACKOFF_FIRST * 2**deaths
            log.warning("a seed died", extra={"seed": seed.argv[-1], "retry_in": delay})
            self._later(delay, seed)

    def _drop(self, planted: _Planted) -> None:
        """End a seed, and tell those who wait for it."""
        if planted.lost:
            return
        planted.lost = True
        planted.ready = False
        if self._planted.get(planted.seed.key) is planted:
            del self._planted[planted.seed.key]
        asyncio.get_running_loop().remove_reader(planted.end.fileno())
        planted.end.close()
        if planted.process is not None:
            self._ending.add(planted.process.ended)
            planted.process.send(signal.SIGKILL)
        while planted.waiting:
            planted.waiting.popleft()(None)
        if not self._closed:
            self._write_down()

    def _write_down(self) -> None:
        """For the next platform. Mode 0600: variables may be secrets."""
        try:
            known = sorted(self._planted.values(), key=lambda each: each.used, reverse=True)
            files.write(self._folder / PLANTED, msgspec.json.encode([each.seed for each in known]))
        except OSError as error:
            log.error("what was planted could not be written down", extra={"error": str(error)})
