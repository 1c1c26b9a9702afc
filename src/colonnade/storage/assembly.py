"""Several artefacts put together under one folder, as KServe's initializer downloads several URIs into one volume.

Files of the cache are linked, so the folder costs nothing; a local path that the user owns is pointed at, since its
files may change and lie on another disk.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from colonnade.errors import LoadFailed
from colonnade.storage.cache import Cache, Ref, entries


def assemble(cache: Cache, pieces: Sequence[tuple[Path, str]]) -> Path:
    """The artefact that holds each path of `pieces` under the relative path beside it; "" is the folder itself.

    Raises:
        LoadFailed: two pieces have a file of one name, or a piece would land outside.
    """
    identity = "\n".join(f"{path}\0{below}" for path, below in pieces)
    fixed = all(cache.key_in(str(path)) is not None for path, _ in pieces)
    with cache.lock(identity), cache.partial(identity) as scratch:
        known = cache.ref(identity)
        if fixed and known is not None:
            return cache.artefact(known.key)
        folder = scratch / "content"
        folder.mkdir()
        for path, below in pieces:
            if ".." in PurePosixPath(below).parts or below.startswith("/"):
                raise LoadFailed(f"storageUris: the mount path ends in {below!r}, which leaves the folder; refused")
            _place(cache, path, folder, PurePosixPath(below))
        key = cache.keep(folder)
        cache.remember(identity, Ref(key))
        return cache.artefact(key)


def _place(cache: Cache, path: Path, root: Path, below: PurePosixPath) -> None:
    owned = cache.key_in(str(path)) is not None
    if path.is_file():
        found = [(path, below / path.name)]
    elif owned:
        found = [(entry, below / entry.relative_to(path).as_posix()) for entry in entries(path)]
    else:
        found = [(entry, below / entry.name) for entry in sorted(path.iterdir())]
    _folder(root, below)
    for source, target in found:
        _one(source, _folder(root, target.parent) / target.name, owned)


def _folder(root: Path, below: PurePosixPath) -> Path:
    """Make a folder, and go through no link on the way: it would lead into what the user owns."""
    place = root
    for part in below.parts:
        place = place / part
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise _clash(place)
        place.mkdir(exist_ok=True)
    return place


def _one(source: Path, target: Path, owned: bool) -> None:
    if target.exists() or target.is_symlink():
        raise _clash(target)
    if not owned:
        target.symlink_to(source.absolute())
    elif source.is_symlink():
        target.symlink_to(os.readlink(source))
    else:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)


def _clash(place: Path) -> LoadFailed:
    return LoadFailed(f"storageUris: two of them have {place.name!r} at one path; give them different mountPaths")
