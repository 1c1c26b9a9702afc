"""Files by content: the same bytes lie on the disk once, however many artefacts hold them.

A blob and the files of the artefacts that hold it are one inode (hard links), so an artefact costs no second copy and
stays whole when the blob's name goes. Blobs are read-only, because whoever wrote into one would write into every
artefact. A file system without hard links, or an inode with too many, costs the saving and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

_READ_ONLY = 0o444
_EXECUTABLE = 0o555


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class Blobs:
    """The folder of blobs, and what earlier downloads said about them."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / "blobs"

    @property
    def tags(self) -> Path:
        """Which blob a source's own name of some bytes stands for."""
        return self.root / "tags"

    def _place(self, digest: str, executable: bool) -> Path:
        return self.folder / (f"{digest}.x" if executable else digest)

    def adopt(self, file: Path, digest: str) -> None:
        """Make `file` read-only and one inode with the blob of its digest, which appears if there is none."""
        executable = bool(file.stat().st_mode & 0o100)
        file.chmod(_EXECUTABLE if executable else _READ_ONLY)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        blob = self._place(digest, executable)
        with contextlib.suppress(OSError):  # too many links, or no links at all: the file stays a copy of its own
            try:
                os.link(file, blob)
            except FileExistsError:
                if not os.path.samefile(file, blob):
                    self._link(blob, file)

    def find(self, digest: str, file: Path) -> bool:
        """Put the blob of that digest at `file`, if it is here and sound. One that is not sound is thrown away."""
        blob = self._place(digest, False)
        try:
            self._link(blob, file)
            sound = digest_of(file) == digest
        except OSError:
            return False
        if not sound:
            file.unlink()
            blob.unlink(missing_ok=True)
        return sound

    def _link(self, blob: Path, file: Path) -> None:
        beside = file.with_name(f".{secrets.token_hex(8)}")
        os.link(blob, beside)
        beside.replace(file)

    def _tag(self, tag: str) -> Path:
        return self.tags / hashlib.sha256(tag.encode("utf-8", "surrogatepass")).hexdigest()

    def name(self, tag: str, digest: str) -> None:
        """Remember that a source calls these bytes `tag`."""
        self.tags.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.tags / f".{secrets.token_hex(8)}"
        draft.write_text(digest)
        draft.replace(self._tag(tag))

    def named(self, tag: str) -> str | None:
        """The digest of the bytes that a source calls `tag`, if they were here."""
        try:
            return self._tag(tag).read_text()
        except (OSError, UnicodeDecodeError):
            return None
