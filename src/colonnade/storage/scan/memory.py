"""Scans that were made, so that an unchanged artefact is neither hashed nor looked at again.

Two questions have two answers: what lay at this path when it had these stamps (`paths/`), and what was found in these
contents under these names (`contents/`). Both belong to one version of the rules.
"""

from __future__ import annotations

import hashlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from colonnade.security import files
from colonnade.storage.scan.report import VERSION, Scan
from colonnade.storage.scan.walk import Tree

_SETTLED = 2.0  # seconds; a file that was changed so lately may change again without another stamp

S = TypeVar("S", bound=msgspec.Struct)


class Seen(msgspec.Struct, frozen=True):
    """What lay at a path: its stamps, and the digests of its files by name."""

    version: str
    stamp: str
    digests: dict[str, str]


@dataclass(frozen=True, slots=True)
class Memory:
    """A folder of remembered scans; with None nothing is remembered."""

    folder: Path | None

    def digests(self, path: Path, tree: Tree) -> dict[str, str] | None:
        """The digests of a path's files, if none has changed since they were taken."""
        seen = self._read(self._at_path(path), Seen)
        if seen is None or seen.version != VERSION or seen.stamp != _short(tree.stamp):
            return None
        return seen.digests

    def remember_digests(self, path: Path, tree: Tree, digests: dict[str, str]) -> None:
        """Keep them for the next look, unless a file is so young that its stamps may not tell another one."""
        if time.time() - tree.newest > _SETTLED:
            self._write(self._at_path(path), Seen(VERSION, _short(tree.stamp), digests))

    def scan(self, contents: str) -> Scan | None:
        """What was found in contents, by the digest of their manifest."""
        return self._read(self._at_contents(contents), Scan)

    def remember_scan(self, contents: str, scan: Scan) -> None:
        """Keep it."""
        self._write(self._at_contents(contents), scan)

    def _at_path(self, path: Path) -> str:
        return f"path-{_short(os.fsdecode(os.path.abspath(path)))}.json"

    def _at_contents(self, contents: str) -> str:
        return f"content-{VERSION}-{contents}.json"

    def _read(self, name: str, kind: type[S]) -> S | None:
        if self.folder is None:
            return None
        try:
            return msgspec.json.decode((self.folder / name).read_bytes(), type=kind)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None  # it was never written, or by another version: it is only made again

    def _write(self, name: str, value: msgspec.Struct) -> None:
        if self.folder is None:
            return
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(self.folder / name, msgspec.json.encode(value))
        except OSError:
            return  # a full disk costs the next scan its time, and this one nothing


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
