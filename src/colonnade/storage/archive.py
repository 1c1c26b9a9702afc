"""Unpacks one tar or zip file so that nothing lands outside its folder and nothing grows past its limits.

Archives come from strangers. A member's name may climb out (`../`), be absolute, or go through a link that an earlier
member made; a member may be a device; a few kilobytes may unpack to terabytes. So each member is judged before it is
written, sizes are counted while writing and not believed, links must stay inside, and modes lose their set-user bits.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from colonnade.errors import LoadFailed
from colonnade.storage import zip_stream
from colonnade.storage.limits import Limits
from colonnade.storage.tar_stream import DAMAGED, TarStream

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".zip")

Rename = Callable[[str], str | None]
"""Maps a member's name to the one that it gets, or to None to pass it over."""

_BLOCK = 1 << 20
_MEMBER_BYTES = 4096  # of headers and padding, which an honest tar file has per member beside its content
_GLOBAL_HEADERS = 64  # of a tar file, which all later members share; git writes one
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, ValueError, NotImplementedError, RecursionError, *DAMAGED)


def is_archive(name: str) -> bool:
    """Whether a file of this name is unpacked. The name decides: `.skops` and `.npz` are zip files and stay whole."""
    return name.lower().endswith(SUFFIXES)


@dataclass(slots=True)
class _Budget:
    """Counts what has been unpacked and stops it at the limits."""

    source: str
    packed: int
    limits: Limits
    unpacked: int = 0
    members: int = 0

    def member(self) -> None:
        self.members += 1
        if self.members > self.limits.unpacked_files:
            raise LoadFailed(
                f"{self.source} holds more than {self.limits.unpacked_files} files, the limit for one archive; "
                "split it, or unpack it yourself and give the folder"
            )

    def write(self, size: int) -> None:
        self.unpacked += size
        self._hold(self.unpacked, self.limits.unpacked_bytes)

    def reach(self, position: int) -> None:
        """A tar file is read up to there: what is passed over has been unpacked, too."""
        self._hold(position, self.limits.unpacked_bytes + self.limits.unpacked_files * _MEMBER_BYTES)

    def _hold(self, unpacked: int, most: int) -> None:
        if unpacked > most:
            raise LoadFailed(
                f"{self.source} unpacks to more than {most} bytes, the limit for one archive; "
                "unpack it yourself and give the folder"
            )
        if unpacked > self.limits.ratio_from and unpacked > self.packed * self.limits.unpacked_ratio:
            raise LoadFailed(
                f"{self.source} unpacks to more than {self.limits.unpacked_ratio} times its size, as an archive made "
                "to fill disks does; if it is honest, unpack it yourself and give the folder"
            )


def _place(source: str, folder: Path, name: str) -> Path | None:
    """Where a member goes, or None for the folder itself.

    Raises:
        LoadFailed: the name is absolute, climbs out, or its parent is a link.
    """
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name or (parts.parts and parts.parts[0].endswith(":")):
        raise LoadFailed(f"{source} holds the member {name!r}, which would land outside its folder; refused")
    if not parts.parts:
        return None
    place = folder
    for part in parts.parts[:-1]:
        place = place / part
        if place.is_symlink():
            raise LoadFailed(f"{source} holds the member {name!r}, which goes through a link; refused")
    return folder.joinpath(*parts.parts)


def _write(place: Path, content: IO[bytes], mode: int, budget: _Budget) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)  # a later member of the same name replaces a file or a link, never what it points to
    with place.open("xb") as target:
        while block := content.read(_BLOCK):
            budget.write(len(block))
            target.write(block)
    place.chmod(0o755 if mode & 0o100 else 0o644)


def _link(source: str, folder: Path, place: Path, name: str, target: str) -> None:
    """A symbolic link inside the folder; refused when it points out of it, by whatever detour."""
    inside = os.path.normpath(os.path.join(os.path.dirname(place), target))
    if target.startswith("/") or not (inside == str(folder) or inside.startswith(f"{folder}{os.sep}")):
        raise LoadFailed(f"{source} holds the link {name!r} to {target!r}, which leaves its folder; refused")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def _members(tar: tarfile.TarFile, stream: TarStream, source: str) -> Iterator[tarfile.TarInfo]:
    """The members of a tar file, of which no list is kept."""
    while (member := tar.next()) is not None:
        stream.member()
        cast(Any, tar).members.clear()
        if len(tar.pax_headers) > _GLOBAL_HEADERS:
            raise LoadFailed(f"{source} holds more than {_GLOBAL_HEADERS} headers for all of its members; refused")
        yield member


def _unpack_tar(path: Path, folder: Path, source: str, budget: _Budget, rename: Rename | None) -> None:
    with (
        closing(TarStream(path, source, budget.reach)) as stream,
        tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r:") as tar,
    ):
        for member in _members(tar, stream, source):
            if rename is not None:
                name, original_name = rename(member.name), rename(member.linkname) if member.islnk() else ""
                if name is None:
                    continue
                member.name, member.linkname = name, original_name or member.linkname
            budget.member()
            place = _place(source, folder, member.name)
            if place is None:
                continue
            if member.isdir():
                place.mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                content = tar.extractfile(member)
                if content is not None:
                    with stream.content():
                        _write(place, content, member.mode, budget)
            elif member.issym():
                _link(source, folder, place, member.name, member.linkname)
            elif member.islnk():
                original = _place(source, folder, member.linkname)
                if original is None or original.is_symlink() or not original.is_file():
                    raise LoadFailed(f"{source} holds the hard link {member.name!r} to no file of its own; refused")
                with original.open("rb") as content_of_original:
                    _write(place, content_of_original, member.mode, budget)
            else:
                raise LoadFailed(f"{source} holds {member.name!r}, which is a device or a pipe; refused")


def _unpack_zip(path: Path, folder: Path, source: str, budget: _Budget) -> None:
    with path.open("rb") as file, zip_stream.opened(file, budget.limits.unpacked_files) as archive:
        for member in archive.infolist():
            budget.member()
            place = _place(source, folder, member.filename)
            if place is None:
                continue
            mode = member.external_attr >> 16
            if member.is_dir():
                place.mkdir(parents=True, exist_ok=True)
            elif member.flag_bits & 0x1:
                raise LoadFailed(f"{source} is encrypted; give it unencrypted")
            elif not zip_stream.streams(member):
                raise LoadFailed(
                    f"{source} holds {member.filename!r}, packed by method {member.compress_type}; pack it by deflate, "
                    "or make a .tar.xz"
                )
            elif stat.S_ISLNK(mode):
                with archive.open(member) as content:
                    _link(source, folder, place, member.filename, content.read(4096).decode("utf-8", "replace"))
            elif stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise LoadFailed(f"{source} holds {member.filename!r}, which is a device or a pipe; refused")
            else:
                with archive.open(member) as content:
                    _write(place, content, mode, budget)


def _links(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        yield from (Path(parent, name) for name in (*folders, *files) if Path(parent, name).is_symlink())


def require_links_inside(folder: Path, source: str) -> None:
    """Links that are each harmless may lead out together; the file system's own answer is asked at the end."""
    root = folder.resolve()
    for link in _links(folder):
        try:
            inside = link.resolve().is_relative_to(root)
        except (RuntimeError, OSError):
            inside = False
        if not inside:
            raise LoadFailed(f"{source} holds the link {link.name!r}, which leaves its folder; refused")


def unpack(path: Path, folder: Path, source: str, limits: Limits, rename: Rename | None = None) -> int:
    """Unpack the archive at `path` into the existing empty `folder`; tells how many bytes its files have.

    The caller removes the folder when this raises; a folder is used only after this returned.

    Args:
        path: the archive; whether it is a zip or a tar of any compression is read off its bytes.
        folder: an absolute path.
        source: how messages name the archive.
        limits: see `Limits`.
        rename: of a tar file's members only some are wanted, or under other names.

    Raises:
        LoadFailed: the archive is damaged, passes a limit, or holds what must not be unpacked; nothing lies outside
            the folder then either.
    """
    budget = _Budget(source, max(path.stat().st_size, 1), limits)
    try:
        if zipfile.is_zipfile(path):
            _unpack_zip(path, folder, source, budget)
        else:
            _unpack_tar(path, folder, source, budget, rename)
    except zip_stream.TooLarge as error:
        raise LoadFailed(f"{source} is not unpacked: {error}; unpack it yourself and give the folder") from error
    except _BROKEN as error:
        raise LoadFailed(f"{source} is damaged or no tar or zip file: {error}; make the archive again") from error
    except OSError as error:
        if error.errno is None:  # the readers of gzip and bzip2 say so what they cannot read
            raise LoadFailed(f"{source} is damaged: {error}; make the archive again") from error
        raise LoadFailed(f"{source} cannot be unpacked: {error.strerror or error}") from error
    require_links_inside(folder, source)
    return budget.unpacked
