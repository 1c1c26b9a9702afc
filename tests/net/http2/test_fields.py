"""Header blocks: what is remembered must mean what the library would have decoded; what is written must decode."""

from __future__ import annotations

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.net.http2.budget import Budget
from colonnade.net.http2.fields import BlockReader, BlockWriter, fields, literal
from colonnade.net.http2.frames import HEADERS, header_frames

names = st.sampled_from([b"a", b"content-type", b":path", b"x-long-name-of-a-field", b"grpc-timeout"])
values = st.one_of(st.sampled_from([b"", b"1", b"/", b"v" * 200]), st.binary(max_size=20))
lists = st.lists(st.tuples(names, values), max_size=6)


@given(st.lists(lists, min_size=1, max_size=30), st.booleans(), st.data())
def test_a_remembered_block_means_what_it_says(blocks: list, huffman: bool, data: st.DataObject) -> None:
    encoder, reader = hpack.Encoder(), BlockReader[list](1 << 20)
    for expected in blocks:
        if data.draw(st.integers(0, 9)) == 0:
            encoder.header_table_size = data.draw(st.sampled_from([0, 100, 4096]))
        for _ in range(data.draw(st.integers(1, 3))):
            block = encoder.encode(expected, huffman=huffman)
            found = reader.known(block)
            if found is None:
                found = reader.read(block)
                reader.learn(block, found)
            assert found == expected


def test_a_repeated_block_is_decoded_once() -> None:
    encoder, reader = hpack.Encoder(), BlockReader[list](1 << 20)
    expected = [(b":path", b"/x"), (b"a", b"b")]
    first, second = encoder.encode(expected), encoder.encode(expected)
    reader.learn(first, reader.read(first))
    assert reader.known(first) is None, "it changed the table"
    reader.learn(second, reader.read(second))
    assert reader.known(second) == expected


@given(st.lists(st.tuples(st.from_regex(rb"[a-z-]{1,200}", fullmatch=True), st.binary(max_size=300)), max_size=5))
def test_what_is_written_decodes(headers: list[tuple[bytes, bytes]]) -> None:
    decoder = hpack.Decoder()
    block = b"".join(literal(name, value) for name, value in headers)
    assert [tuple(field) for field in decoder.decode(block, raw=True)] == headers
    assert not decoder.header_table.dynamic_entries


@pytest.mark.parametrize("field", [(b"a", b"b\r\nc: d"), (b"a\n", b"b"), (b"a", b"\0")])
def test_what_would_end_a_field_is_refused(field: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="CR, LF and NUL"):
        fields([field])


def test_fields_of_the_transport_are_left_out() -> None:
    block = fields([(b"Connection", b"x"), (b"Content-Length", b"9"), (b"X-Up", b"1")])
    assert [tuple(field) for field in hpack.Decoder().decode(block, raw=True)] == [(b"x-up", b"1")]


@pytest.mark.parametrize("status", [200, 404, 418])
def test_prefixes(status: int) -> None:
    writer, decoder = BlockWriter(), hpack.Decoder()
    decoded = dict(decoder.decode(writer.prefix(status, b"text/plain"), raw=True))
    assert decoded[b":status"] == b"%d" % status
    assert decoded[b"content-type"] == b"text/plain"
    assert b"date" in decoded
    assert b"date" not in dict(decoder.decode(writer.prefix(status, b"application/grpc"), raw=True))


@given(st.integers(0, 100), st.integers(1, 30))
def test_a_large_block_is_cut_into_frames(size: int, largest: int) -> None:
    block = bytes(range(100))[:size]
    data, joined, kinds = header_frames(7, block, 1, largest), b"", []
    while data:
        length = int.from_bytes(data[:3], "big")
        assert length <= largest
        assert data[5:9] == b"\0\0\0\7"
        kinds.append((data[3], data[4]))
        joined += data[9 : 9 + length]
        data = data[9 + length :]
    assert joined == block
    assert kinds[0][0] == HEADERS
    assert kinds[0][1] & 1
    assert [flags & 4 for _, flags in kinds] == [0] * (len(kinds) - 1) + [4]


def test_a_budget_allows_a_burst_and_a_rate() -> None:
    budget = Budget(3, 10.0)
    assert [budget.spend(0.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.spend(0.1) for _ in range(2)] == [True, False]
    assert sum(budget.spend(100.0) for _ in range(9)) == 3
