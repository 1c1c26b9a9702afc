"""Header blocks: HPACK (RFC 7541), read by the library and written by hand.

To decode a block in Python costs more than a small inference. But requests of one connection mostly repeat the same
block, and a block that leaves the compression table untouched means the same for as long as the table is the same. So
each such block is decoded once. What this side writes never enters the peer's table, so it is the same bytes on every
connection and is kept, too.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from email.utils import formatdate
from time import time
from typing import Generic, TypeVar

import hpack
from hpack.table import HeaderTable

from colonnade.net.head import OWN_HEADERS, Header
from colonnade.net.http2.frames import COMPRESSION_ERROR, ENHANCE_YOUR_CALM, Fault

logging.getLogger("hpack").setLevel(logging.INFO)  # at DEBUG it writes every field, credentials included

_MAX_BLOCKS = 1024  # remembered on one connection
_MAX_BLOCK_BYTES = 2048  # of a remembered block
_MAX_KEPT = 256  # written blocks
_RESIZE = 0x20  # the top three bits of a block that begins with a change of the table's size are 001

_STATUSES = {200: 0x88, 204: 0x89, 206: 0x8A, 304: 0x8B, 400: 0x8C, 404: 0x8D, 500: 0x8E}
_STATIC_NAMES = {name: index for index, (name, _) in reversed(list(enumerate(HeaderTable.STATIC_TABLE, 1)))}

T = TypeVar("T")


class BlockReader(Generic[T]):
    """Reads the header blocks of one connection in order, and remembers what was made of them.

    Args:
        max_bytes: what a block may unpack to, as RFC 9113 counts it (32 bytes per field on top).
    """

    __slots__ = ("_decoder", "_known", "_stable")

    def __init__(self, max_bytes: int) -> None:
        self._decoder = hpack.Decoder(max_header_list_size=max_bytes)
        self._known: dict[bytes, T] = {}
        self._stable = False  # the block read last left the table untouched

    def known(self, block: bytes) -> T | None:
        """What was made of this block before."""
        return self._known.get(block)

    def read(self, block: bytes) -> list[Header]:
        """The fields of a block.

        Raises:
            Fault: it is malformed or too large; the connection cannot go on, because the table is lost.
        """
        entries = self._decoder.header_table.dynamic_entries
        count, newest = len(entries), entries[0] if entries else None
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.OversizedHeaderListError:
            raise Fault(ENHANCE_YOUR_CALM, "the header fields are too large") from None
        except (hpack.HPACKError, IndexError):
            raise Fault(COMPRESSION_ERROR, "a header block that cannot be read") from None
        self._stable = len(entries) == count and (not count or entries[0] is newest)
        if not self._stable:
            self._known.clear()
        elif block and block[0] & 0xE0 == _RESIZE:
            self._stable = False
        return fields

    def learn(self, block: bytes, made: T) -> None:
        """Remember what was made of the block read last, if it means the same the next time."""
        if self._stable and len(block) <= _MAX_BLOCK_BYTES:
            if len(self._known) >= _MAX_BLOCKS:
                self._known.clear()
            self._known[block] = made


class BlockWriter:
    """Writes header blocks; one per server or pool, so that what repeats is made once."""

    __slots__ = ("_fresh_until", "_kept", "_prefixes")

    def __init__(self) -> None:
        self._prefixes: dict[tuple[int, bytes], bytes] = {}
        self._fresh_until = 0.0
        self._kept: dict[Header, bytes] = {}

    def prefix(self, status: int, content_type: bytes) -> bytes:
        """Status, content type (none if empty) and date; gRPC, which shows all fields to the caller, has no date."""
        now = time()
        if now >= self._fresh_until or len(self._prefixes) >= _MAX_KEPT:
            self._prefixes.clear()
            self._fresh_until = int(now) + 1.0
        found = self._prefixes.get((status, content_type))
        if found is None:
            indexed = _STATUSES.get(status)
            found = literal(b":status", b"%d" % status) if indexed is None else bytes((indexed,))
            if content_type:
                found += fields([(b"content-type", content_type)])
            if not content_type.startswith(b"application/grpc"):
                found += literal(b"date", formatdate(now, usegmt=True).encode("ascii"))
            self._prefixes[status, content_type] = found
        return found

    def kept(self, header: Header) -> bytes:
        """The block of one field that comes again and again."""
        found = self._kept.get(header)
        if found is None:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            found = self._kept[header] = fields((header,))
        return found


def fields(headers: Iterable[Header]) -> bytes:
    """The block of header or trailer fields, without the ones that are the transport's own.

    Raises:
        ValueError: a name or value holds CR, LF or NUL.
    """
    parts: list[bytes] = []
    for name, value in headers:
        lower = name.lower()
        if lower in OWN_HEADERS:
            continue
        if b"\n" in value or b"\r" in value or b"\0" in value or b"\n" in name or b"\r" in name or b"\0" in name:
            raise ValueError(f"header {name[:100]!r}: CR, LF and NUL cannot be part of a field")
        parts.append(literal(lower, value))
    return b"".join(parts)


def literal(name: bytes, value: bytes) -> bytes:
    """A field that leaves the peer's table alone (RFC 7541, section 6.2.2)."""
    index = _STATIC_NAMES.get(name)
    size = len(value)
    if index is None:
        head = b"\x00%b%b" % (_integer(len(name), 0x7F), name)
    else:
        head = _integer(index, 0x0F)
    return b"%b%c%b" % (head, size, value) if size < 0x7F else b"%b%b%b" % (head, _integer(size, 0x7F), value)


def status(code: int) -> bytes:
    """The block of an informational answer."""
    return literal(b":status", b"%d" % code)


def _integer(value: int, largest: int) -> bytes:
    """An integer in a prefix whose largest value is `largest` (RFC 7541, section 5.1)."""
    if value < largest:
        return bytes((value,))
    encoded = bytearray((largest,))
    value -= largest
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
