"""A steady load from a few keep-alive clients, with every outcome counted."""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

import httpx


class Load:
    """Runs clients in threads until the block ends; `outcomes` counts status codes and broken connections."""

    def __init__(self, url: str, body: dict[str, object], clients: int = 8) -> None:
        self.url = url
        self.body = body
        self.outcomes: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    @property
    def answered(self) -> int:
        return self.outcomes["200"]

    @property
    def failed(self) -> dict[str, int]:
        return {outcome: count for outcome, count in self.outcomes.items() if outcome != "200"}

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def end(self) -> None:
        """No client asks again; what is under way is waited for when the block ends."""
        self._stopped.set()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=30) as client:
            while not self._stopped.is_set():
                try:
                    outcome = str(client.post(self.url, json=self.body).status_code)
                except httpx.TransportError as error:
                    outcome = type(error).__name__
                with self._lock:
                    self.outcomes[outcome] += 1
                if outcome == "ConnectError":
                    self._stopped.wait(0.02)  # nobody listens: asking on without a pause would only starve the others
