"""The loop of a reconciler: take a key, compare, act, come back later if that failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

from colonnade import errors
from colonnade.control.workqueue import Key, WorkQueue

log = logging.getLogger(__name__)

RESYNC_PERIOD = 60.0
TOLD_AFTER = 3  # failures in a row of one key, from which on they are told where its user looks

Reconcile = Callable[[Key], Awaitable[float | None]]
"""Makes the world as the object of this key wants it; idempotent. Returns seconds until the next look, or None."""

Tell = Callable[[Key, Exception], None]
"""Says where the user of a key's object looks that its reconciling fails. See `troubles`."""


class Controller:
    """Runs `reconcile` for keys, several keys at a time, each key one at a time."""

    def __init__(
        self,
        name: str,
        reconcile: Reconcile,
        *,
        concurrency: int = 1,
        tell: Tell = lambda key, error: None,
    ) -> None:
        self.name = name
        self._reconcile = reconcile
        self._concurrency = concurrency
        self._tell = tell
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
            except Exception as error:
                self._failed(key, error)
            else:
                self._queue.done(key, again)

    def _failed(self, key: Key, error: Exception) -> None:
        delay = self._queue.retry(key)
        often = self._queue.failures(key) >= TOLD_AFTER
        if _stale(error) and not often:  # somebody wrote meanwhile; what is wanted may have changed
            return
        about = {"controller": self.name, "key": str(key), "retry_in": delay}
        log.error("reconciling failed", exc_info=error, extra=about)
        if often:
            try:
                self._tell(key, error)
            except Exception:
                log.exception("that reconciling fails could not be told", extra=about)


def _stale(error: Exception) -> bool:
    """Whether a write lost against another one, which the next look sees."""
    return isinstance(error, errors.Conflict) and not isinstance(error, errors.AlreadyExists)
