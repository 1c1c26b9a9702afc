"""Events: what `kubectl describe` shows of what happened to an object.

The same thing happening again raises the count of one Event (its name is a hash of what it says), so a crash loop fills
neither the store nor the screen. Events are kept for an hour after they last happened, as in Kubernetes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal

from colonnade import defaults
from colonnade.control.objects import Ref, timestamp, utcnow
from colonnade.control.store import Store

COMPONENT = "colonnade"
_MESSAGE_CHARS = 1024  # Kubernetes' own limit on the field


class Events:
    """Writes Event objects into the store."""

    def __init__(self, store: Store, *, now: Callable[[], datetime] = utcnow) -> None:
        self._store = store
        self._now = now

    def record(
        self, about: dict[str, Any], reason: str, message: str, kind: Literal["Normal", "Warning"] = "Normal"
    ) -> None:
        """Say that something happened to the object `about` (a whole object: its identity is taken from it)."""
        moment = timestamp(self._now())
        fresh = event(about, reason, message, kind, moment)
        ref = Ref("", "events", fresh["metadata"]["namespace"], fresh["metadata"]["name"])
        stored = self._store.get(ref)
        if stored is None:
            self._store.create(ref, fresh, durable=False)
        else:
            again = {**stored, "count": stored.get("count", 1) + 1, "lastTimestamp": moment}
            self._store.update(ref, again, durable=False)

    def prune(self, ttl: float = defaults.EVENT_TTL) -> int:
        """Remove the events that last happened more than `ttl` seconds ago; returns how many."""
        oldest = timestamp(self._now() - timedelta(seconds=ttl))
        removed = 0
        for found in self._store.list("", "events")[0]:
            if (found.get("lastTimestamp") or "") < oldest:
                metadata = found["metadata"]
                self._store.delete(Ref("", "events", metadata["namespace"], metadata["name"]))
                removed += 1
        return removed


def event(about: dict[str, Any], reason: str, message: str, kind: str, moment: str) -> dict[str, Any]:
    """The Event object (v1) for its first time."""
    metadata = about["metadata"]
    involved = {
        "apiVersion": about.get("apiVersion", "v1"),
        "kind": about.get("kind", ""),
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
    }
    message = message[:_MESSAGE_CHARS]
    said = "\0".join((*involved.values(), kind, reason, message))
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "namespace": metadata.get("namespace") or "default",
            "name": f"{metadata['name']}.{hashlib.sha256(said.encode()).hexdigest()[:16]}",
        },
        "involvedObject": involved,
        "type": kind,
        "reason": reason,
        "message": message,
        "count": 1,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "eventTime": None,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": "",
    }
