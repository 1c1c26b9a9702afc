"""Adds to each HTTP/2 request, on its way through, the fields that the gRPC library hides. Pure: bytes in, bytes out.

Header blocks are read but never rewritten: they share one compression table per connection, and re-coding them would
cost a table of our own and the risk that goes with it. Instead the frame that ends a block loses its END_HEADERS flag,
and a CONTINUATION frame with the added fields follows (RFC 9113, sections 6.2 and 6.10). All else passes as it came.

What a peer can make this hold is bounded: a header block, what it unpacks to, and the compression table, whose size is
the protocol's default because the gRPC library behind announces no other.
"""

from __future__ import annotations

import logging

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_BLOCK_BYTES = 64 << 10  # one header block, over all its frames
MAX_FIELD_BYTES = 64 << 10  # what it unpacks to; the gRPC library behind announces that it takes 16 KiB

_HEADERS = 1
_CONTINUATION = 9
_END_HEADERS = 0x4
_PADDED = 0x8
_PRIORITY = 0x20

logging.getLogger("hpack").setLevel(logging.INFO)  # at DEBUG it writes every field, credentials included


class BlockError(Exception):
    """The bytes are no HTTP/2, or go beyond a limit: the connection cannot go on."""


def literal(name: bytes, value: bytes) -> bytes:
    """A field in the form that leaves the peer's table alone (RFC 7541, section 6.2.3, never indexed)."""
    return _ENCODER.encode([hpack.NeverIndexedHeaderTuple(name, value)], huffman=False)


_ENCODER = hpack.Encoder()  # for all connections: what is never indexed leaves its table alone, too


class Annotator:
    """The client-to-server half of one connection.

    Args:
        authority_name: name of the added field that repeats the request's `:authority`.
        extra: further fields to add to each request.
    """

    __slots__ = ("_authority_name", "_block", "_buffer", "_decoder", "_extra", "_passing", "_prefaced")

    def __init__(self, authority_name: bytes, extra: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self._authority_name = authority_name
        self._extra = b"".join(literal(name, value) for name, value in extra)
        self._decoder = hpack.Decoder(max_header_list_size=MAX_FIELD_BYTES)
        self._buffer = b""
        self._passing = 0  # bytes of a frame that pass unread
        self._block = b""
        self._prefaced = False

    def feed(self, data: bytes) -> bytes:
        """What to send on for these bytes; parts of a frame may be held back until the rest is there.

        Raises:
            BlockError: this is no HTTP/2, or a header block cannot be read.
        """
        if self._passing >= len(data):
            self._passing -= len(data)
            return data
        out = []
        if self._passing:
            out.append(data[: self._passing])
            data = data[self._passing :]
            self._passing = 0
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at = 0
        if not self._prefaced:
            if not PREFACE.startswith(data[: len(PREFACE)]):
                raise BlockError("no HTTP/2 preface")
            if len(data) < len(PREFACE):
                self._buffer = data
                return b""
            self._prefaced = True
            out.append(PREFACE)
            at = len(PREFACE)
        size = len(data)
        while at < size:
            if size - at < 9:
                break
            end = at + 9 + int.from_bytes(data[at : at + 3], "big")
            kind = data[at + 3]
            if kind != _HEADERS and kind != _CONTINUATION:
                if end > size:
                    self._passing = end - size
                    end = size
                out.append(data[at:end])
            elif end - at > MAX_BLOCK_BYTES:
                raise BlockError("header block too large")
            elif end > size:
                break
            else:
                out.append(self._headers(data[at:end], kind))
            at = end
        self._buffer = data[at:]
        return b"".join(out)

    def _headers(self, frame: bytes, kind: int) -> bytes:
        flags = frame[4]
        fragment = frame[9:]
        if kind == _HEADERS:
            if self._block:
                raise BlockError("a block inside a block")
            if flags & _PADDED:
                fragment = fragment[1 : len(fragment) - fragment[0]] if fragment else b""
            if flags & _PRIORITY:
                fragment = fragment[5:]
        block = self._block + fragment
        if len(block) > MAX_BLOCK_BYTES:
            raise BlockError("header block too large")
        if not flags & _END_HEADERS:
            self._block = block
            return frame
        self._block = b""
        authority: bytes | None = None
        request = False
        try:
            fields = self._decoder.decode(block, raw=True)
        except hpack.HPACKError as error:
            raise BlockError("a header block that cannot be read") from error
        for name, value in fields:
            if name == b":authority":
                authority = value
            elif name == b":path":
                request = True
            elif name == b"host" and authority is None:
                authority = value
        if not request:
            return frame
        added = self._extra
        if authority is not None:
            added = literal(self._authority_name, authority) + added
        if not added:
            return frame
        return b"".join(
            (
                frame[:4],
                bytes((flags & ~_END_HEADERS,)),
                frame[5:],
                len(added).to_bytes(3, "big"),
                bytes((_CONTINUATION, _END_HEADERS)),
                frame[5:9],
                added,
            )
        )
