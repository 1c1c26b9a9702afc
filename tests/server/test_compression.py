"""Content codings: what is inflated, what is refused, what is deflated."""

from __future__ import annotations

import gzip
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import Error, InvalidInput, TooLarge, UnsupportedMediaType
from colonnade.server.compression import deflate, inflate, wanted

LIMIT = 1000


@given(st.lists(st.binary(max_size=200), max_size=5), st.sampled_from([b"gzip", b"deflate"]))
def test_what_is_deflated_inflates(chunks: list[bytes], coding: bytes) -> None:
    assert inflate(deflate(chunks, coding), coding, LIMIT) == b"".join(chunks)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (gzip.compress(b"x", mtime=0), b"gzip"),
        (zlib.compress(b"x"), b"deflate"),
        (gzip.compress(b"x", mtime=0), b" X-GZIP"),
        (b"x", b""),
    ],
)
def test_what_clients_send_inflates(body: bytes, coding: bytes) -> None:
    assert inflate(body, coding, LIMIT) == b"x"


@pytest.mark.parametrize(
    ("body", "coding", "error", "message"),
    [
        (gzip.compress(bytes(LIMIT + 1), mtime=0), b"gzip", TooLarge, "limit of 1000 bytes"),
        (gzip.compress(b"x", mtime=0)[:-9], b"gzip", InvalidInput, "ends early"),
        (b"plain", b"gzip", InvalidInput, "not valid gzip"),
        (b"plain", b"deflate", InvalidInput, "not valid deflate"),
        (b"x", b"br", UnsupportedMediaType, "Content-Encoding br is not supported"),
        (b"x", b"gzip, deflate", UnsupportedMediaType, "not supported"),
    ],
)
def test_what_does_not_inflate_is_refused(body: bytes, coding: bytes, error: type[Error], message: str) -> None:
    with pytest.raises(error, match=message):
        inflate(body, coding, LIMIT)


def test_the_limit_itself_is_allowed() -> None:
    assert len(inflate(gzip.compress(bytes(LIMIT)), b"gzip", LIMIT)) == LIMIT


@given(st.binary(), st.sampled_from([b"gzip", b"deflate"]))
def test_no_bytes_break_it(body: bytes, coding: bytes) -> None:
    with suppress(InvalidInput, TooLarge):
        inflate(body, coding, LIMIT)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (None, None),
        (b"gzip", b"gzip"),
        (b"Deflate", b"deflate"),
        (b"gzip, deflate, br", None),
        (b"identity", None),
        (b"gzip;q=0", None),
    ],
)
def test_only_an_explicit_wish_is_answered(accept: bytes | None, coding: bytes | None) -> None:
    assert wanted(accept) == coding
