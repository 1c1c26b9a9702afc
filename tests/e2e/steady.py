"""A load at a steady rate that asks whatever comes back, with every answer counted by who gave it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit


class Steady:
    """Asks at a rate from a few keep-alive connections until the block ends.

    A request is due at a time of its own, so a slow answer delays none that follow on other connections, and what is
    late is caught up with.

    Attributes:
        answers: how often each first prediction came, as text: the models of these tests say who they are.
        failed: statuses other than 200 and broken connections, with what was said.
    """

    def __init__(self, url: str, rate: float, clients: int = 16, body: dict[str, Any] | None = None) -> None:
        self._url = urlsplit(url)
        self._pause = clients / rate
        self._body = json.dumps(body or {"instances": [0]})
        self.answers: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.slowest = 0.0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number / rate,)) for number in range(clients)]

    @property
    def answered(self) -> int:
        return self.answers.total()

    def __enter__(self) -> Steady:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, first: float) -> None:
        connection = http.client.HTTPConnection(self._url.netloc, timeout=30)
        due = time.monotonic() + first
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            due += self._pause
            began = time.monotonic()
            try:
                connection.request("POST", self._url.path, self._body)
                answer = connection.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                self._count(f"{type(error).__name__}: {error}", None, began)
                continue
            if answer.status == 200:
                self._count("", str(json.loads(text)["predictions"][0]), began)
            else:
                self._count(f"{answer.status}: {text[:300].decode()}", None, began)
        connection.close()

    def _count(self, failure: str, answer: str | None, began: float) -> None:
        with self._lock:
            self.slowest = max(self.slowest, time.monotonic() - began)
            if answer is None:
                self.failed[failure] += 1
            else:
                self.answers[answer] += 1
