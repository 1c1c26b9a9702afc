"""Whatever bytes come, in whatever pieces: the server ends the connection or answers, and holds nothing afterwards."""

from __future__ import annotations

import asyncio
from typing import Any

import hpack
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colonnade.net import Exchange, HttpServer
from colonnade.net.http2 import PREFACE, Http2
from colonnade.net.http2.frames import frame

from ..raw import echo

POST = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "x")]

frames = st.builds(
    frame,
    st.integers(0, 11),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]),
    st.one_of(st.binary(max_size=40), st.sampled_from([hpack.Encoder().encode(POST), b"\0\4\0\0\0\1", b"\0" * 8])),
)


class Wire(asyncio.Transport):
    """Where the server's bytes go: the edge of the network."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False

    def write(self, data: Any) -> None:
        assert not self.closed
        self.written += data

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return None

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


def _cut(number: int, data: bytes) -> int:
    """Somewhere in the data behind the preface, which `Connection` hands over whole."""
    return len(PREFACE) + number % (len(data) + 1 - len(PREFACE))


async def _feed(data: bytes, cuts: list[int]) -> tuple[bytes, bool, int]:
    server = HttpServer(echo)
    connection = Http2()(server)
    wire = Wire()
    connection.connection_made(wire)
    at = 0
    for cut in [*sorted(_cut(cut, data) for cut in cuts), len(data)]:
        if cut > at and not wire.closed:
            connection.data_received(data[at:cut])
        at = max(at, cut)
    await asyncio.sleep(0)
    closed = wire.closed
    connection.connection_lost(None)
    assert not server.connections
    return bytes(wire.written), closed, server.active


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(frames, max_size=12), st.lists(st.integers(0, 2000), max_size=5))
async def test_any_frames_in_any_pieces(parts: list[bytes], cuts: list[int]) -> None:
    data = PREFACE + frame(4, 0, 0, b"") + b"".join(parts)
    whole, closed, active = await _feed(data, [])
    _, closed_too, active_too = await _feed(data, cuts)
    assert (active, active_too) == (0, 0)
    assert closed == closed_too
    assert whole


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=300))
async def test_any_bytes(data: bytes) -> None:
    _, _, active = await _feed(PREFACE + data, [])
    assert active == 0


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 100_000), max_size=8), st.integers(0, 70_000))
async def test_a_request_in_any_pieces_has_one_answer(cuts: list[int], size: int) -> None:
    bodies: list[bytes] = []

    def app(exchange: Exchange) -> None:
        exchange.collect(lambda body: (bodies.append(body), exchange.reply(200, b"ok"))[1])

    server = HttpServer(app)
    connection = Http2()(server)
    wire = Wire()
    connection.connection_made(wire)
    body = bytes(range(256)) * 300
    parts = [frame(0, 0, 1, body[at : at + 16384]) for at in range(0, size, 16384)]
    data = PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, hpack.Encoder().encode(POST))
    sent = b"".join(body[at : at + 16384] for at in range(0, size, 16384))
    data += b"".join(parts) + frame(0, 1, 1, b"")
    at = 0
    for cut in [*sorted(_cut(cut, data) for cut in cuts), len(data)]:
        if cut > at:
            connection.data_received(data[at:cut])
            at = cut
    assert bodies == [sent]
    assert not wire.closed
