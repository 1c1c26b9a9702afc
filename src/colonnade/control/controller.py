"""The loop of a reconciler: take a key, compare, act, come back later if that failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from colonnade import errors
from colonnade.control.workqueue import Key, WorkQueue

log = logging.getLogger(__name__)

RESYNC_PERIOD = 60.0

Reconcile = Callable[[Key], Awaitable[float | None]]
"""Makes the world as the object of this key wants it; idempotent. Returns seconds until the next look, or None."""


class Controller:
    """Runs `reconcile` for keys, several keys at a time, each key one at a time."""

    def __init__(self, name: str, reconcile: Reconcile, *, concurrency: int = 1) -> None:
        self.name = name
        self._reconcile = reconcile
        self._concurrency = concurrency
        self._queue = WorkQueue()

    def look(self, key: Key, delay: float = 0.0) -> None:
        """Ask for a look at `key`."""
        self._queue.add(key, delay)

    @property
    def idle(self) -> bool:
        """Nothing to do right now."""
        return self._queue.idle

    async def run(self, keys: Callable[[], Iterable[Key]]) -> None:
        """Work until cancelled. `keys` lists all there is: looked at now and then, in case a notice was lost."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency):
                    group.create_task(self._work())
                for key in keys():
                    self.look(key)
                while True:
                    await asyncio.sleep(RESYNC_PERIOD)
                    known = list(keys())
                    for place, key in enumerate(known):  # spread, so that nobody waits behind a thousand of them
                        self.look(key, RESYNC_PERIOD * place / len(known))
        finally:
            self._queue.close()

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            try:
                again = await self._reconcile(key)
            except errors.Conflict:  # somebody wrote meanwhile; what is wanted may have changed
                self._queue.retry(key)
            except Exception:
                delay = self._queue.retry(key)
                log.exception("reconciling failed", extra={"controller": self.name, "key": str(key), "retry_in": delay})
            else:
                self._queue.done(key, again)
