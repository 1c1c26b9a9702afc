"""Compressed bodies, as Triton's clients send and ask for them: gzip and deflate (RFC 9110, section 8.4.1)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from colonnade.errors import InvalidInput, TooLarge, UnsupportedMediaType

Body = bytes | bytearray | memoryview

_WBITS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}
_LEVEL = 1  # tensors compress little; more effort costs milliseconds and gains percents


def inflate(body: Body, coding: bytes, limit: int) -> Body:
    """The body without its content coding.

    Args:
        coding: value of `Content-Encoding`; empty or `identity` leaves the body as it is.
        limit: largest result in bytes; a bomb is cut there, never unpacked whole.

    Raises:
        UnsupportedMediaType: a coding other than gzip and deflate.
        InvalidInput: the bytes are not what the coding says, or they end early.
        TooLarge: the result exceeds the limit.
    """
    coding = coding.strip().lower()
    if coding in (b"", b"identity"):
        return body
    wbits = _WBITS.get(coding)
    if wbits is None:
        name = coding.decode("latin-1")
        raise UnsupportedMediaType(f"Content-Encoding {name} is not supported; send gzip, deflate or identity")
    engine = zlib.decompressobj(wbits)
    try:
        plain = engine.decompress(body, limit + 1)
    except zlib.error:
        raise InvalidInput(f"the body is not valid {coding.decode()}, which Content-Encoding says it is") from None
    if len(plain) > limit:
        raise TooLarge(f"the inflated request body exceeds the limit of {limit} bytes")
    if not engine.eof:
        raise InvalidInput(f"the {coding.decode()} body ends early")
    return plain


def wanted(accept: bytes | None) -> bytes | None:
    """The coding that a client asks for: gzip or deflate if `Accept-Encoding` names nothing else.

    Most HTTP libraries list all they can read on every request. That is an ability and not a wish, and answering it
    would spend milliseconds on each large tensor between processes of one machine. Triton's clients name exactly one.
    """
    if accept is None:
        return None
    accept = accept.strip().lower()
    return accept if accept in (b"gzip", b"deflate") else None


def deflate(chunks: Sequence[Body], coding: bytes) -> bytes:
    """The chunks joined and compressed with a coding that `wanted` returned."""
    engine = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WBITS[coding])
    parts = [engine.compress(chunk) for chunk in chunks]
    parts.append(engine.flush())
    return b"".join(parts)
