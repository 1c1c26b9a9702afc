"""Fetching models beside the event loop: few at a time, retried later and later, and asked for again and again.

A reconciler is level-triggered, so it asks "where is the model of this revision?" at each look and gets what is known
now. The download itself blocks for minutes; it runs on a daemon thread, which a stopping control plane does not wait
for (the cache of `storage` is safe against a cut download).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from colonnade import errors
from colonnade.control.workqueue import backoff

log = logging.getLogger(__name__)

CONCURRENCY = 4


class Fetched(NamedTuple):
    """The model lies at `path`."""

    path: Path


class Fetching(NamedTuple):
    """The download goes on, or waits for its turn."""


class FetchFailed(NamedTuple):
    """The last attempt failed at `at` (Unix time); the next one comes in `retry_in` seconds at most."""

    message: str
    at: float
    retry_in: float


Outcome = Fetched | Fetching | FetchFailed


class _Entry:
    __slots__ = ("failures", "not_before", "outcome", "running")

    def __init__(self) -> None:
        self.outcome: Outcome = Fetching()
        self.failures = 0
        self.not_before = 0.0
        self.running = False


class Fetcher:
    """Knows where the models of revisions lie, and gets them there. Belongs to one event loop."""

    def __init__(self, fetch: Callable[[str], Path], *, concurrency: int = CONCURRENCY) -> None:
        """`fetch` blocks, and raises the errors family."""
        self._fetch = fetch
        self._slots = asyncio.Semaphore(concurrency)
        self._entries: dict[tuple[str, int, str], _Entry] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, owner: str, revision: int, uri: str, done: Callable[[], None]) -> Outcome:
        """What is known of `uri` for a revision of `owner`; starts an attempt if one is due.

        `done` is called when the attempt ends. What is known of earlier revisions is dropped: a later one asks anew,
        since what lies at a URI may have changed.
        """
        for key in [key for key in self._entries if key[0] == owner and key[1] != revision]:
            del self._entries[key]
        entry = self._entries.setdefault((owner, revision, uri), _Entry())
        if not isinstance(entry.outcome, Fetched) and not entry.running and time.time() >= entry.not_before:
            entry.running = True
            task = asyncio.create_task(self._attempt(entry, uri, done))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return entry.outcome

    def forget(self, owner: str) -> None:
        """Drop what is known for an owner that is gone."""
        for key in [key for key in self._entries if key[0] == owner]:
            del self._entries[key]

    async def close(self) -> None:
        """End all attempts; threads in a download are left behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _attempt(self, entry: _Entry, uri: str, done: Callable[[], None]) -> None:
        async with self._slots:
            try:
                entry.outcome = Fetched(await _on_thread(lambda: self._fetch(uri)))
            except Exception as error:
                entry.failures += 1
                delay = backoff(entry.failures)
                entry.not_before = time.time() + delay
                if isinstance(error, errors.Error):
                    message = error.message
                else:
                    log.exception("fetching a model failed", extra={"uri": uri})
                    message = f"{uri} could not be fetched; the control plane's log says why"
                entry.outcome = FetchFailed(message, time.time(), delay)
            finally:
                entry.running = False
        done()


async def _on_thread(work: Callable[[], Path]) -> Path:
    """Run `work` on a daemon thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Path] = loop.create_future()

    def settle(path: Path | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            assert path is not None
            future.set_result(path)

    def run() -> None:
        path, failure = None, None
        try:
            path = work()
        except Exception as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, path, failure)

    threading.Thread(target=run, name="fetch", daemon=True).start()
    return await future
