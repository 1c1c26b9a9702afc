"""Sources that can say what they hold before a byte is fetched: what has not changed is not fetched again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from colonnade.storage.parts import Part
from colonnade.storage.provider import Order
from colonnade.storage.transfer import attempt, collect


def fingerprint(parts: Sequence[Part]) -> str | None:
    """Names what a source holds; None if it gives a file no name that changes with its bytes."""
    lines = []
    for part in parts:
        if part.tag is None and part.digest is None:
            return None
        lines.append(f"{part.path}\0{part.size}\0{part.tag}\0{part.digest}")
    return hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "surrogatepass")).hexdigest()


def scope_of(endpoint: str, *secrets: str | None) -> str:
    """An order's `scope`: at which server, and with whose rights. Of secrets it holds a hash alone."""
    given = "\0".join(secret or "" for secret in secrets)
    return f"{endpoint} {hashlib.sha256(given.encode()).hexdigest() if given.strip(chr(0)) else 'anonymous'}"


def fetch_listed(order: Order, list_parts: Callable[[], Sequence[Part]]) -> Path:
    """The artefact of a source that lists its files: the known one if they are the same, else fetched anew.

    Args:
        order: with its `scope`, see `scope_of`.
        list_parts: asks the source; raises `TryAgain` for what may pass.

    Raises:
        LoadFailed: it cannot be had.
    """

    def work() -> Path:
        parts = list_parts()
        version = fingerprint(parts)
        known = order.cache.ref(order.identity)
        if known is not None and version is not None and known.etag == version:
            return order.cache.artefact(known.key)
        return collect(order, parts, version=version)

    with order.cache.lock(order.identity):
        return attempt(order, work)
