"""A source's files into the cache: several at a time, each verified, none twice.

A provider lists `Part`s; what is common to all sources happens here. What is already in the cache under the same tag or
digest is linked and not downloaded; what broke goes on from where it was; a single archive is unpacked.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from colonnade.errors import LoadFailed
from colonnade.storage import archive
from colonnade.storage.cache import Ref, key_of
from colonnade.storage.crew import Job, run_all
from colonnade.storage.download import Download, Wanted
from colonnade.storage.parts import Changed, Exhausted, Part, TryAgain, holds, require_places
from colonnade.storage.provider import Order
from colonnade.storage.uri import redacted

_log = logging.getLogger(__name__)


class _Meter:
    """Adds up the bytes of all parts and tells the order, from one thread at a time."""

    def __init__(self, order: Order, parts: Sequence[Part]) -> None:
        sizes = [part.size for part in parts]
        self._order = order
        self._total = None if None in sizes else sum(size for size in sizes if size is not None)
        self._done = 0
        self._lock = threading.Lock()

    def count(self, size: int) -> None:
        with self._lock:
            self._done += size
            if self._done > self._order.limits.download_bytes:
                raise too_large(self._order)
            self._order.report(self._done, self._total)


def too_large(order: Order) -> LoadFailed:
    """The refusal of what passes the limit for a download."""
    return LoadFailed(
        f"{redacted(order.uri)} is larger than {order.limits.download_bytes} bytes, the limit for a download"
    )


def _require_room(order: Order, parts: Sequence[Part], folder: Path) -> None:
    """Refuse early what cannot fit."""
    if len(parts) > order.limits.unpacked_files:
        raise LoadFailed(
            f"{redacted(order.uri)} has more than {order.limits.unpacked_files} files, the limit for one model; "
            "give a folder that holds the model alone"
        )
    total = sum(part.size or 0 for part in parts)
    if total > order.limits.download_bytes:
        raise too_large(order)
    free = shutil.disk_usage(folder).free
    if total > free:
        raise LoadFailed(
            f"{redacted(order.uri)} has {total} bytes and the cache's disk has {free} free; make room, "
            "or move the state folder"
        )


def gather(order: Order, parts: Sequence[Part], folder: Path) -> dict[str, str]:
    """Bring all parts into `folder`, which appears. Returns SHA-256 in hexadecimal by path.

    Call it while holding the lock of `order.identity`.

    Raises:
        TryAgain, Changed: see `attempt`.
        LoadFailed: it cannot be had, or must not be.
    """
    listed = list(parts)
    require_places(listed, redacted(order.uri))
    folder.mkdir(parents=True, exist_ok=True)
    _require_room(order, listed, folder)
    meter = _Meter(order, listed)
    scratch = order.cache.resumable(order.identity)
    digests: dict[str, str] = {}
    jobs: list[Job] = []
    downloads: list[Download] = []
    for part in listed:
        place = folder / part.path
        place.parent.mkdir(parents=True, exist_ok=True)
        if digest := _here(order, part, place):
            digests[part.path] = digest
            meter.count(part.size or 0)
            continue
        download = Download(part, scratch, order.limits, meter.count)
        downloads.append(download)
        jobs += [_job(order, download, wanted, place, digests) for wanted in download.ranges()]
    try:
        run_all(jobs, order.limits.connections)
    finally:
        for download in downloads:
            if download.stale:  # not before: other ranges of it were still on their way
                download.discard()
    return digests


def _here(order: Order, part: Part, place: Path) -> str | None:
    """Put the part at its place if its bytes are in the cache. Returns their digest."""
    blobs = order.cache.blobs
    kind, _, stated = (part.digest or "").partition(":")
    digest = stated.lower() if kind == "sha256" else blobs.named(part.tag) if part.tag is not None else None
    if not digest or not digest.isalnum() or not blobs.find(digest, place):
        return None
    if (part.size is not None and place.stat().st_size != part.size) or not holds(place, part.digest or ""):
        place.unlink()
        return None
    return digest


def _job(order: Order, download: Download, wanted: Wanted, place: Path, digests: dict[str, str]) -> Job:
    def job(halted: threading.Event) -> None:
        try:
            if not download.bring(wanted, halted):
                return
            digest = download.finish()
        except Changed:
            download.stale = True
            raise
        part, blobs = download.part, order.cache.blobs
        if part.tag is not None:  # from here on it need not come again, even if other parts fail
            with order.cache.gate():
                blobs.adopt(download.path, digest)
            blobs.name(part.tag, digest)
        download.path.rename(place)
        download.discard()
        digests[part.path] = digest

    return job


def collect(
    order: Order, parts: Sequence[Part], *, version: str | None = None, last_modified: str | None = None
) -> Path:
    """Bring all parts into the cache as the artefact of the order's URI. A single archive is unpacked, as KServe does.

    Call it while holding the lock of `order.identity`, and through `attempt`.

    Args:
        parts: at least one.
        version: names the content of the whole source; `Cache.ref` gives it back as `etag`.
        last_modified: likewise.

    Raises:
        TryAgain, Changed: see `attempt`.
        LoadFailed: it cannot be had, or must not be.
    """
    cache = order.cache
    with cache.partial(order.identity) as scratch:
        folder = scratch / "content"
        digests = gather(order, parts, folder)
        if len(parts) > 1:
            key = cache.keep(folder, digests)
        else:
            key = _publish_single(order, folder, parts[0].path, digests, scratch)
    cache.remember(order.identity, Ref(key, version, last_modified))
    return cache.artefact(key)


def _publish_single(order: Order, folder: Path, path: str, digests: Mapping[str, str], scratch: Path) -> str:
    cache, unpacks = order.cache, archive.is_archive(path)
    key = key_of(digests[path], None if unpacks else path)
    if cache.use(key) is not None:
        return key
    if unpacks:
        content = scratch / "unpacked"
        content.mkdir()
        archive.unpack(folder / path, content, redacted(order.uri), order.limits)
        cache.publish(content, key)
    else:
        cache.publish(folder, key, digests)
    return key


def attempt(order: Order, work: Callable[[], Path]) -> Path:
    """Do `work`, again while its failure may pass.

    If the source cannot be reached at all, or fails on its side, what it gave last is used and a warning logged: a
    replica must be able to restart.

    Raises:
        LoadFailed: it failed `limits.attempts` times, and nothing of the URI is in the cache.
    """
    pause, failure = threading.Event(), ""
    for number in range(1, order.limits.attempts + 1):
        try:
            return work()
        except (TryAgain, Changed) as error:
            failure = str(error) or "the connection broke or timed out"
            if isinstance(error, Exhausted):
                break
        if number < order.limits.attempts:
            pause.wait(order.limits.retry_delay * 2 ** (number - 1))
    known = order.cache.ref(order.identity)
    if known is None:
        raise LoadFailed(
            f"{redacted(order.uri)} could not be fetched in {order.limits.attempts} tries: {failure}; "
            "check the address and the network"
        )
    _log.warning(
        "the source of a model does not answer; the cached copy is used, which may be old",
        extra={"uri": redacted(order.uri), "cause": failure},
    )
    return order.cache.artefact(known.key)
