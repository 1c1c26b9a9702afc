"""What a client may not do, as tables: the connection or the stream ends with the code that RFC 9113 names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from colonnade.net import Limits
from colonnade.net.http2.frames import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
)

from ..conftest import Serve
from ..raw import echo
from .conftest import Connect
from .raw import GET, POST, Client

Act = Callable[[Client], None]


def raw(kind: int, flags: int, stream: int, payload: bytes, length: int | None = None) -> Act:
    size = len(payload) if length is None else length
    head = size.to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return lambda client: client.send_bytes(head + payload)


def frames(make: Callable[[Client], list[Frame]]) -> Act:
    return lambda client: client.send(*make(client))


def _split(client: Client) -> list[Frame]:
    block = client.encoder.encode(GET)
    return [HeadersFrame(1, block[:2], flags=["END_STREAM"]), client.headers(3, GET)]


CONNECTION: dict[str, tuple[Act, int]] = {
    "a frame over the limit": (raw(0, 0, 1, b"", 1 << 20), FRAME_SIZE_ERROR),
    "SETTINGS of a wrong length": (raw(4, 0, 0, b"12345"), FRAME_SIZE_ERROR),
    "SETTINGS on a stream": (raw(4, 0, 1, b""), PROTOCOL_ERROR),
    "an acknowledgement with settings": (raw(4, 1, 0, b"\0\4\0\0\0\1"), FRAME_SIZE_ERROR),
    "a window over the limit in SETTINGS": (raw(4, 0, 0, b"\0\4\xff\xff\xff\xff"), FLOW_CONTROL_ERROR),
    "a frame size under the limit in SETTINGS": (raw(4, 0, 0, b"\0\5\0\0\0\1"), PROTOCOL_ERROR),
    "ENABLE_PUSH of 2": (raw(4, 0, 0, b"\0\2\0\0\0\2"), PROTOCOL_ERROR),
    "PING of a wrong length": (raw(6, 0, 0, b"1234567"), FRAME_SIZE_ERROR),
    "PING on a stream": (raw(6, 0, 1, b"12345678"), PROTOCOL_ERROR),
    "GOAWAY on a stream": (raw(7, 0, 1, b"12345678"), PROTOCOL_ERROR),
    "GOAWAY too short": (raw(7, 0, 0, b"1234567"), FRAME_SIZE_ERROR),
    "PUSH_PROMISE of a client": (raw(5, 4, 1, b"\0\0\0\2"), PROTOCOL_ERROR),
    "DATA on stream 0": (raw(0, 0, 0, b"x"), PROTOCOL_ERROR),
    "HEADERS on stream 0": (raw(1, 5, 0, b""), PROTOCOL_ERROR),
    "HEADERS on an even stream": (frames(lambda client: [client.headers(2, GET)]), PROTOCOL_ERROR),
    "DATA on an idle stream": (frames(lambda client: [client.data(5, b"x")]), PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (frames(lambda client: [RstStreamFrame(5, error_code=8)]), PROTOCOL_ERROR),
    "RST_STREAM of a wrong length": (raw(3, 0, 1, b"123"), FRAME_SIZE_ERROR),
    "WINDOW_UPDATE on an idle stream": (raw(8, 0, 5, b"\0\0\0\1"), PROTOCOL_ERROR),
    "WINDOW_UPDATE by 0": (raw(8, 0, 0, b"\0\0\0\0"), PROTOCOL_ERROR),
    "WINDOW_UPDATE over the limit": (raw(8, 0, 0, b"\x7f\xff\xff\xff"), FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE of a wrong length": (raw(8, 0, 0, b"123"), FRAME_SIZE_ERROR),
    "CONTINUATION without a block": (frames(lambda client: [ContinuationFrame(1, b"")]), PROTOCOL_ERROR),
    "a block that is interrupted": (frames(_split), PROTOCOL_ERROR),
    "a block that cannot be decoded": (raw(1, 5, 1, b"\xff\xff\xff\xff\xff"), COMPRESSION_ERROR),
    "an index that is not in the table": (raw(1, 5, 1, b"\xfe"), COMPRESSION_ERROR),
    "padding longer than the frame": (raw(1, 5 | 8, 1, b"\x20abc"), PROTOCOL_ERROR),
    "a stream that is opened again": (
        frames(lambda client: [client.headers(3, GET), client.headers(1, GET)]),
        STREAM_CLOSED,
    ),
    "HEADERS after the end of the request": (
        frames(lambda client: [client.headers(1, GET), client.headers(1, GET)]),
        STREAM_CLOSED,
    ),
    "a stream that depends on itself": (raw(1, 5 | 0x20, 1, b"\0\0\0\1\x10"), PROTOCOL_ERROR),
}


@pytest.mark.parametrize("case", CONNECTION)
async def test_the_connection_ends(serve2: Serve, connect: Connect, case: str) -> None:
    act, code = CONNECTION[case]
    client = await connect(await serve2(echo))
    act(client)
    assert await client.failure() == code


def request(*changes: tuple[str, str | None], more: list[tuple[str, str]] | None = None) -> list[tuple[str, str]]:
    fields = dict(GET)
    for name, value in changes:
        if value is None:
            del fields[name]
        else:
            fields[name] = value
    return [*fields.items(), *(more or [])]


MALFORMED = {
    "no method": request((":method", None)),
    "no path": request((":path", None)),
    "no scheme": request((":scheme", None)),
    "no authority": request((":authority", None)),
    "an empty path": request((":path", "")),
    "a path with a space": request((":path", "/a b")),
    "a pseudo-header twice": [*GET, (":path", "/b")],
    "an unknown pseudo-header": [(":what", "x"), *GET],
    "a pseudo-header of answers": [(":status", "200"), *GET],
    "a pseudo-header behind a field": [("a", "b"), *GET],
    "an upper-case name": request(more=[("X-Up", "1")]),
    "connection": request(more=[("connection", "close")]),
    "transfer-encoding": request(more=[("transfer-encoding", "chunked")]),
    "upgrade": request(more=[("upgrade", "websocket")]),
    "te other than trailers": request(more=[("te", "gzip")]),
    "a content-length that is no number": request(more=[("content-length", "1x")]),
    "a content-length without a body": request(more=[("content-length", "5")]),
    "a value with CR LF": request(more=[("a", "b\r\nc: d")]),
    "a value with NUL": request(more=[("a", "b\0")]),
    "a name with a space": request(more=[("a b", "c")]),
    "an empty name": request(more=[("", "c")]),
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_request_is_reset_and_the_others_go_on(serve2: Serve, connect: Connect, case: str) -> None:
    client = await connect(await serve2(echo))
    client.send(client.headers(1, MALFORMED[case]), client.headers(3, GET))
    reset = await client.until(RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (1, PROTOCOL_ERROR)
    head, _, _ = await client.answer(3)
    assert head[b":status"] == b"200"


STREAM: dict[str, tuple[Act, int]] = {
    "DATA after the end": (frames(lambda client: [client.headers(1, GET), client.data(1, b"x")]), STREAM_CLOSED),
    "more than announced": (
        frames(lambda client: [client.headers(1, [*POST, ("content-length", "2")], False), client.data(1, b"abc")]),
        PROTOCOL_ERROR,
    ),
    "less than announced": (
        frames(lambda client: [client.headers(1, [*POST, ("content-length", "5")], False), client.data(1, b"abc")]),
        PROTOCOL_ERROR,
    ),
    "WINDOW_UPDATE by 0": (
        frames(lambda client: [client.headers(1, POST, False), WindowUpdateFrame(1, window_increment=0)]),
        PROTOCOL_ERROR,
    ),
    "PRIORITY of a wrong length": (raw(2, 0, 1, b"1234"), FRAME_SIZE_ERROR),
    "PRIORITY on itself": (frames(lambda client: [PriorityFrame(1, depends_on=1)]), PROTOCOL_ERROR),
    "trailers that do not end": (
        frames(lambda client: [client.headers(1, POST, False), client.headers(1, [("a", "b")], False)]),
        PROTOCOL_ERROR,
    ),
    "a pseudo-header in trailers": (
        frames(lambda client: [client.headers(1, POST, False), client.headers(1, [(":path", "/")])]),
        PROTOCOL_ERROR,
    ),
}


@pytest.mark.parametrize("case", STREAM)
async def test_the_stream_ends(serve2: Serve, connect: Connect, case: str) -> None:
    act, code = STREAM[case]
    client = await connect(await serve2(echo))
    act(client)
    reset = await client.until(RstStreamFrame, lambda frame: frame.error_code != 0)
    assert (reset.stream_id, reset.error_code) == (1, code)
    assert await client.alive()


ACCEPTED: dict[str, Act] = {
    "unknown frames": raw(0x77, 0xFF, 1, b"anything"),
    "unknown settings": raw(4, 0, 0, b"\x77\x77\0\0\0\1"),
    "PRIORITY on an idle stream": frames(lambda client: [PriorityFrame(9, depends_on=3)]),
    "RST_STREAM on a stream that has ended": frames(
        lambda client: [client.headers(1, GET), RstStreamFrame(1, error_code=8)]
    ),
    "WINDOW_UPDATE on a stream that has ended": frames(
        lambda client: [client.headers(1, GET), WindowUpdateFrame(1, window_increment=1)]
    ),
    "an acknowledgement that nobody asked for": frames(lambda client: [SettingsFrame(flags=["ACK"])]),
    "a PING that is acknowledged": frames(lambda client: [PingFrame(0, b"12345678", flags=["ACK"])]),
}


@pytest.mark.parametrize("case", ACCEPTED)
async def test_what_is_allowed(serve2: Serve, connect: Connect, case: str) -> None:
    client = await connect(await serve2(echo))
    ACCEPTED[case](client)
    assert await client.alive()
    client.send(client.headers(11, GET))
    head, _, _ = await client.answer(11)
    assert head[b":status"] == b"200"


async def test_a_window_before_the_body(serve2: Serve, connect: Connect) -> None:
    """As gRPC's library sends it: what it allows counts, and what is not allowed is refused."""
    client = await connect(await serve2(echo), {SettingsFrame.INITIAL_WINDOW_SIZE: 3})
    allowed = WindowUpdateFrame(1, window_increment=2)
    client.send(client.headers(1, POST, False), allowed, client.data(1, b"hello!"))
    part = await client.until(DataFrame)
    assert part.data == b"hello"
    client.send(WindowUpdateFrame(1, window_increment=1))
    assert (await client.until(DataFrame)).data == b"!"


@pytest.mark.parametrize(("increment", "code"), [(0, PROTOCOL_ERROR), (2**31 - 1, FLOW_CONTROL_ERROR)])
async def test_a_window_before_the_body_that_is_not_allowed(
    serve2: Serve, connect: Connect, increment: int, code: int
) -> None:
    client = await connect(await serve2(echo))
    client.send(client.headers(1, POST, False))
    raw(8, 0, 1, increment.to_bytes(4, "big"))(client)
    client.send(client.data(1, b"x"))
    reset = await client.until(RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (1, code)
    assert await client.alive()


async def test_padding_priority_and_continuation(serve2: Serve, connect: Connect) -> None:
    client = await connect(await serve2(echo))
    block = client.encoder.encode([*POST, ("x-long", "v" * 300)])
    first = HeadersFrame(1, block[:7], flags=["PADDED", "PRIORITY"], pad_length=9, depends_on=0)
    data = client.data(1, b"hello")
    data.flags.add("PADDED")
    data.pad_length = 200
    client.send(first, ContinuationFrame(1, block[7:50]), ContinuationFrame(1, block[50:], flags=["END_HEADERS"]), data)
    head, body, _ = await client.answer(1)
    assert (head[b"x-seen"], body) == (b"POST /a?", b"hello")


def _settings(client: Client) -> None:
    client.send(*[SettingsFrame()] * 3000)


def _pings(client: Client) -> None:
    client.send(*[PingFrame(0, b"12345678")] * 3000)


def _empty_data(client: Client) -> None:
    client.send(client.headers(1, POST, False), *[client.data(1, b"", False)] * 3000)


def _rapid_resets(client: Client) -> None:
    for stream in range(1, 12000, 2):
        client.send(client.headers(stream, POST, False), RstStreamFrame(stream, error_code=8))


def _continuations(client: Client) -> None:
    client.send(HeadersFrame(1, b"\0", flags=[]), *[ContinuationFrame(1, b"\0" * 16000)] * 20)


def _bomb(client: Client) -> None:
    """One entry of the table, named again and again."""
    client.send(HeadersFrame(1, client.encoder.encode([*GET, ("x", "v" * 3900)]), flags=["END_HEADERS", "END_STREAM"]))
    client.send(HeadersFrame(3, b"\xbe" * 200, flags=["END_HEADERS", "END_STREAM"]))


@pytest.mark.parametrize("flood", [_settings, _pings, _empty_data, _rapid_resets, _continuations, _bomb])
async def test_floods(serve2: Serve, connect: Connect, flood: Act) -> None:
    client = await connect(await serve2(echo))
    flood(client)
    assert await client.failure() == ENHANCE_YOUR_CALM


async def test_bounds_of_a_head(serve2: Serve, connect: Connect) -> None:
    port = await serve2(echo, limits=Limits(header_bytes=1000, header_count=10, target_bytes=50, body_bytes=100))
    client = await connect(port)
    client.send(
        client.headers(1, [*GET, ("a", "b" * 1000)]),
        client.headers(3, [*GET, *((f"a{i}", "b") for i in range(10))]),
        client.headers(5, request((":path", "/" + "a" * 50))),
        client.headers(7, [*POST, ("content-length", "101")], False),
        client.headers(9, POST, False),
        client.data(9, b"x" * 60, False),
        client.data(9, b"x" * 60, False),
        client.headers(11, POST, False),
        client.data(11, b"x" * 101),
    )
    for stream, status in ((1, b"431"), (3, b"431"), (5, b"414"), (7, b"413"), (9, b"413"), (11, b"413")):
        head, body, _ = await client.answer(stream)
        assert head[b":status"] == status, stream
        assert b"error" in body
    assert await client.alive()
