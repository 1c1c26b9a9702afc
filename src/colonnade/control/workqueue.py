"""A queue of keys: what has to be looked at, not what happened.

Reconcilers are level-triggered: a key says "compare what is wanted with what is". So a key is queued at most once, one
key is never worked on twice at the same time, a key that changes while it is worked on is looked at again, and one that
fails comes back later and later. Losing or repeating a notice is then harmless.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

from colonnade import defaults


class Key(NamedTuple):
    """An object of the kind that a controller looks after."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def backoff(failures: int, first: float = defaults.BACKOFF_FIRST, last: float = defaults.BACKOFF_MAX) -> float:
    """Seconds to wait after the given number of failures in a row (1 or more): doubling, up to `last`."""
    return float(min(first * 2.0 ** min(failures - 1, 32), last))


class WorkQueue:
    """Keys to work on. Belongs to one event loop; `add` is to be called in it."""

    def __init__(self) -> None:
        self._ready: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._later: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._wake = asyncio.Event()

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Look at `key`, after `delay` seconds. The earliest of several wishes counts."""
        if delay <= 0.0:
            self._now(key)
            return
        if key in self._queued:
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + delay
        earlier = self._later.get(key)
        if earlier is not None:
            if earlier.when() <= due:
                return
            earlier.cancel()
        self._later[key] = loop.call_at(due, self._now, key)

    async def take(self) -> Key:
        """The next key; `done`, `retry` or `again` must follow."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        self._queued.discard(key)
        self._running.add(key)
        return key

    def done(self, key: Key, again: float | None = None) -> None:
        """The work on `key` succeeded; look again after `again` seconds, or when it changes."""
        self._failures.pop(key, None)
        self._release(key, again)

    def retry(self, key: Key) -> float:
        """The work on `key` failed: look again after a growing delay, which is returned."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = backoff(failures)
        self._release(key, delay)
        return delay

    def failures(self, key: Key) -> int:
        """How often the work on `key` has failed since it last succeeded."""
        return self._failures.get(key, 0)

    @property
    def idle(self) -> bool:
        """Nothing is queued for now and nothing is worked on."""
        return not self._ready and not self._running

    def close(self) -> None:
        """Drop all wishes for later."""
        for handle in self._later.values():
            handle.cancel()
        self._later.clear()

    def _release(self, key: Key, again: float | None) -> None:
        self._running.discard(key)
        if key in self._again:
            self._again.discard(key)
            self._now(key)
        elif again is not None:
            self.add(key, again)

    def _now(self, key: Key) -> None:
        later = self._later.pop(key, None)
        if later is not None:
            later.cancel()
        if key in self._running:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake.set()
