"""Messages, codings and statuses of gRPC below the messages."""

from __future__ import annotations

import gzip
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonnade.errors import InvalidInput, TooLarge
from colonnade.wire import grpc_framing as framing
from colonnade.wire.grpc_framing import Code, MessageReader, MessageSizes, UnknownCoding

messages = st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@given(messages, st.lists(st.integers(0, 500), max_size=10))
def test_streams_in_any_pieces(sent: list[tuple[bytes, bool]], cuts: list[int]) -> None:
    data = b"".join(bytes((flag,)) + len(one).to_bytes(4, "big") + one for one, flag in sent)
    reader, sizes = MessageReader(40), MessageSizes(40)
    found = []
    for piece in pieces(data, cuts):
        found += reader.feed(piece)
        sizes.feed(piece)
    assert found == sent
    assert reader.complete


@given(st.integers(0, 60), messages, st.lists(st.integers(0, 500), max_size=10))
def test_a_length_over_the_limit_is_seen_wherever_it_is_cut(
    size: int, before: list[tuple[bytes, bool]], cuts: list[int]
) -> None:
    data = b"".join(framing.frame(one) for one, _ in before) + framing.frame(b"x" * size)
    sizes, reader = MessageSizes(50), MessageReader(50)
    refused = []
    for feed in (sizes.feed, lambda piece: list(reader.feed(piece))):
        try:
            for piece in pieces(data, cuts):
                feed(piece)
        except TooLarge:
            refused.append(feed)
    assert len(refused) == (2 if size > 50 else 0)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
@given(st.binary(max_size=2000))
def test_codings_round(coding: bytes, message: bytes) -> None:
    packed, flag = framing.whole(framing.deflated(message, coding), 1 << 20)
    assert flag
    assert framing.inflated(packed, coding, 1 << 20) == message
    unpack = gzip.decompress if coding == b"gzip" else zlib.decompress
    assert unpack(packed) == message


@pytest.mark.parametrize(
    ("message", "coding", "error"),
    [
        (b"x", b"br", UnknownCoding),
        (b"x", b"identity", UnknownCoding),
        (b"not gzip", b"gzip", InvalidInput),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], b"gzip", InvalidInput),
        (gzip.compress(b"x" * 2000, mtime=0), b"gzip", TooLarge),
    ],
)
def test_what_cannot_be_unpacked(message: bytes, coding: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        framing.inflated(message, coding, 1000)


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0", b"\2\0\0\0\0", b"\0\0\0\0\1", b"\0\0\0\0\0\0"])
def test_a_body_that_is_not_one_message(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        framing.whole(body, 100)


@pytest.mark.parametrize(
    ("content_type", "is_grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc;charset=x", True),
        (b"application/grpc-web", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_content_types(content_type: bytes, is_grpc: bool) -> None:
    assert framing.is_grpc(content_type) is is_grpc


@given(st.text())
def test_messages_of_a_status_survive(text: str) -> None:
    (_, code), (_, message) = framing.trailers(Code.INTERNAL, text)
    assert framing.code_of(code) is Code.INTERNAL
    assert framing.message_of(message) == text.encode(errors="replace").decode()
    assert message.isascii()
    assert not {*message} & {*b"\r\n\0"}


@pytest.mark.parametrize("value", [None, b"", b"x", b"99"])
def test_a_status_that_is_none(value: bytes | None) -> None:
    assert framing.code_of(value) is Code.UNKNOWN


def test_the_beginning_of_a_message() -> None:
    message = framing.frame(b"name" + b"x" * 100)
    assert framing.beginning(message[:4], b"identity", 10) is None
    assert framing.beginning(message[:14], b"identity", 10) is None
    assert framing.beginning(message[:15], b"identity", 10) == b"namexxxxxx"
    packed = framing.deflated(b"name" + b"x" * 10_000, b"gzip")
    assert framing.beginning(packed, b"gzip", 100) == b"name" + b"x" * 96
    assert framing.beginning(packed, b"br", 100) == b""
