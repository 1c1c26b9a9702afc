"""Events posted to a URL as CloudEvents: one by one in binary mode, or several in one batch.

A sink that fails for now is asked again after pauses that double; one that refuses an event will not take it later
either. Which of the two it is, is said by the status.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import msgspec

from colonnade import defaults
from colonnade.gateway.payloads import redaction
from colonnade.gateway.payloads.events import BATCH, Event, document, events, headers
from colonnade.gateway.payloads.messages import Open, Outcome, Seen

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

_FOR_NOW = frozenset({408, 425, 429})  # and 5xx

Tell = Callable[[Outcome, list[int]], None]


class Posted:
    """The log of one route that goes to a URL. `put` never waits; senders of its own do."""

    def __init__(self, opened: Open, tell: Tell, over: threading.Event) -> None:
        """`over`: set when there is no time for another attempt."""
        import httpx

        self._opened = opened
        self._rules = redaction.read(opened.settings.redact)
        self._tell = tell
        self._over = over
        self._queue: SimpleQueue[Seen | None] = SimpleQueue()
        limits = httpx.Limits(max_connections=defaults.LOG_SENDERS)
        self._client = httpx.Client(timeout=defaults.LOG_SEND_TIMEOUT, limits=limits)
        self._failing = False
        self._threads = [
            threading.Thread(target=self._run, name=f"log-{opened.log}-{number}", daemon=True)
            for number in range(defaults.LOG_SENDERS)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, seen: Seen) -> None:
        """Take a request."""
        self._queue.put(seen)

    def finish(self) -> None:
        """Nothing more comes."""
        for _ in self._threads:
            self._queue.put(None)

    def join(self, deadline: float) -> None:
        """Wait until all is sent, or until then (monotonic seconds)."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def ended(self) -> bool:
        """Whether all is done; then nothing is held any more."""
        if any(thread.is_alive() for thread in self._threads):
            return False
        self._client.close()
        return True

    def _run(self) -> None:
        for batch in self._batches():
            numbers = [seen.number for seen in batch]
            try:
                found = [event for seen in batch for event in self._events(seen)]
                delivered = self._deliver(found)
            except Exception:
                log.exception("payloads could not be posted", extra={"service": self._opened.origin.service})
                delivered = False
            self._tell(Outcome.WRITTEN if delivered else Outcome.FAILED, numbers)

    def _events(self, seen: Seen) -> Iterator[Event]:
        return events(seen, self._opened.origin, self._opened.settings, self._rules)

    def _batches(self) -> Iterator[list[Seen]]:
        """Requests as they come: each alone, or with those that come soon after it."""
        settings = self._opened.settings
        interval = settings.interval or defaults.LOG_BATCH_INTERVAL
        while (first := self._queue.get()) is not None:
            batch, count = [first], _events_of(first)
            until = time.monotonic() + interval
            ended = False
            while count < settings.batch and not ended:
                try:
                    more = self._queue.get(timeout=max(0.0, until - time.monotonic()))
                except Empty:
                    break
                if more is None:
                    ended = True
                else:
                    batch.append(more)
                    count += _events_of(more)
            yield batch
            if ended:
                return

    def _deliver(self, found: list[Event]) -> bool:
        if not found:
            return True
        size = max(1, self._opened.settings.batch)
        now = datetime.now(UTC)
        if size == 1:
            results = [self._post(headers(event, now), event.body) for event in found]  # one refused is no bar
            return all(results)
        delivered = True
        for start in range(0, len(found), size):
            body = msgspec.json.encode([document(event, now) for event in found[start : start + size]])
            delivered = self._post([("content-type", BATCH)], body) and delivered
        return delivered

    def _post(self, fields: list[tuple[str, str]], body: bytes) -> bool:
        """Post until it is taken, refused, or tried often enough."""
        import httpx

        pause = defaults.LOG_RETRY_FIRST
        for attempt in range(defaults.LOG_ATTEMPTS):
            asked = pause
            try:
                answer = self._client.post(self._opened.settings.url, content=body, headers=fields)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                why = type(error).__name__
            else:
                if answer.is_success:
                    self._well()
                    return True
                why = f"status {answer.status_code}"
                if answer.status_code < 500 and answer.status_code not in _FOR_NOW:
                    self._ill(why)
                    return False
                asked = max(pause, _asked_for(answer))
            self._ill(why)
            last = attempt == defaults.LOG_ATTEMPTS - 1
            if last or self._over.wait(min(asked, defaults.LOG_RETRY_MAX) * (0.5 + random.random() / 2)):  # noqa: S311
                return False
            pause *= 2
        return False

    def _ill(self, why: str) -> None:
        if not self._failing:
            self._failing = True
            origin = self._opened.origin
            extra = {"service": f"{origin.namespace}/{origin.service}", "component": origin.component, "why": why}
            log.warning("the sink of a payload log does not take events", extra=extra)

    def _well(self) -> None:
        if self._failing:
            self._failing = False
            origin = self._opened.origin
            log.info("the sink of a payload log takes events again", extra={"service": origin.service})


def _events_of(seen: Seen) -> int:
    return (seen.request is not None) + (seen.response is not None)


def _asked_for(answer: httpx.Response) -> float:
    """The seconds after which the sink wants to be asked again."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isdigit() and len(text) < 9 else 0.0
