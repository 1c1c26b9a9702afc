"""What leaves the cache when it is too large: the least recently used, and never what is in use.

A replica may run from an artefact for months without asking for it again, so time alone does not decide: the control
plane says what is leased. What was asked for just now is spared whoever asked, because between a fetch and the lease of
the replica that it is for lies a moment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from colonnade import defaults
from colonnade.storage.cache import Cache, locked


class Held(NamedTuple):
    """An artefact, as eviction sees it.

    Attributes:
        key: its folder's name.
        used: when it was last asked for, in seconds since 1970.
        inodes: size in bytes by inode.
    """

    key: str
    used: float
    inodes: dict[int, int]

    @property
    def size(self) -> int:
        """Bytes of its files, shared ones too."""
        return sum(self.inodes.values())


class Pruned(NamedTuple):
    """What eviction did: the keys that went, and the bytes that the artefacts take now."""

    gone: tuple[str, ...]
    size: int


def choose(held: Sequence[Held], limit: int, in_use: Collection[str], before: float) -> list[str]:
    """The keys to evict, oldest first, until the artefacts take no more than `limit` bytes. Pure.

    A file that several artefacts share counts once, and is freed by the last of them. None of `in_use` is chosen, nor
    one that was used after `before`; the limit is passed rather than that.
    """
    holders = Counter(inode for artefact in held for inode in artefact.inodes)
    total = sum({inode: size for artefact in held for inode, size in artefact.inodes.items()}.values())
    chosen = []
    for artefact in sorted(held, key=lambda each: (each.used, each.key)):
        if total <= limit:
            break
        if artefact.key in in_use or artefact.used > before:
            continue
        chosen.append(artefact.key)
        holders.subtract(artefact.inodes.keys())
        total -= sum(size for inode, size in artefact.inodes.items() if not holders[inode])
    return chosen


def held(cache: Cache) -> list[Held]:
    """The artefacts that are there."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(cache.artefacts):
            with contextlib.suppress(FileNotFoundError):
                found.append(Held(entry.name, entry.stat().st_mtime, _inodes(Path(entry.path))))
    return found


def _inodes(folder: Path) -> dict[int, int]:
    sizes: dict[int, int] = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = os.lstat(os.path.join(parent, name))
                sizes[found.st_ino] = found.st_size
    return sizes


def size_of(artefacts: Iterable[Held]) -> int:
    """Bytes on the disk: a file that several artefacts share counts once."""
    return sum({inode: size for each in artefacts for inode, size in each.inodes.items()}.values())


def prune(
    cache: Cache, limit: int = defaults.CACHE_BYTES, *, now: float | None = None, spared: float = defaults.CACHE_SPARED
) -> Pruned:
    """Bring the cache under `limit` bytes, and clear away what crashes and evictions left. Blocks; safe at any time.

    Kept in any case: what is leased or pinned, and what was asked for within `spared` seconds.
    """
    moment = time.time() if now is None else now
    trash = cache.root / "trash"
    before = held(cache)
    with cache.gate(alone=True):
        keys = {artefact.key for artefact in before}
        current = [artefact._replace(used=_used(cache, artefact)) for artefact in before]
        gone = choose(current, limit, cache.leased() | cache.pinned(), moment - spared) if keys else []
        for key in gone:
            trash.mkdir(mode=0o700, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                cache.artefact(key).rename(trash / secrets.token_hex(8))
    shutil.rmtree(trash, ignore_errors=True)
    _sweep_broken(cache, "partial", moment - spared)
    _sweep_broken(cache, "resumable", moment - defaults.PARTIAL_TTL)
    _sweep_blobs(cache, moment - spared)
    return Pruned(tuple(gone), size_of(artefact for artefact in before if artefact.key not in gone))


def _used(cache: Cache, artefact: Held) -> float:
    """When it was asked for, looked at while nobody can ask."""
    try:
        return cache.artefact(artefact.key).stat().st_mtime
    except FileNotFoundError:
        return artefact.used


def _sweep_blobs(cache: Cache, before: float) -> None:
    """Remove blobs that no artefact holds, and what refers to what is gone.

    A young one stays: it may belong to a download whose other files are still coming.
    """
    blobs = cache.blobs
    with cache.gate(alone=True), contextlib.suppress(FileNotFoundError):
        for blob in os.scandir(blobs.folder):
            found = blob.stat(follow_symlinks=False)
            if found.st_nlink == 1 and found.st_ctime <= before:
                os.unlink(blob.path)
    with cache.gate(alone=True), contextlib.suppress(FileNotFoundError):
        for tag in os.scandir(blobs.tags):
            digest = Path(tag.path).read_text(errors="replace")
            if not (blobs.folder / digest).exists() and tag.stat().st_mtime <= before:
                os.unlink(tag.path)


def _sweep_broken(cache: Cache, kind: str, before: float) -> None:
    """Remove what dead fetches left, or what nobody went on with for long."""
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(cache.root / kind):
            newest = max((item.stat().st_mtime for item in os.scandir(entry.path)), default=entry.stat().st_mtime)
            if newest > before:
                continue
            lock = cache.root / "locks" / f"{entry.name}.lock"
            with contextlib.suppress(BlockingIOError), locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(entry.path, ignore_errors=True)
