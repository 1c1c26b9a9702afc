"""The process that writes payload logs for one gateway process.

It reads what the gateway's taps have noted, and tells the outcome of each. It ends when the gateway does, however that
ends, after it has written what it can in a few seconds. Each log has threads of its own, so one that hangs holds up no
other.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from pathlib import Path
from typing import Protocol

from colonnade import defaults
from colonnade.gateway.payloads import messages, spool
from colonnade.gateway.payloads.filing import Filed
from colonnade.gateway.payloads.messages import Close, Open, Outcome, Seen, Told
from colonnade.gateway.payloads.posting import Posted

log = logging.getLogger(__name__)


class Log(Protocol):
    """The log of one route."""

    def put(self, seen: Seen) -> None: ...

    def finish(self) -> None: ...

    def join(self, deadline: float) -> None: ...

    def ended(self) -> bool: ...


class Writer:
    """Writes what comes over a socket until that ends. Blocks."""

    def __init__(self, sock: socket.socket, root: Path) -> None:
        """`root`: the spool."""
        self._sock = sock
        self._root = root
        self._logs: dict[int, Log] = {}
        self._closed: list[Log] = []
        self._over = threading.Event()
        self._lock = threading.Lock()

    def run(self) -> None:
        """Serve the gateway until it ends."""
        self._adopt()
        with self._sock.makefile("rb", buffering=1 << 18) as stream:
            for message in messages.read(stream):
                self._take(message)
        logs = [*self._logs.values(), *self._closed]
        for one in self._logs.values():
            one.finish()
        deadline = time.monotonic() + defaults.LOG_FLUSH
        for one in logs:
            one.join(deadline)
        self._over.set()

    def _take(self, message: messages.Message) -> None:
        match message:
            case Open():
                self._open(message)
            case Close(number):
                closed = self._logs.pop(number, None)
                if closed is not None:
                    closed.finish()
                    self._closed = [one for one in (*self._closed, closed) if not one.ended()]
            case Seen():
                found = self._logs.get(message.log)
                if found is None:
                    self._tell(Outcome.FAILED, [message.number])
                else:
                    found.put(message)

    def _open(self, opened: Open) -> None:
        try:
            if opened.settings.url:
                self._logs[opened.log] = Posted(opened, self._tell, self._over)
            else:
                self._logs[opened.log] = Filed(opened, self._tell, self._over, self._root)
        except Exception:
            log.exception("a payload log cannot be opened", extra={"service": opened.origin.service})

    def _adopt(self) -> None:
        """Put in their place the files that a writer before this one has left."""
        for owner in spool.owners(self._root):
            try:
                left = Filed(Open(0, owner.origin, owner.settings), self._tell, self._over, self._root)
            except Exception:
                log.exception("rows of a payload log cannot be taken on", extra={"service": owner.origin.service})
            else:
                left.finish()
                self._closed.append(left)

    def _tell(self, outcome: Outcome, numbers: list[int]) -> None:
        data = messages.frame(Told(outcome, numbers))
        try:
            with self._lock:
                self._sock.sendall(data)
        except OSError:
            pass  # the gateway has gone, and nobody counts any more
