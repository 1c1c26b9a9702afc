"""Reads HTTP/2 header blocks (HPACK, RFC 7541). Pure; the decoder's table is its only state.

The gRPC library for Python does not show a call's `:authority`, and services are addressed by it (`grpc_front` tells
more). Only reading is needed: what the gateway adds to a block is one literal field, which `literal` writes.
"""

from __future__ import annotations

from collections import deque

MAX_TABLE_BYTES = 64 << 10  # what a peer may make the dynamic table grow to; the protocol's default is 4096

# Appendix A.
_STATIC: tuple[tuple[bytes, bytes], ...] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    *(
        (name, b"")
        for name in (
            b"accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control "
            b"content-disposition content-encoding content-language content-length content-location content-range "
            b"content-type cookie date etag expect expires from host if-match if-modified-since if-none-match "
            b"if-range if-unmodified-since last-modified link location max-forwards proxy-authenticate "
            b"proxy-authorization range referer refresh retry-after server set-cookie strict-transport-security "
            b"transfer-encoding user-agent vary via www-authenticate"
        ).split()
    ),
)

# Appendix B: the code is canonical (codes of one length follow each other in the order of the symbols), so the lengths
# in bits say all. Symbol 256 is the end of the string.
_LENGTHS: tuple[int, ...] = (
    *(13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28),
    *(28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28),
    *(6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6),
    *(5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10),
    *(13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7),
    *(7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6),
    *(15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5),
    *(6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28),
    *(20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23),
    *(24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24),
    *(22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23),
    *(21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23),
    *(26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25),
    *(19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27),
    *(20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23),
    *(26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26),
    30,
)
_END = 256


class BlockError(Exception):
    """The bytes are no header block, or go beyond a limit: the connection cannot go on."""


def _huffman_codes() -> dict[tuple[int, int], int]:
    """(length in bits, code) to symbol."""
    codes = {}
    code = 0
    previous = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - previous
        codes[length, code] = symbol
        code += 1
        previous = length
    return codes


_SYMBOLS = _huffman_codes()


def huffman(data: bytes) -> bytes:
    """Decode a Huffman-coded string.

    Raises:
        BlockError: a code that ends the string inside it, or padding that is not the start of that code.
    """
    out = bytearray()
    code = length = 0
    for byte in data:
        for shift in range(7, -1, -1):
            code = code << 1 | (byte >> shift & 1)
            length += 1
            symbol = _SYMBOLS.get((length, code))
            if symbol is not None:
                if symbol == _END:
                    raise BlockError("end of string inside a string")
                out.append(symbol)
                code = length = 0
    if length > 7 or code != (1 << length) - 1:
        raise BlockError("padding")
    return bytes(out)


def literal(name: bytes, value: bytes) -> bytes:
    """A field in the form that leaves the peer's table alone (section 6.2.3, never indexed)."""
    return b"\x10" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,))
    out = bytearray((127,))
    size -= 127
    while size >= 128:
        out.append(size & 127 | 128)
        size >>= 7
    out.append(size)
    return bytes(out)


class Decoder:
    """Decodes the header blocks of one direction of one connection, in order."""

    __slots__ = ("_known", "_limit", "_size", "_table")

    def __init__(self) -> None:
        self._table: deque[tuple[bytes, bytes]] = deque()
        self._size = 0
        self._limit = 4096
        self._known: dict[bytes, bytes] = {}  # Huffman-coded strings seen on this connection

    def decode(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """The fields of a whole block, in order.

        Raises:
            BlockError: the block is malformed.
        """
        fields = []
        at = 0
        try:
            while at < len(block):
                byte = block[at]
                if byte & 0x80:
                    index, at = _integer(block, at, 7)
                    fields.append(self._entry(index))
                elif byte & 0x40:
                    field, at = self._literal(block, at, 6)
                    self._add(field)
                    fields.append(field)
                elif byte & 0x20:
                    limit, at = _integer(block, at, 5)
                    if limit > MAX_TABLE_BYTES:
                        raise BlockError("table size")
                    self._limit = limit
                    self._evict()
                else:
                    field, at = self._literal(block, at, 4)
                    fields.append(field)
        except IndexError:
            raise BlockError("cut off") from None
        return fields

    def _literal(self, block: bytes, at: int, prefix: int) -> tuple[tuple[bytes, bytes], int]:
        index, at = _integer(block, at, prefix)
        if index:
            name = self._entry(index)[0]
        else:
            name, at = self._string(block, at)
        value, at = self._string(block, at)
        return (name, value), at

    def _string(self, block: bytes, at: int) -> tuple[bytes, int]:
        coded = block[at] & 0x80
        size, at = _integer(block, at, 7)
        end = at + size
        if end > len(block):
            raise BlockError("cut off")
        raw = block[at:end]
        if not coded:
            return raw, end
        text = self._known.get(raw)
        if text is None:
            text = huffman(raw)
            if len(self._known) < 64 and len(raw) < 256:
                self._known[raw] = text
        return text, end

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if index == 0:
            raise BlockError("index 0")
        if index <= len(_STATIC):
            return _STATIC[index - 1]
        return self._table[index - len(_STATIC) - 1]

    def _add(self, field: tuple[bytes, bytes]) -> None:
        self._table.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + 32
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + 32


def _integer(block: bytes, at: int, prefix: int) -> tuple[int, int]:
    """The integer that starts in the low `prefix` bits at an offset (section 5.1), and the offset after it."""
    mask = (1 << prefix) - 1
    value = block[at] & mask
    at += 1
    if value < mask:
        return value, at
    for shift in range(0, 28, 7):
        byte = block[at]
        at += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise BlockError("integer")
