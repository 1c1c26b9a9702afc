"""Bytes of a file that nobody trusts, read in parts: a false length costs no memory that the file does not fill."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import IO, cast

from colonnade import defaults
from colonnade.storage.scan.report import Damaged

PART = 1 << 20
_LONGEST_READ = 64 << 20  # no piece that is kept in memory is larger
_LONGEST_LINE = 1 << 20
_MOST_FOLLOWED = 2 << 30  # bytes that are looked at one by one, which takes a processor some seconds for each 10 MiB
_RATIO_FROM = 64 * defaults.MIB  # small files of zeros are honest


class Bomb(Exception):
    """A file would take more work or room than any honest one."""


class Stream:
    """A file, read forwards."""

    def __init__(self, file: IO[bytes], packed: int | None = None) -> None:
        """`packed`: bytes of the compressed file of which `file` gives the content; None if it is not compressed."""
        self._file = file
        self._most = (
            None
            if packed is None
            else min(max(packed * defaults.MAX_UNPACKED_RATIO, _RATIO_FROM), defaults.MAX_UNPACKED_BYTES)
        )
        self.position = 0
        self._followed = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end.

        Raises:
            Damaged: the file asks for a piece larger than any honest one.
            Bomb: too much came out of a compressed file.
        """
        if size > _LONGEST_READ:
            raise Damaged(f"it asks for a piece of {size} bytes at once")
        data = self._file.read(size)
        self._follow(len(data))
        return data

    def readline(self) -> bytes:
        """Up to the end of the line."""
        data = self._file.readline(_LONGEST_LINE)
        if len(data) == _LONGEST_LINE and not data.endswith(b"\n"):
            raise Damaged(f"it has a line of more than {_LONGEST_LINE} bytes")
        self._follow(len(data))
        return data

    def skip(self, size: int, what: str) -> None:
        """Pass over `size` bytes.

        Raises:
            Damaged: there are fewer.
        """
        left = size
        while left > 0:
            part = self._file.read(min(left, PART))
            if not part:
                raise Damaged(f"it ends inside {what}: {size - left} of {size} bytes are there")
            self._count(len(part))
            left -= len(part)

    def drain(self) -> None:
        """Read to the end."""
        while part := self._file.read(PART):
            self._count(len(part))

    def _follow(self, size: int) -> None:
        self._followed += size
        if self._followed > _MOST_FOLLOWED:
            raise Bomb(f"it holds more than {_MOST_FOLLOWED} bytes of instructions, too many to be looked at")
        self._count(size)

    def _count(self, size: int) -> None:
        self.position += size
        if self._most is not None and self.position > self._most:
            raise Bomb(
                f"it unpacks to more than {self._most} bytes, {defaults.MAX_UNPACKED_RATIO} times its size, as a file "
                "made to fill a machine does; save it uncompressed if it is honest"
            )


def _zlib(file: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", _Inflated(file))


class _Inflated:
    """A bare zlib stream as a file, of which the library has none."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._inflater = zlib.decompressobj()
        self._ready = b""

    def read(self, size: int) -> bytes:
        while len(self._ready) < size and not self._inflater.eof:
            packed = self._inflater.unconsumed_tail or self._file.read(PART)
            if not packed:
                raise EOFError("the compressed data end too early")
            self._ready += self._inflater.decompress(packed, PART)
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def readline(self, limit: int) -> bytes:
        line = b""
        while len(line) < limit and not line.endswith(b"\n") and (byte := self.read(1)):
            line += byte
        return line


def _gzip(file: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=file))


def _bz2(file: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", bz2.BZ2File(file))


def _lzma(file: IO[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", lzma.LZMAFile(file))


# First bytes of the compressions that joblib writes -> reader. A pickle starts with b"\x80" or an ASCII opcode.
_COMPRESSIONS: tuple[tuple[bytes, Callable[[IO[bytes]], IO[bytes]]], ...] = (
    (b"\x1f\x8b", _gzip),
    (b"BZh", _bz2),
    (b"\xfd7zXZ", _lzma),
    (b"\x5d\x00", _lzma),
    (b"\x78\x01", _zlib),
    (b"\x78\x5e", _zlib),
    (b"\x78\x9c", _zlib),
    (b"\x78\xda", _zlib),
)
LZ4 = b"\x04\x22\x4d\x18"

BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError)
"""What the readers of compressed files raise on damaged ones."""


def compressed(head: bytes) -> bool:
    """Whether a file that begins so is compressed in a way that is read here."""
    return any(head.startswith(magic) for magic, _ in _COMPRESSIONS)


def unpacked(file: IO[bytes], size: int) -> Stream:
    """The content of a file of `size` bytes, whatever it is compressed with."""
    head = file.read(8)
    file.seek(0)
    for magic, reader in _COMPRESSIONS:
        if head.startswith(magic):
            return Stream(reader(file), size)
    return Stream(file)
