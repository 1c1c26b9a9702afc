"""The content-addressed cache: what was fetched once is shared by every service and survives restarts.

```
artefacts/<key>/    complete content, never changed after it appeared; the key comes from the bytes. Its time of change
                    is when it was last asked for
blobs/<sha256>      one inode with every file of those bytes
tags/<hash>         which blob a source's own name (URL and ETag, say) stands for
refs/<uri>.json     which artefact a URI had when it was last asked, and what revalidates it
partial/<uri>/      scratch of a fetch in progress; owned by whoever holds the lock
resumable/<uri>/    what a broken download has so far
leases.json         the artefacts in use
pins/<name>         an artefact that stays until it is unpinned
trash/              what is being deleted
locks/<uri>.lock    and `gate`, which publishing and using share and eviction takes alone
```

An artefact appears by one `rename` and goes by one, so that a reader sees all of it or nothing and a crash leaves
nothing half visible. One lock file per URI makes concurrent fetches of it one download, across threads and processes.
URIs may hold secrets: file names carry their hash and nothing stores the text.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from colonnade.security import files
from colonnade.storage.blobs import Blobs, digest_of

__all__ = ["Cache", "Ref", "digest_of", "key_of"]


class Ref(msgspec.Struct, frozen=True):
    """What a URI gave when it was last fetched.

    Attributes:
        key: the artefact's folder name.
        etag: the server's `ETag`, or what else names the content of the whole source, or None.
        last_modified: the server's `Last-Modified`, or None.
    """

    key: str
    etag: str | None = None
    last_modified: str | None = None


def key_of(digest: str, name: str | None) -> str:
    """The artefact of these bytes: as the file `name`, or unpacked when that is None.

    The name is part of the key because a suffix decides how a file is read, and one folder must hold one file.
    """
    if name is None:
        return f"{digest}-unpacked"
    return f"{digest}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def entries(folder: Path) -> Iterator[Path]:
    """The files and links below a folder, in a fixed order."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            yield Path(parent, name)
        yield from (link for name in folders if (link := Path(parent, name)).is_symlink())


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache folder. Only a process that holds `lock(uri)` may call what takes that URI."""

    root: Path

    @property
    def blobs(self) -> Blobs:
        return Blobs(self.root)

    @property
    def artefacts(self) -> Path:
        return self.root / "artefacts"

    def _file(self, kind: str, uri: str, suffix: str) -> Path:
        folder = self.root / kind
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / f"{hashlib.sha256(uri.encode('utf-8', 'surrogatepass')).hexdigest()}{suffix}"

    @contextmanager
    def lock(self, uri: str) -> Iterator[None]:
        """Hold the URI's lock; waits for whoever holds it. The system frees it when a process dies."""
        with locked(self._file("locks", uri, ".lock"), fcntl.LOCK_EX):
            yield

    @contextmanager
    def gate(self, *, alone: bool = False) -> Iterator[None]:
        """Hold off eviction; `alone` is for eviction itself. Short: nobody downloads while holding it."""
        with locked(self._file("locks", "gate", ".lock"), fcntl.LOCK_EX if alone else fcntl.LOCK_SH):
            yield

    @contextmanager
    def partial(self, uri: str) -> Iterator[Path]:
        """An empty folder for a fetch in progress; what it still holds at the end is removed.

        What a killed process left there is removed first.
        """
        folder = self._file("partial", uri, "")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def resumable(self, uri: str) -> Path:
        """The folder of what a download has so far; it stays when the download breaks."""
        folder = self._file("resumable", uri, "")
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def artefact(self, key: str) -> Path:
        """Where the artefact of that key lies, or would lie."""
        return self.artefacts / key

    def use(self, key: str) -> Path | None:
        """The artefact, marked as used now, or None if it is not here. Eviction spares it for a while."""
        place = self.artefact(key)
        with self.gate():
            try:
                os.utime(place)
            except FileNotFoundError:
                return None
        return place

    def publish(self, folder: Path, key: str, digests: Mapping[str, str] | None = None) -> Path:
        """Make a complete folder visible as the artefact `key`, at once; if another fetch was first, keep that one.

        Its files become one inode with their blobs. The bytes are on the disk before the name is, so that a power cut
        cannot leave an artefact with holes.

        Args:
            folder: is moved away.
            key: see `key_of`; `keep` makes one.
            digests: SHA-256 of files by relative path, as far as the caller knows them.
        """
        known = digests or {}
        regular = [file for file in entries(folder) if file.is_file() and not file.is_symlink()]
        for file in regular:
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        found = {file: known.get(file.relative_to(folder).as_posix()) or digest_of(file) for file in regular}
        place = self.artefact(key)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.gate():
            for file, digest in found.items():
                self.blobs.adopt(file, digest)
            try:
                folder.rename(place)
            except OSError:
                if not place.is_dir():
                    raise
            os.utime(place)
        return place

    def keep(self, folder: Path, digests: Mapping[str, str] | None = None) -> str:
        """Publish a folder of any number of files under a key that comes from its content. Returns the key."""
        known = dict(digests or {})
        content = hashlib.sha256()
        for entry in entries(folder):
            path = entry.relative_to(folder).as_posix()
            if entry.is_symlink():
                line = f"link {os.readlink(entry)}"
            else:
                known[path] = known.get(path) or digest_of(entry)
                line = f"{'x' if entry.stat().st_mode & 0o100 else 'f'} {known[path]}"
            content.update(f"{path}\0{line}\0".encode("utf-8", "surrogateescape"))
        key = f"{content.hexdigest()}-tree"
        self.publish(folder, key, known)
        return key

    def ref(self, uri: str) -> Ref | None:
        """What the URI gave last, if its artefact is still there; that is then marked as used."""
        try:
            ref = msgspec.json.decode(self._file("refs", uri, ".json").read_bytes(), type=Ref)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return ref if self.use(ref.key) is not None else None

    def remember(self, uri: str, ref: Ref) -> None:
        """Store what the URI gave, for the next fetch to revalidate; the download is over, so nothing is to resume."""
        files.write(self._file("refs", uri, ".json"), msgspec.json.encode(ref))
        shutil.rmtree(self.root / "resumable" / hashlib.sha256(uri.encode("utf-8", "surrogatepass")).hexdigest(), True)

    def key_in(self, path: str) -> str | None:
        """The key of the artefact that a path lies in, if it lies in one."""
        prefix = f"{self.artefacts}{os.sep}"
        return path.removeprefix(prefix).partition(os.sep)[0] if path.startswith(prefix) else None

    def lease(self, keys: Collection[str]) -> None:
        """Say which artefacts are in use, instead of what was said before. It holds over the caller's death."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.gate():
            files.write(self.root / "leases.json", msgspec.json.encode(sorted(keys)))

    def leased(self) -> frozenset[str]:
        """The artefacts in use."""
        try:
            return frozenset(msgspec.json.decode((self.root / "leases.json").read_bytes(), type=list[str]))
        except FileNotFoundError:
            return frozenset()

    def pin(self, name: str, key: str) -> None:
        """Keep an artefact, under a name by which `pin_of` finds it without asking its source."""
        files.write(self._file("pins", name, ""), key.encode())

    def unpin_others(self, names: Collection[str]) -> None:
        """Let go of what is pinned under any other name."""
        kept = {self._file("pins", name, "") for name in names}
        for pin in (self.root / "pins").glob("[!.]*"):
            if pin not in kept:
                pin.unlink(missing_ok=True)

    def pin_of(self, name: str) -> Path | None:
        """The artefact that is pinned under a name, marked as used; None if there is none, or it is gone."""
        try:
            key = self._file("pins", name, "").read_text()
        except FileNotFoundError:
            return None
        return self.use(key)

    def pinned(self) -> frozenset[str]:
        """The keys of all that is pinned."""
        try:
            return frozenset(pin.read_text() for pin in (self.root / "pins").iterdir() if not pin.name.startswith("."))
        except FileNotFoundError:
            return frozenset()


@contextmanager
def locked(path: Path, how: int) -> Iterator[None]:
    """Hold a lock file.

    Raises:
        BlockingIOError: `how` says not to wait, and somebody holds it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
