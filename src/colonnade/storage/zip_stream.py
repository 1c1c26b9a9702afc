"""Zip files, opened so that a false directory costs no memory.

`zipfile` reads the directory at a zip file's end whole and makes an object of each entry, before its caller learns how
many there are: a file of nothing but entries becomes thirty times its size in memory. And of compressions other than
deflate it unpacks each 4 KiB at once, of which bzip2 makes gigabytes.
"""

from __future__ import annotations

import io
import zipfile
from typing import IO, cast

_DIRECTORY_BYTES = 64 << 20
_ENTRY = b"PK\x01\x02"


class TooLarge(Exception):
    """The directory is larger than any honest one; the message says how large."""


class _Bytes(io.RawIOBase):
    """An open file, of which no large piece is read while the directory is."""

    def __init__(self, file: IO[bytes], entries: int) -> None:
        super().__init__()
        self._file = file
        self._entries: int | None = entries

    def ready(self) -> None:
        """The directory has been read; members follow."""
        self._entries = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        if self._entries is not None and size > _DIRECTORY_BYTES:
            raise TooLarge(f"its directory has {size} bytes, and {_DIRECTORY_BYTES} is the limit")
        data = self._file.read(size)
        if self._entries is not None and (found := data.count(_ENTRY)) > self._entries:
            raise TooLarge(f"it has {found} members, and {self._entries} is the limit")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def opened(file: IO[bytes], entries: int) -> zipfile.ZipFile:
    """The zip archive in an open file, which the caller closes.

    Args:
        entries: most members that it may have.

    Raises:
        TooLarge: it has more, or its directory is larger than any of so many would be.
        Exception: it is damaged: whatever `zipfile.ZipFile` raises then.
    """
    bounded = _Bytes(file, entries)
    archive = zipfile.ZipFile(cast("IO[bytes]", bounded))
    bounded.ready()
    return archive


def streams(member: zipfile.ZipInfo) -> bool:
    """Whether a member's compression gives no more than it is asked for: `stored` and `deflate` do."""
    return member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
