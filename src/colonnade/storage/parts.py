"""What a source offers: its files, each with what names its bytes and a way to read a range of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from colonnade.errors import LoadFailed

_BLOCK = 1 << 20


class TryAgain(Exception):
    """A fault that may pass: a broken connection, or an answer such as 503 or 429."""


class Exhausted(TryAgain):
    """It did not pass: as many tries as allowed brought nothing."""


class Changed(Exception):
    """The source no longer has the bytes that a part's tag names, or sent others."""


class Part(NamedTuple):
    """One file of an artefact, as the source offers it.

    Attributes:
        path: where it lies in the artefact, relative, with `/`.
        size: its bytes, if the source says.
        tag: names these very bytes beyond this fetch, such as URL and ETag. None: neither resumed nor reused.
        read: the bytes from `start` up to `stop` (None: to the end). Called from several threads. It raises `TryAgain`,
            `Changed` or `LoadFailed`.
        digest: what the source says of the bytes: `sha256:…`, `md5:…`, `sha1:…`, or `git:…` for the id of a blob in
            git, all in hexadecimal. Verified; with `sha256:` bytes that are here already are not downloaded.
    """

    path: str
    size: int | None
    tag: str | None
    read: Callable[[int, int | None], Iterator[bytes]]
    digest: str | None = None


def require_places(parts: list[Part], shown: str) -> None:
    """Refuse a listing whose files would land outside the artefact or on one another.

    Raises:
        LoadFailed: names the file.
    """
    places: set[PurePosixPath] = set()
    for part in parts:
        place = PurePosixPath(part.path)
        if place.is_absolute() or ".." in place.parts or not place.parts or "\0" in part.path:
            raise LoadFailed(f"{shown} holds the file {part.path!r}, which would land outside its folder; refused")
        if place in places:
            raise LoadFailed(f"{shown} holds the file {part.path!r} twice; refused")
        places.add(place)
    for place in places:
        if clash := next((parent for parent in place.parents if parent in places), None):
            raise LoadFailed(f"{shown} holds both a file {str(clash)!r} and files below that name; refused")


def holds(path: Path, digest: str) -> bool:
    """Whether a file has the digest that its source gave; of a kind that is not known here, nothing can be said."""
    kind, _, wanted = digest.partition(":")
    if kind == "git":
        found = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    elif kind in ("sha256", "sha1", "md5", "sha512"):
        found = hashlib.new(kind, usedforsecurity=False)
    else:
        return True
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest() == wanted.lower()
