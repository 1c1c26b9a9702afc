"""Whatever bytes come, both ends live on; and whatever pieces frames come in, they are read the same."""

from __future__ import annotations

import asyncio
import tempfile
from itertools import pairwise

import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colonnade.net import Address, HttpServer, Limits, mux
from colonnade.net.mux import MuxUpstream
from colonnade.net.mux.frames import HEADER, PREFACE, frame, pack_texts
from colonnade.net.mux.heads import pack_answer, pack_request
from colonnade.net.mux.link import MuxLink

from ..raw import until
from .conftest import Recorder
from .test_exchanges import echo

HEADS = st.sampled_from(
    [
        pack_request(b"POST", b"/", [(b"host", b"a")]),
        pack_request(b"HEAD", b"/", []),
        pack_answer(200, b"text/plain", (), ()),
        pack_answer(204, b"", (), ((b"a", b"b"),)),
        pack_texts([b"POST", b"no-path"]),
        pack_texts([b"POST", b"/", b"host", b"a", b"host", b"b"]),
        pack_texts([b"", b""]),
        pack_texts([b"200", b"9"]),
    ]
)
RESTS = st.one_of(HEADS, st.binary(max_size=40), st.just(b"\xff" * 8), st.just(b"\0\0\0\0\0\0\0\5"))
FRAMES = st.builds(
    lambda kind, stream, rest, head, cut: frame(kind, stream, rest, head)[: cut or None],
    st.integers(0, 12),
    st.integers(0, 3),
    RESTS,
    st.integers(0, 2),
    st.sampled_from([0, 0, 0, 0, 0, 0, 3, 13]),
)
SOUP = st.one_of(st.binary(max_size=100), st.lists(FRAMES, max_size=12).map(b"".join))


async def _server_survives(soup: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s"
        server = HttpServer(echo, limits=Limits(body_bytes=5000), dialects=[(PREFACE, mux.MuxConnection)])
        await server.listen_unix(path)
        _, writer = await asyncio.open_unix_connection(path)
        writer.write(PREFACE + frame(9, 0, pack_request(b"POST", b"/", []), 0) + soup)
        writer.write_eof()
        writer.close()
        upstream = MuxUpstream(Address(path=path))
        receiver = Recorder()
        upstream.send(b"POST", upstream.head(b"POST", b"/", [], 2), b"", b"ok", receiver=receiver)
        assert (await receiver.done()).body == b"ok"
        upstream.close()
        await server.drain(1.0)
        assert (server.connections, server.active) == (0, 0)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SOUP)
def test_no_bytes_stop_the_server(soup: bytes) -> None:
    uvloop.run(_server_survives(soup))


async def _client_survives(soup: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/s"

        async def peer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(len(PREFACE) + HEADER.size)
            writer.write(frame(9, 0, pack_answer(200, b"", (), ()), 0) + soup)
            writer.close()

        server = await asyncio.start_unix_server(peer, path)
        upstream = MuxUpstream(Address(path=path))
        receivers = [Recorder() for _ in range(3)]
        for receiver in receivers:
            upstream.send(b"POST", upstream.head(b"POST", b"/", [], 2), b"id", b"ok", receiver=receiver)
        await until(lambda: all(receiver.over == 1 for receiver in receivers))
        await until(lambda: upstream.open == 0)
        server.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SOUP)
def test_no_bytes_stop_the_client(soup: bytes) -> None:
    uvloop.run(_client_survives(soup))


class _Frames(MuxLink):
    """A link that keeps the frames it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[int, int, int, bytes, bytes]] = []

    def take(self, kind: int, stream: int, head: int, identity: bytes, rest: bytes) -> None:
        self.taken.append((kind, stream, head, identity, rest))


SENT = st.lists(
    st.tuples(
        st.integers(0, 255),
        st.integers(0, 2**32 - 1),
        st.integers(0, 2**16 - 1),
        st.binary(max_size=20),
        st.binary(max_size=300),
    ),
    max_size=8,
)


async def _read_in_pieces(sent: list[tuple[int, int, int, bytes, bytes]], cuts: list[int]) -> None:
    data = b"".join(
        HEADER.pack(len(identity) + len(rest), stream, kind, len(identity), head) + identity + rest
        for kind, stream, head, identity, rest in sent
    )
    link = _Frames()
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, stop in pairwise(edges):
        link.data_received(data[begin:stop])
    assert link.taken == sent


@settings(max_examples=200, deadline=None)
@given(SENT, st.lists(st.integers(0, 5000), max_size=12))
def test_frames_are_read_the_same_in_any_pieces(
    sent: list[tuple[int, int, int, bytes, bytes]], cuts: list[int]
) -> None:
    asyncio.run(_read_in_pieces(sent, cuts))
