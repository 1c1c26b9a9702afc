"""Following the store's log: a version and one batch of changes, never a queue that grows."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from colonnade.control.objects import Change

if TYPE_CHECKING:
    from colonnade.control.store import Store

WATCH_BATCH = 256  # changes that a watch reads from the log at once


class Watch:
    """An async iterator of the changes to one resource. Holds a version and at most one batch of changes.

    Ends when closed, or when the store closes. Raises Gone when it fell behind what the store keeps.
    """

    def __init__(self, store: Store, group: str, resource: str, since: int, namespace: str | None) -> None:
        self._store = store
        self._group = group
        self._resource = resource
        self._namespace = namespace
        self._read = since  # everything up to here was read from the log
        self._idle = False  # the log holds nothing more for us; `notice` tells when it does
        self._batch: deque[Change] = deque()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def version(self) -> int:
        """All changes up to this version have been handed out: what a bookmark may say."""
        with self._store.lock:
            if self._batch:
                return self._batch[0].version - 1
            return self._store.version if self._idle else self._read

    @property
    def closed(self) -> bool:
        """Whether the iteration has ended."""
        return self._closed

    def notice(self, change: Change) -> None:
        """Told by the store of each commit, under its lock."""
        ref = change.ref
        if not self._idle or ref.resource != self._resource or ref.group != self._group:
            return
        if self._namespace is not None and ref.namespace != self._namespace:
            return
        self._read, self._idle = change.version - 1, False
        self._awake()

    def close(self) -> None:
        """Ends the iteration."""
        self._closed = True
        self._store.forget(self)
        self._awake()

    def _awake(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)

    def __aiter__(self) -> Watch:
        return self

    async def __anext__(self) -> Change:
        while not self._closed:
            if self._batch:
                return self._batch.popleft()
            self._wake.clear()
            with self._store.lock:
                if self._closed:
                    break
                if not self._idle:
                    self._fill()
            if not self._batch:
                await self._wake.wait()
        raise StopAsyncIteration

    def _fill(self) -> None:
        found = self._store.changes(self._group, self._resource, self._read, self._namespace, limit=WATCH_BATCH)
        self._batch.extend(found)
        if len(found) < WATCH_BATCH:
            self._read, self._idle = self._store.version, True
        else:
            self._read = found[-1].version
