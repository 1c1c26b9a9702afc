"""Frames with and without what the gateway adds, and what a peer may not make it hold."""

from __future__ import annotations

import itertools
import logging

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.frames import MAX_BLOCK_BYTES, MAX_FIELD_BYTES, PREFACE, Annotator, BlockError, literal

# RFC 7541, appendix C.4: three requests on one connection, each with fields that the ones before it put into the table.
BLOCKS = [
    bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff"),
    bytes.fromhex("828684be5886a8eb10649cbf"),
    bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"),
]


@given(st.binary(max_size=20), st.binary(max_size=400))
def test_literal_is_read_back_and_leaves_the_table_alone(name: bytes, value: bytes) -> None:
    decoder = hpack.Decoder()
    assert decoder.decode(literal(name, value), raw=True) == [(name, value)]
    with pytest.raises(hpack.InvalidTableIndexError):
        decoder.decode(b"\xbe")


def frame(kind: int, flags: int, payload: bytes, stream: int = 1) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def frames(data: bytes) -> list[tuple[int, int, bytes]]:
    found = []
    while data:
        size = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], data[9 : 9 + size]))
        data = data[9 + size :]
    return found


ADDED = literal(b"authority", b"www.example.com") + literal(b"client", b"1.2.3.4")
CONVERSATION = (
    PREFACE
    + frame(4, 0, b"\x00" * 12, 0)
    + frame(1, 4, BLOCKS[0], 1)
    + frame(0, 1, b"d" * 300, 1)
    + frame(1, 4 | 1 | 8 | 0x20, b"\x03" + b"\x00" * 5 + BLOCKS[1] + b"\x00" * 3, 3)
    + frame(1, 0, BLOCKS[2][:5], 5)
    + frame(9, 4, BLOCKS[2][5:], 5)
    + frame(1, 4 | 1, literal(b"trailer", b"x"), 5)
)
EXPECTED = [
    (4, 0, b"\x00" * 12),
    (1, 0, BLOCKS[0]),
    (9, 4, ADDED),
    (0, 1, b"d" * 300),
    (1, 1 | 8 | 0x20, b"\x03" + b"\x00" * 5 + BLOCKS[1] + b"\x00" * 3),
    (9, 4, ADDED),
    (1, 0, BLOCKS[2][:5]),
    (9, 0, BLOCKS[2][5:]),
    (9, 4, ADDED),
    (1, 5, literal(b"trailer", b"x")),
]


@given(st.lists(st.integers(min_value=1, max_value=len(CONVERSATION) - 1), max_size=12))
def test_fields_are_added_to_each_request_however_the_bytes_are_cut(cuts: list[int]) -> None:
    annotator = Annotator(b"authority", ((b"client", b"1.2.3.4"),))
    edges = [0, *sorted(cuts), len(CONVERSATION)]
    out = b"".join(annotator.feed(CONVERSATION[a:b]) for a, b in itertools.pairwise(edges))
    assert out.startswith(PREFACE)
    assert frames(out[len(PREFACE) :]) == EXPECTED


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        PREFACE + frame(1, 4, b"\xff\xff\xff\xff\xff"),
        PREFACE + frame(1, 0, b"") + (1 << 20).to_bytes(3, "big") + b"\x01\x00\x00\x00\x00\x01",
        PREFACE + frame(1, 0, b"x" * 100_000) + frame(9, 0, b"x" * 100_000),
    ],
)
def test_what_is_no_http2_is_refused(data: bytes) -> None:
    with pytest.raises(BlockError):
        Annotator(b"a").feed(data)


def conversation(*blocks: bytes) -> bytes:
    return PREFACE + b"".join(frame(1, 4, block, 2 * number + 1) for number, block in enumerate(blocks))


VALUE = b"v" * 4000
BOMB = literal(b":path", b"/") + b"\x40\x01a\x7f\xa1\x1e" + VALUE + b"\xbe" * (MAX_FIELD_BYTES // len(VALUE))


@pytest.mark.parametrize(
    ("blocks", "cause"),
    [
        ([BOMB], hpack.OversizedHeaderListError),  # an entry of the table named again and again
        ([b"\x00\x00\x00" * (MAX_FIELD_BYTES // 32 + 1)], hpack.OversizedHeaderListError),
        ([b"\x3f\xe2\x1f"], hpack.InvalidTableSizeError),  # a table of 4097 bytes
        ([b"\x40\x01a\x01b", b"\x20", b"\xbe"], hpack.InvalidTableIndexError),  # the table has shrunk to nothing
        ([b"\xff" * (MAX_BLOCK_BYTES - 9)], hpack.HPACKDecodingError),  # an index without end
        ([b"\x82", b"\x00\x7f" + b"\x80" * 60_000 + b"\x01"], hpack.HPACKDecodingError),  # a length without end
    ],
)
def test_a_block_beyond_the_bounds_is_refused(blocks: list[bytes], cause: type[Exception]) -> None:
    with pytest.raises(BlockError) as refused:
        Annotator(b"a").feed(conversation(*blocks))
    assert isinstance(refused.value.__cause__, cause)


def test_a_block_within_the_bounds_passes() -> None:
    large = b"\x00\x01a\x7f\x81\xf3\x03" + b"v" * 64_000  # a value of 64000 bytes
    assert b"v" * 64_000 in Annotator(b"a").feed(conversation(literal(b":path", b"/") + large))


def test_fields_never_reach_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        Annotator(b"a").feed(conversation(b"\x40\x0dauthorization\x06secret"))
    assert "secret" not in caplog.text


@given(st.binary(max_size=300))
def test_any_bytes_are_passed_or_refused(data: bytes) -> None:
    try:
        Annotator(b"a").feed(PREFACE + data)
    except BlockError:
        pass
