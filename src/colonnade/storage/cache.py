"""The content-addressed cache: what was fetched once is shared by every replica and survives restarts.

```
artefacts/<key>/    complete content, never changed after it appeared; the key holds the SHA-256 of the bytes
refs/<uri>.json     which artefact a URI had when it was last asked, and what revalidates it
partial/<uri>/      a fetch in progress; owned by whoever holds the lock
locks/<uri>.lock
```

An artefact appears by one `rename`, so that a reader sees all of it or nothing and a crash leaves nothing visible. One
lock file per URI makes concurrent fetches of it one download, across threads and processes. URIs may hold secrets:
file names carry their hash and nothing stores the text.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec


class Ref(msgspec.Struct, frozen=True):
    """What a URI gave when it was last fetched.

    Attributes:
        key: the artefact's folder name.
        etag: the server's `ETag`, or None.
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


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (file for name in names if not (file := Path(parent, name)).is_symlink())


@dataclass(frozen=True, slots=True)
class Cache:
    """A cache folder. Only a process that holds `lock(uri)` may call `partial` and `remember` for that URI."""

    root: Path

    def _file(self, kind: str, uri: str, suffix: str) -> Path:
        folder = self.root / kind
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder / f"{hashlib.sha256(uri.encode('utf-8', 'surrogatepass')).hexdigest()}{suffix}"

    @contextmanager
    def lock(self, uri: str) -> Iterator[None]:
        """Hold the URI's lock; waits for whoever holds it. The system frees it when a process dies."""
        descriptor = os.open(self._file("locks", uri, ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

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

    def artefact(self, key: str) -> Path:
        """Where the artefact of that key lies, or would lie."""
        return self.root / "artefacts" / key

    def publish(self, folder: Path, key: str) -> Path:
        """Make a complete folder visible as the artefact `key`, at once; if another fetch was first, keep that one.

        The bytes are on the disk before the name is, so that a power cut cannot leave an artefact with holes.
        """
        for file in _files(folder):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
        place = self.artefact(key)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            folder.rename(place)
        except OSError:
            if not place.is_dir():
                raise
        return place

    def ref(self, uri: str) -> Ref | None:
        """What the URI gave last, if its artefact is still there."""
        try:
            ref = msgspec.json.decode(self._file("refs", uri, ".json").read_bytes(), type=Ref)
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        return ref if self.artefact(ref.key).is_dir() else None

    def remember(self, uri: str, ref: Ref) -> None:
        """Store what the URI gave, for the next fetch to revalidate."""
        place = self._file("refs", uri, ".json")
        draft = place.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(ref))
        draft.replace(place)
