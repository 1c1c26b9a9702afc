"""Fetching models beside the event loop: few at a time, retried later and later, and asked for again and again.

A reconciler is level-triggered, so it asks "where is the model of this revision?" at each look and gets what is known
now. The download itself blocks for minutes; it runs on a daemon thread, which a stopping control plane does not wait
for (the cache of `storage` is safe against a cut download).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from colonnade import errors
from colonnade.control.models.safety import Refused
from colonnade.control.workload.sources import Source
from colonnade.control.workqueue import backoff
from colonnade.net.background import Background
from colonnade.resources.served import LOCAL_SCHEMES, scheme_of
from colonnade.storage.limits import Progress
from colonnade.storage.scan.report import Report
from colonnade.storage.uri import redacted

log = logging.getLogger(__name__)

CONCURRENCY = 4
WAIT_PERIOD = 5.0  # until something that was waited for is looked at again, if nobody says that it is there
PROGRESS_PERIOD = 1.0  # seconds between two notices of one download's progress
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class Fetched(NamedTuple):
    """The model lies at `path`.

    Attributes:
        path: a file or a folder.
        origin: what was used instead of the URI, in words: a mirror, or a local model cache; or "".
        report: what a scan of it said, if it was scanned.
        in_place: it is used where it lies, and may be changed there.
    """

    path: Path
    origin: str = ""
    report: Report | None = None
    in_place: bool = False


class Fetching(NamedTuple):
    """The download goes on, or waits: bytes so far, and in all if the source says, or what it waits for."""

    done: int = 0
    total: int | None = None
    waits: str = ""

    def text(self, uri: str) -> str:
        """The progress in words, or "" before the first byte."""
        if not self.done:
            return self.waits
        if not self.total:
            return f"Downloading {redacted(uri)}: {size_text(self.done)}"
        percent = 100 * self.done // self.total
        return f"Downloading {redacted(uri)}: {size_text(self.done)} of {size_text(self.total)} ({percent} %)"


class FetchFailed(NamedTuple):
    """The last attempt failed at `at` (Unix time); the next one comes in `retry_in` seconds at most.

    `report` is that of the scan, if the model was fetched and must not be used.
    """

    message: str
    at: float
    retry_in: float
    report: Report | None = None


Outcome = Fetched | Fetching | FetchFailed

Work = Callable[[Progress], Fetched]
"""Blocks until the model is there; raises the errors family."""

Prepare = Callable[[str, Source], Work]
"""Given a namespace and a source, looks up what the fetch needs. Called on the loop; raises the errors family."""


def size_text(size: int) -> str:
    """Bytes for people: `1.2 GiB`."""
    amount, unit = float(size), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{size} bytes" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


class Waits(errors.Error):
    """Not a failure: the model comes by another way, which is not done yet. The message says what it waits for."""


class _Entry:
    __slots__ = ("done", "failures", "namespace", "not_before", "outcome", "running")

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.outcome: Outcome = Fetching()
        self.failures = 0
        self.not_before = 0.0
        self.running = False
        self.done: Callable[[], None] = lambda: None


class _Heard:
    """The last that a download's thread said. Assignments are atomic, so no lock is needed."""

    __slots__ = ("latest",)

    def __init__(self) -> None:
        self.latest = Fetching()

    def __call__(self, done: int, total: int | None) -> None:
        self.latest = Fetching(done, total)


class Fetcher:
    """Knows where the models of revisions lie, and gets them there. Belongs to one event loop."""

    def __init__(
        self,
        prepare: Prepare,
        *,
        still: Callable[[Path], bool] = Path.exists,
        concurrency: int = CONCURRENCY,
    ) -> None:
        """`still` says whether what was fetched before is there yet: a cache may have let go of it."""
        self._prepare = prepare
        self._still = still
        self._slots = asyncio.Semaphore(concurrency)
        self._entries: dict[tuple[str, int, Source], _Entry] = {}
        self._tasks = Background()

    def ask(self, owner: str, revision: int, source: Source, done: Callable[[], None]) -> Outcome:
        """What is known of `source` for a revision of `owner`; starts an attempt if one is due.

        `owner` is `namespace/name`. `done` is called when the attempt ends, and now and then while bytes come. What is
        known of earlier revisions is dropped: a later one asks anew, since what lies at a URI may have changed.
        """
        for key in [key for key in self._entries if key[0] == owner and key[1] != revision]:
            del self._entries[key]
        entry = self._entries.setdefault((owner, revision, source), _Entry(owner.partition("/")[0]))
        entry.done = done
        if isinstance(entry.outcome, Fetched) and not self._still(entry.outcome.path):
            entry.outcome = Fetching()
        if not isinstance(entry.outcome, Fetched) and not entry.running and time.time() >= entry.not_before:
            entry.running = True
            self._tasks.start(self._attempt(entry, source))
        return entry.outcome

    def forget(self, owner: str) -> None:
        """Drop what is known for an owner that is gone."""
        for key in [key for key in self._entries if key[0] == owner]:
            del self._entries[key]

    def retry(self, namespace: str = "") -> None:
        """Try what failed or waits again at once, in a namespace or ("") in all: what it lacked may be there now."""
        for entry in list(self._entries.values()):
            pending = not isinstance(entry.outcome, Fetched) and not entry.running
            if pending and namespace in ("", entry.namespace):
                entry.not_before = 0.0
                entry.failures = 0
                entry.done()

    async def close(self) -> None:
        """End all attempts; threads in a download are left behind."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _attempt(self, entry: _Entry, source: Source) -> None:
        local = scheme_of(source.uri) in LOCAL_SCHEMES and not source.pieces
        async with contextlib.nullcontext() if local else self._slots:  # a path here need not wait for downloads
            try:
                work = self._prepare(entry.namespace, source)
                heard = _Heard()
                telling = asyncio.create_task(self._tell(entry, heard))
                try:
                    entry.outcome = await _on_thread(lambda: work(heard))
                finally:
                    telling.cancel()
            except Waits as error:
                entry.not_before = time.time() + WAIT_PERIOD
                entry.outcome = Fetching(waits=error.message)
            except Exception as error:
                entry.outcome = self._failed(entry, source, error)
            finally:
                entry.running = False
        entry.done()

    def _failed(self, entry: _Entry, source: Source, error: Exception) -> FetchFailed:
        entry.failures += 1
        delay = backoff(entry.failures)
        entry.not_before = time.time() + delay
        if isinstance(error, errors.Error):
            report = error.report if isinstance(error, Refused) else None
            return FetchFailed(error.message, time.time(), delay, report)
        log.exception("fetching a model failed", extra={"uri": redacted(source.uri)}, exc_info=error)
        message = f"{redacted(source.uri)} could not be fetched; the control plane's log says why"
        return FetchFailed(message, time.time(), delay)

    async def _tell(self, entry: _Entry, heard: _Heard) -> None:
        """Pass on how far a download is, once a period: its thread says it for each block."""
        while True:
            await asyncio.sleep(PROGRESS_PERIOD)
            if heard.latest.done and heard.latest != entry.outcome:
                entry.outcome = heard.latest
                entry.done()


async def _on_thread(work: Callable[[], Fetched]) -> Fetched:
    """Run `work` on a daemon thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Fetched] = loop.create_future()

    def settle(found: Fetched | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            assert found is not None
            future.set_result(found)

    def run() -> None:
        found, failure = None, None
        try:
            found = work()
        except Exception as error:
            failure = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, found, failure)

    threading.Thread(target=run, name="fetch", daemon=True).start()
    return await future
