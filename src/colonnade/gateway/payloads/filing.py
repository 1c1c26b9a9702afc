"""Events written to files: rows go to the spool at once, and files to their place as they get full.

Two threads: one takes requests and is never held up by a place that is slow; the other puts what is finished there,
and tries again for as long as it takes. What may lie in the spool meanwhile is bounded.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from colonnade import defaults
from colonnade.gateway.payloads import places, redaction, spool
from colonnade.gateway.payloads.events import events
from colonnade.gateway.payloads.messages import Open, Outcome, Seen
from colonnade.gateway.payloads.posting import Tell
from colonnade.gateway.payloads.rows import ENCODE, row
from colonnade.gateway.payloads.spool import OpenFile, Spooled

log = logging.getLogger(__name__)

_AT_ONCE = 256  # requests that are written together


class Filed:
    """The log of one route that goes to files."""

    def __init__(self, opened: Open, tell: Tell, over: threading.Event, root: Path) -> None:
        """`over`: set when there is no time for another attempt; `root`: the spool.

        Raises:
            OSError: the spool cannot be written.
        """
        self._origin = opened.origin
        self._settings = opened.settings
        self._rules = redaction.read(opened.settings.redact)
        self._tell = tell
        self._over = over
        self._folder = spool.folder_of(root, opened.origin, opened.settings)
        self._queue: SimpleQueue[Seen | None] = SimpleQueue()
        self._finished: SimpleQueue[Spooled | None] = SimpleQueue()
        self._waiting = 0  # bytes of finished files that are not in their place
        self._lock = threading.Lock()
        self._open: dict[str, OpenFile] = {}  # by day
        self._complains = False
        for left in spool.left_behind(self._folder):
            self._finish(left)
        self._threads = [
            threading.Thread(target=self._take, name=f"log-{opened.log}-rows", daemon=True),
            threading.Thread(target=self._place, name=f"log-{opened.log}-files", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def put(self, seen: Seen) -> None:
        """Take a request."""
        self._queue.put(seen)

    def finish(self) -> None:
        """Nothing more comes."""
        self._queue.put(None)

    def join(self, deadline: float) -> None:
        """Wait until all files are in their place, or until then (monotonic seconds)."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def ended(self) -> bool:
        """Whether all is done."""
        return not any(thread.is_alive() for thread in self._threads)

    # Rows.

    def _take(self) -> None:
        ended = False
        while not ended:
            batch, ended = self._batch()
            if batch:
                numbers = [seen.number for seen in batch]
                try:
                    written = self._write(batch)
                except Exception:
                    log.exception("payloads could not be spooled", extra={"service": self._origin.service})
                    written = False
                self._tell(Outcome.WRITTEN if written else Outcome.FAILED, numbers)
            self._rotate(everything=ended)
        self._finished.put(None)

    def _batch(self) -> tuple[list[Seen], bool]:
        """What has come, after some wait at most; and whether nothing more comes."""
        due = min((one.since for one in self._open.values()), default=None)
        wait = None if due is None else max(0.0, due + self._interval - time.monotonic())
        found: list[Seen] = []
        try:
            seen = self._queue.get(timeout=wait)
            while seen is not None:
                found.append(seen)
                if len(found) == _AT_ONCE:
                    return found, False
                seen = self._queue.get_nowait()
        except Empty:
            return found, False
        return found, True

    @property
    def _interval(self) -> float:
        return self._settings.interval or defaults.LOG_FILE_ROTATION

    def _write(self, batch: list[Seen]) -> bool:
        if self._waiting > defaults.LOG_SPOOL_BYTES:
            return False
        now = datetime.now(UTC)
        lines: dict[str, list[bytes]] = {}
        for seen in batch:
            for event in events(seen, self._origin, self._settings, self._rules):
                day = event.time.date().isoformat()
                lines.setdefault(day, []).append(msgspec.json.encode(row(event, now)))
        at_once = self._settings.batch or len(batch) * 2
        for day, found in lines.items():
            while found:
                file = self._file(day)
                room = at_once - file.rows if self._settings.batch else at_once
                file.add(found[:room])
                del found[:room]
        return True

    def _file(self, day: str) -> OpenFile:
        found = self._open.get(day)
        if found is not None and self._full(found):
            self._finish(self._open.pop(day).finished())
            found = None
        if found is None:
            found = self._open[day] = OpenFile(self._folder, day)
        return found

    def _full(self, file: OpenFile) -> bool:
        return file.size >= defaults.LOG_ROTATED_BYTES or 0 < self._settings.batch <= file.rows

    def _rotate(self, *, everything: bool) -> None:
        now = time.monotonic()
        for day, file in list(self._open.items()):
            if everything or self._full(file) or now - file.since >= self._interval:
                del self._open[day]
                self._finish(file.finished())

    def _finish(self, file: Spooled) -> None:
        with self._lock:
            self._waiting += file.path.stat().st_size
        self._finished.put(file)

    # Files.

    def _place(self) -> None:
        place: places.Place | None = None
        while (file := self._finished.get()) is not None:
            size = file.path.stat().st_size
            pause = defaults.LOG_RETRY_FIRST
            while True:
                try:
                    place = place or places.place(self._settings.folder, self._settings.access)
                    lines = file.lines()
                    if lines:
                        name = file.name(self._origin, self._settings.format)
                        place.put(name, ENCODE[self._settings.format](lines))
                    file.remove()
                except Exception as error:
                    self._complain(error)
                    place = None
                    if self._over.wait(pause):
                        return
                    pause = min(pause * 2, defaults.LOG_RETRY_MAX)
                else:
                    break
            self._complains = False
            with self._lock:
                self._waiting -= size

    def _complain(self, error: Exception) -> None:
        if not self._complains:
            self._complains = True
            extra = {"service": f"{self._origin.namespace}/{self._origin.service}", "error": str(error)[:500]}
            log.error("a file of a payload log cannot be put in its place; it is kept and tried again", extra=extra)
