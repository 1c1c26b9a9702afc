"""A tar file's bytes for a reader that trusts its headers: pieces of them are bounded here, where they are read.

`tarfile` reads a long name or a PAX header whole, of whatever size it says it is, before its caller sees a member; and
what a caller passes over is decompressed all the same. So the stream knows when headers are read, and gives no more
than a header may have; and it counts everything that comes out of the compression.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from colonnade.errors import LoadFailed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HEADER_BYTES = 1 << 20  # of all headers of one member; a path has 4 KiB at most

# First bytes of the compressions that tar files come in -> reader.
_COMPRESSIONS: tuple[tuple[bytes, Callable[[Path], object]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", lzma.open),
    (b"\x5d\x00", lzma.open),
    (b"\x28\xb5\x2f\xfd", zstd.open),
)

DAMAGED = (EOFError, lzma.LZMAError, zstd.ZstdError)
"""What the readers of compressed files raise on damaged ones, beside errors of zlib and of the system."""


class TarStream(io.RawIOBase):
    """The unpacked bytes of a tar file, for `tarfile` to read."""

    def __init__(self, path: Path, source: str, reach: Callable[[int], None]) -> None:
        """`source` is how messages name the file. `reach` is called with each position before it is gone to, and
        raises if that is too far."""
        super().__init__()
        with path.open("rb") as file:
            head = file.read(8)
        reader = next((found for magic, found in _COMPRESSIONS if head.startswith(magic)), None)
        self._file = path.open("rb") if reader is None else cast("IO[bytes]", reader(path))
        self._reach = reach
        self._source = source
        self._left: int | None = _HEADER_BYTES  # None while a member's content is read

    @contextmanager
    def content(self) -> Iterator[None]:
        """While a member's content is read. Then headers follow, with all that those of one member may have."""
        self._left = None
        try:
            yield
        finally:
            self._left = _HEADER_BYTES

    def member(self) -> None:
        """A member's headers have been read."""
        self._left = _HEADER_BYTES

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is, though backwards at the price of reading anew."""
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes.

        Raises:
            LoadFailed: a header asks for more than any honest one.
        """
        if self._left is not None:
            if not 0 <= size <= self._left:
                raise LoadFailed(
                    f"{self._source} holds a member whose headers are larger than {_HEADER_BYTES} bytes, as an archive "
                    "made to fill a machine's memory does; refused"
                )
            self._left -= size
        data = self._file.read(size)
        self._reach(self._file.tell())
        return data

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Fill a buffer, see `read`."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to an offset from the beginning."""
        self._reach(offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where it is."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()
