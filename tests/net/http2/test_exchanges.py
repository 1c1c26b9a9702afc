"""Requests over HTTP/2 with real clients: what an application sees and sends, and how a connection ends."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from colonnade.errors import InvalidInput
from colonnade.net import Exchange, HttpServer, Limits
from colonnade.net.http2.frames import CANCEL, NO_ERROR, REFUSED_STREAM

from ..conftest import Serve
from ..raw import DEADLINE, echo, until
from .conftest import Connect
from .raw import GET, POST, PREFACE, Client


def h2(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(http1=False, http2=True, base_url=f"http://127.0.0.1:{port}", trust_env=False)


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 70_000, 3_000_000])
async def test_bodies_of_any_size(serve2: Serve, size: int) -> None:
    async with h2(await serve2(echo)) as client:
        body = bytes(range(256)) * (size // 256 + 1)
        answer = await client.post("/a?q=1", content=body[:size])
        assert answer.http_version == "HTTP/2"
        assert answer.content == body[:size]
        assert answer.headers["content-length"] == str(size)
        assert answer.headers["x-seen"] == "POST /a?q=1"
        assert "date" in answer.headers


async def test_streamed_bodies(serve2: Serve) -> None:
    async def parts() -> Any:
        for i in range(200):
            yield b"%d," % i * 100

    def app(exchange: Exchange) -> None:
        exchange.start(200, content_type=b"text/plain")
        exchange.stream(exchange.write, exchange.finish)

    async with h2(await serve2(app)) as client:
        answer = await client.post("/", content=parts())
        assert answer.content == b"".join([b"%d," % i * 100 for i in range(200)])


async def test_many_at_once_are_told_apart(serve2: Serve) -> None:
    async with h2(await serve2(echo)) as client:
        answers = await asyncio.gather(*(client.post("/", content=b"%d" % i * 500) for i in range(200)))
    assert [answer.content for answer in answers] == [b"%d" % i * 500 for i in range(200)]


async def test_head_options_and_answers_without_a_body(serve2: Serve) -> None:
    def app(exchange: Exchange) -> None:
        if exchange.method == b"OPTIONS":
            exchange.reply(204, headers=[(b"allow", b"GET")])
        elif exchange.path == b"/parts":
            exchange.start(200, length=5)
            exchange.write(b"12345")
            exchange.finish()
        else:
            exchange.reply(200, b"12345")

    async with h2(await serve2(app)) as client:
        for path in ("/", "/parts"):
            answer = await client.head(path)
            assert (answer.content, answer.headers["content-length"]) == (b"", "5")
        answer = await client.request("OPTIONS", "/")
        assert (answer.status_code, answer.headers["allow"]) == (204, "GET")


async def test_trailers_behind_whole_and_streamed_answers(serve2: Serve, connect: Connect) -> None:
    def app(exchange: Exchange) -> None:
        trailers = [(b"grpc-status", b"0"), (b"x", b"y" * 20000 if exchange.path == b"/long" else b"y")]
        if exchange.path == b"/parts":
            exchange.start(200)
            exchange.write(b"a")
            exchange.finish(trailers)
        else:
            exchange.reply(200, b"a" if exchange.path != b"/empty" else b"", trailers=trailers)

    client = await connect(await serve2(app))
    for stream, path in enumerate(("/", "/parts", "/empty", "/long")):
        client.send(client.headers(2 * stream + 1, [*GET[:2], (":path", path), GET[3]]))
        _, body, trailers = await client.answer(2 * stream + 1)
        assert body == (b"" if path == "/empty" else b"a")
        assert trailers[b"grpc-status"] == b"0"


async def test_trailers_of_a_request_end_its_body(serve2: Serve, connect: Connect) -> None:
    client = await connect(await serve2(echo))
    client.send(client.headers(1, POST, False), client.data(1, b"abc", False), client.headers(1, [("x-sum", "1")]))
    _, body, _ = await client.answer(1)
    assert body == b"abc"


async def test_expect_continue(serve2: Serve, connect: Connect) -> None:
    client = await connect(await serve2(echo))
    client.send(client.headers(1, [*POST, ("expect", "100-continue")], False))
    interim = await client.until(HeadersFrame)
    assert interim.fields == {b":status": b"100"}
    client.send(client.data(1, b"abc"))
    _, body, _ = await client.answer(1)
    assert body == b"abc"


async def test_errors_of_the_application(serve2: Serve, connect: Connect) -> None:
    def app(exchange: Exchange) -> None:
        if exchange.path == b"/late":
            exchange.start(200)
            exchange.write(b"half")
        raise InvalidInput("no") if exchange.path == b"/known" else RuntimeError("secret")

    port = await serve2(app)
    async with h2(port) as client:
        known, unknown = await client.get("/known"), await client.get("/unknown")
        assert (known.status_code, known.json()) == (400, {"error": "no"})
        assert unknown.status_code == 500
        assert "secret" not in unknown.text
    raw = await connect(port)
    raw.send(raw.headers(1, [*GET[:2], (":path", "/late"), GET[3]]))
    assert (await raw.until(RstStreamFrame)).stream_id == 1
    assert await raw.alive()


async def test_a_reset_cancels_the_exchange_and_no_other(serve2: Serve, connect: Connect) -> None:
    seen: list[Exchange] = []
    left: list[int] = []

    def app(exchange: Exchange) -> None:
        seen.append(exchange)
        exchange.on_disconnect(lambda: left.append(len(seen)))

    client = await connect(await serve2(app))
    client.send(client.headers(1, GET), client.headers(3, GET), RstStreamFrame(1, error_code=CANCEL))
    await until(lambda: bool(left))
    seen[0].reply(200, b"nobody waits")
    seen[1].reply(200, b"for 3")
    _, body, _ = await client.answer(3)
    assert body == b"for 3"
    assert left == [2]


async def test_a_client_that_leaves_takes_its_requests_with_it(serve2: Serve, connect: Connect) -> None:
    left: list[Exchange] = []
    port = await serve2(lambda exchange: exchange.on_disconnect(lambda: left.append(exchange)))
    client = await connect(port)
    client.send(client.headers(1, GET), client.headers(3, POST, False))
    assert await client.alive()
    await client.close()
    await until(lambda: len(left) == 2)


async def test_an_answer_before_the_end_of_the_request(serve2: Serve, connect: Connect) -> None:
    client = await connect(await serve2(lambda exchange: exchange.reply(403, b"no")))
    client.send(client.headers(1, POST, False))
    head, body, _ = await client.answer(1)
    assert (head[b":status"], body) == (b"403", b"no")
    reset = await client.until(RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (1, NO_ERROR)
    client.send(client.data(1, b"was on its way"))
    assert await client.alive()


async def test_the_answer_waits_for_the_clients_window(serve2: Serve, connect: Connect) -> None:
    """Never a byte more than the client takes; the other streams go on; a changed setting counts for open streams."""
    body = bytes(range(256)) * 1000
    client = await connect(
        await serve2(lambda exchange: exchange.reply(200, body if exchange.path == b"/a" else b"small")),
        {SettingsFrame.INITIAL_WINDOW_SIZE: 1000},
    )
    client.send(client.headers(1, GET))
    first = await client.until(DataFrame)
    assert first.data == body[:1000]
    client.send(client.headers(3, [*GET[:2], (":path", "/small"), GET[3]]))
    _, small, _ = await client.answer(3)
    assert small == b"small"
    client.send(SettingsFrame(settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1500}))
    second = await client.until(DataFrame)
    assert second.data == body[1000:1500]
    client.send(WindowUpdateFrame(1, window_increment=len(body)), WindowUpdateFrame(0, window_increment=len(body)))
    _, rest, _ = await client.answer(1)
    assert rest == body[1500:]


async def test_back_pressure_reaches_the_application(serve2: Serve, connect: Connect) -> None:
    told: list[str] = []
    drained = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    def app(exchange: Exchange) -> None:
        exchange.on_writable(lambda: told.append("pause"), lambda: told.append("resume"))
        exchange.start(200)
        exchange.write(b"x" * 500_000)

        async def finish() -> None:
            await exchange.drain()
            drained.set()
            exchange.finish()

        tasks.add(asyncio.create_task(finish()))

    client = await connect(await serve2(app))
    client.send(client.headers(1, GET))
    await until(lambda: told == ["pause"])
    assert not drained.is_set()
    _, body, _ = await client.answer(1)
    assert len(body) == 500_000
    assert told == ["pause", "resume"]


async def test_back_pressure_on_a_body_that_nobody_takes(serve2: Serve, connect: Connect) -> None:
    """The client gets no more credit until the application asks for the body, and other streams go on."""
    seen: list[Exchange] = []
    client = await connect(await serve2(seen.append))
    client.send(client.headers(1, POST, False))
    settings = await client.until(SettingsFrame)
    window = settings.settings[SettingsFrame.INITIAL_WINDOW_SIZE]
    for _ in range(window // 16384):
        client.send(client.data(1, b"x" * 16384, False))
    assert await client.alive()
    assert not any(isinstance(frame, WindowUpdateFrame) and frame.stream_id == 1 for frame in client.frames)
    sizes: list[int] = []
    seen[0].collect(lambda body: (sizes.append(len(body)), seen[0].reply(200, b"done"))[1])
    update = await client.until(WindowUpdateFrame, lambda frame: frame.stream_id == 1)
    assert update.window_increment == window
    client.send(client.data(1, b"y"))
    assert (await client.answer(1))[1] == b"done"
    assert sizes == [window + 1]


async def test_more_streams_than_are_taken(serve2: Serve, connect: Connect) -> None:
    seen: list[Exchange] = []
    client = await connect(await serve2(seen.append))
    settings = await client.until(SettingsFrame)
    most = settings.settings[SettingsFrame.MAX_CONCURRENT_STREAMS]
    client.send(*[client.headers(2 * i + 1, GET) for i in range(most + 1)])
    reset = await client.until(RstStreamFrame)
    assert (reset.stream_id, reset.error_code) == (2 * most + 1, REFUSED_STREAM)
    assert len(seen) == most
    for exchange in seen:
        exchange.reply(200, b"")
    client.send(client.headers(2 * most + 3, GET))
    await until(lambda: len(seen) == most + 1)


async def test_drain_ends_what_is_asked_and_takes_what_is_on_its_way(
    serve2: Serve, servers: list[HttpServer], connect: Connect
) -> None:
    seen: list[Exchange] = []
    client = await connect(await serve2(seen.append))
    client.send(client.headers(1, GET))
    await until(lambda: len(seen) == 1)
    ending = asyncio.create_task(servers[0].drain(DEADLINE))
    notice = await client.until(GoAwayFrame)
    assert notice.last_stream_id == 2**31 - 1
    client.send(client.headers(3, GET))
    await until(lambda: len(seen) == 2)
    final = await client.until(GoAwayFrame)
    assert (final.last_stream_id, final.error_code) == (3, NO_ERROR)
    client.send(client.headers(5, GET))
    for exchange in seen:
        exchange.reply(200, b"last")
    assert (await client.answer(1))[1] == b"last"
    assert (await client.answer(3))[1] == b"last"
    assert await client.failure() == NO_ERROR
    await ending
    assert len(seen) == 2
    assert servers[0].active == 0


async def test_stalls_are_cut(serve2: Serve, servers: list[HttpServer], connect: Connect) -> None:
    limits = Limits(read_timeout=0.05, idle_timeout=0.05, body_rate=1000)
    port = await serve2(echo, limits=limits)
    idle = await connect(port)
    assert await idle.failure() == NO_ERROR
    half = await connect(port)
    half.send_bytes(b"\0\0\x20\1\5\0\0\0\1half a frame")
    assert await half.failure() is not None
    slow = await connect(port)
    slow.send(slow.headers(1, POST, False))
    assert (await slow.answer(1))[0][b":status"] == b"408"
    mute = Client(*await asyncio.open_connection("127.0.0.1", port))
    mute.send_bytes(PREFACE)
    await mute.rest()
    await mute.close()
    unread = await connect(port, {SettingsFrame.INITIAL_WINDOW_SIZE: 1})
    unread.send(unread.headers(1, POST, False), unread.data(1, b"xx"))
    assert (await unread.until(RstStreamFrame)).error_code == CANCEL
    await until(lambda: not servers[0].connections)


async def test_a_stream_both_ways_may_rest(serve2: Serve, connect: Connect) -> None:
    """Its application takes parts as they come and bounds them: neither the rate nor the size of a body counts."""

    def app(exchange: Exchange) -> None:
        exchange.bounded = False
        exchange.start(200)
        exchange.stream(exchange.write, exchange.finish)

    client = await connect(await serve2(app, limits=Limits(read_timeout=0.02, body_bytes=5)))
    client.send(client.headers(1, POST, False))
    for _ in range(3):
        client.send(client.data(1, b"part", False))
        assert (await client.until(DataFrame)).data == b"part"
        await asyncio.sleep(0.05)  # longer than a body that is waited for may rest
    client.send(client.data(1, b""))
    await client.until(DataFrame, lambda frame: "END_STREAM" in frame.flags)


async def test_http1_goes_on_beside_it(serve2: Serve) -> None:
    port = await serve2(echo)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        answers = await asyncio.gather(*(client.post("/", content=b"%d" % i) for i in range(20)))
    assert {answer.http_version for answer in answers} == {"HTTP/1.1"}
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for byte in b"PUT / HTTP/1.1\r\nhost: x\r\n\r\n":  # begins as the preface does, byte by byte
        writer.write(bytes((byte,)))
        await asyncio.sleep(0)
    async with asyncio.timeout(DEADLINE):
        assert b" 200 " in await reader.readline()
    writer.close()
