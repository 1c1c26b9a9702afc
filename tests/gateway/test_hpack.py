"""HPACK against the examples of RFC 7541, and frames with and without what the gateway adds."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.gateway.frames import PREFACE, Annotator
from colonnade.gateway.hpack import BlockError, Decoder, huffman, literal

# Appendix C.4.1 to C.4.3: three requests on one connection, Huffman-coded; then C.6.1, a response with evictions.
REQUESTS = [
    (
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    ),
    (
        "828684be5886a8eb10649cbf",
        [
            (b":method", b"GET"),
            (b":scheme", b"http"),
            (b":path", b"/"),
            (b":authority", b"www.example.com"),
            (b"cache-control", b"no-cache"),
        ],
    ),
    (
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        [
            (b":method", b"GET"),
            (b":scheme", b"https"),
            (b":path", b"/index.html"),
            (b":authority", b"www.example.com"),
            (b"custom-key", b"custom-value"),
        ],
    ),
]


def test_examples_of_the_standard() -> None:
    decoder = Decoder()
    for block, fields in REQUESTS:
        assert decoder.decode(bytes.fromhex(block)) == fields


def test_plain_literals_and_a_small_table() -> None:
    decoder = Decoder()
    # C.2.1 to C.2.3: literal with indexing, without indexing, never indexed.
    assert decoder.decode(bytes.fromhex("400a637573746f6d2d6b65790d637573746f6d2d686561646572")) == [
        (b"custom-key", b"custom-header")
    ]
    assert decoder.decode(bytes.fromhex("040c2f73616d706c652f70617468")) == [(b":path", b"/sample/path")]
    assert decoder.decode(bytes.fromhex("100870617373776f726406736563726574")) == [(b"password", b"secret")]
    assert decoder.decode(b"\xbe") == [(b"custom-key", b"custom-header")]
    assert decoder.decode(b"\x20") == [], "the table shrinks to nothing"
    with pytest.raises(BlockError):
        decoder.decode(b"\xbe")


@given(st.binary(max_size=20), st.binary(max_size=400))
def test_literal_is_read_back_and_leaves_the_table_alone(name: bytes, value: bytes) -> None:
    decoder = Decoder()
    assert decoder.decode(literal(name, value)) == [(name, value)]
    with pytest.raises(BlockError):
        decoder.decode(b"\xbe")


@pytest.mark.parametrize("coded", ["ff", "00", "fffffffc", "ffffffff"])
def test_bad_huffman(coded: str) -> None:
    with pytest.raises(BlockError):
        huffman(bytes.fromhex(coded))


@given(st.binary(max_size=200))
def test_any_block_is_decoded_or_refused(block: bytes) -> None:
    try:
        Decoder().decode(block)
    except BlockError:
        pass


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
BLOCKS = [bytes.fromhex(block) for block, _ in REQUESTS]
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


@given(st.binary(max_size=300))
def test_any_bytes_are_passed_or_refused(data: bytes) -> None:
    try:
        Annotator(b"a").feed(PREFACE + data)
    except BlockError:
        pass
