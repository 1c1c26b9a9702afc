"""Whatever bytes come, the server answers the next client, and whatever split they come in, it reads the same."""

from __future__ import annotations

import asyncio

import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from colonnade.net import HttpServer, Limits

from .raw import Client, ask, echo

LIMITS = Limits(header_bytes=4096, header_count=50, body_bytes=5000, read_timeout=2.0)
WORDS = st.sampled_from(
    [
        *(b"GET ", b"POST ", b"HEAD ", b"/", b"* ", b"/a?b ", b"HTTP/1.1\r\n", b"HTTP/1.0\r\n"),
        *(b"\r\n", b"\n", b"\r", b"\0", b": ", b" ", b"\xff", b"9" * 21, b"x" * 300),
        *(b"Host: x\r\n", b"Content-Length: 5\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n"),
        *(b"5\r\nabcde\r\n", b"0\r\n\r\n", b"abcde", b"Expect: 100-continue\r\n"),
        *(b"Connection: close\r\n", b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n"),
        *(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"),
    ]
)
SOUP = st.one_of(st.binary(max_size=400), st.lists(WORDS, max_size=25).map(b"".join))


async def _survives(pieces: list[bytes]) -> None:
    server = HttpServer(echo, limits=LIMITS)
    port = await server.listen_tcp("127.0.0.1", 0)
    client = await Client.connect(port)
    try:
        for piece in pieces:
            client.send(piece)
            await asyncio.sleep(0)
        client.writer.write_eof()
        data = await client.rest()
        assert not data or data.startswith(b"HTTP/1.1 ")
        assert b"HTTP/1.1 500" not in data
    except (ConnectionError, OSError):
        pass
    finally:
        await client.close()
    assert (await ask(port, b"GET /alive HTTP/1.1\r\nHost: x\r\n\r\n")).headers[b"x-seen"] == b"GET /alive?"
    await server.drain(1.0)
    assert server.connections == 0
    assert server.active == 0


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(SOUP, min_size=1, max_size=4))
def test_no_bytes_stop_the_server(pieces: list[bytes]) -> None:
    uvloop.run(_survives(pieces))


MESSAGES = st.lists(
    st.tuples(st.sampled_from([b"/", b"/a?b", b"/long" * 20]), st.binary(max_size=60), st.booleans()),
    min_size=1,
    max_size=5,
)


async def _read_in_pieces(messages: list[tuple[bytes, bytes, bool]], cuts: list[int]) -> None:
    server = HttpServer(echo)
    client = await Client.connect(await server.listen_tcp("127.0.0.1", 0))
    data = b""
    for target, body, chunked in messages:
        data += b"POST %b HTTP/1.1\r\nHost: x\r\n" % target
        if chunked:
            data += b"Transfer-Encoding: chunked\r\n\r\n"
            data += (
                b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part) + b"0\r\n\r\n"
            )
        else:
            data += b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    at = 0
    for cut in [*sorted(cut % len(data) for cut in cuts), len(data)]:
        client.send(data[at:cut])
        at = max(at, cut)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    for target, body, _ in messages:
        answer = await client.answer()
        assert answer.headers[b"x-seen"].startswith(b"POST " + target)
        assert answer.body == body
    await client.close()
    await server.drain(1.0)


@settings(max_examples=60, deadline=None)
@given(MESSAGES, st.lists(st.integers(0, 10_000), max_size=8))
def test_the_split_into_reads_does_not_matter(messages: list[tuple[bytes, bytes, bool]], cuts: list[int]) -> None:
    uvloop.run(_read_in_pieces(messages, cuts))
