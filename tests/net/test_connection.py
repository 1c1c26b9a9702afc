"""Order, slowness, back-pressure and ends of connections."""

from __future__ import annotations

import asyncio
import json

import pytest

from colonnade.net import Exchange, HttpServer, Limits

from .conftest import Serve
from .raw import Client, echo, until

H = b"Host: x\r\n"
QUICK = Limits(read_timeout=0.15, idle_timeout=0.15)


def get(path: bytes) -> bytes:
    return b"GET %b HTTP/1.1\r\n" % path + H + b"\r\n"


class Held:
    """An application that keeps exchanges until the test answers them."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.left: list[bytes] = []

    def __call__(self, exchange: Exchange) -> None:
        self.exchanges.append(exchange)
        exchange.on_disconnect(lambda: self.left.append(exchange.path))


async def test_pipelined_answers_keep_their_order(serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        if exchange.path.endswith(b"later"):
            asyncio.get_running_loop().call_later(0.01, echo, exchange)
        else:
            echo(exchange)

    client = await Client.connect(await serve(app))
    paths = [b"/%d%b" % (index, b"later" if index % 3 == 0 else b"") for index in range(60)]
    client.send(b"".join(b"POST %b HTTP/1.1\r\n" % path + H + b"Content-Length: 3\r\n\r\nabc" for path in paths))
    for path in paths:
        answer = await client.answer()
        assert (answer.headers[b"x-seen"], answer.body) == (b"POST %b?" % path, b"abc")
    await client.close()


async def test_answers_of_one_read_go_out_together(serve: Serve) -> None:
    client = await Client.connect(await serve(echo))
    client.send(get(b"/") * 50)
    data = b""
    reads = 0
    while data.count(b"HTTP/1.1 200") < 50:
        async with asyncio.timeout(5):
            data += await client.reader.read(1 << 20)
        reads += 1
    assert reads <= 2
    await client.close()


async def test_one_exchange_of_a_connection_is_with_the_application_at_a_time(
    serve: Serve, servers: list[HttpServer]
) -> None:
    app = Held()
    client = await Client.connect(await serve(app))
    client.send(get(b"/1") + get(b"/2") + get(b"/3"))
    for count in (1, 2, 3):
        await until(lambda count=count: len(app.exchanges) == count)
        assert servers[0].active == 1
        app.exchanges[-1].reply(200, b"%d" % count)
        assert (await client.answer()).body == b"%d" % count
    assert servers[0].active == 0
    await client.close()


async def test_many_pipelined_requests_do_not_recurse(serve: Serve) -> None:
    app = Held()
    client = await Client.connect(
        await serve(lambda exchange: app(exchange) if exchange.path == b"/held" else echo(exchange))
    )
    client.send(get(b"/held") + get(b"/") * 3000)
    await until(lambda: len(app.exchanges) == 1)
    app.exchanges[0].reply(200)
    for _ in range(3001):
        assert (await client.answer()).status == 200
    await client.close()


async def test_many_declined_upgrades_do_not_recurse(serve: Serve) -> None:
    client = await Client.connect(await serve(echo))
    client.send((b"GET / HTTP/1.1\r\n" + H + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n") * 2000)
    for _ in range(2000):
        assert (await client.answer()).status == 200
    await client.close()


async def test_a_refusal_waits_for_the_answers_before_it(serve: Serve) -> None:
    app = Held()
    client = await Client.connect(await serve(app))
    client.send(get(b"/1") + b"BROKEN\r\n\r\n")
    await until(lambda: len(app.exchanges) == 1)
    app.exchanges[0].reply(200, b"first")
    assert (await client.answer()).body == b"first"
    assert (await client.answer()).status == 400
    await client.close()


async def test_nothing_is_served_behind_connection_close(serve: Serve) -> None:
    seen: list[bytes] = []

    def app(exchange: Exchange) -> None:
        seen.append(exchange.path)
        echo(exchange)

    client = await Client.connect(await serve(app))
    client.send(b"GET /1 HTTP/1.1\r\n" + H + b"Connection: close\r\n\r\n" + get(b"/2"))
    assert (await client.answer()).headers[b"connection"] == b"close"
    assert await client.rest() == b""
    assert seen == [b"/1"]
    await client.close()


SLOW = [
    ("half a request line", b"GET / HT"),
    ("half a head", b"GET / HTTP/1.1\r\nHost: x\r\nA: "),
    ("half a body", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 10\r\n\r\nabc"),
    ("half a chunk", b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab"),
]


@pytest.mark.parametrize("sent", [case[1] for case in SLOW], ids=[case[0] for case in SLOW])
async def test_a_request_that_does_not_go_on_is_cut(serve: Serve, sent: bytes) -> None:
    client = await Client.connect(await serve(echo, limits=QUICK))
    client.send(sent)
    answer = await client.answer()
    assert answer.status == 408
    assert "error" in json.loads(answer.body)
    assert await client.rest() == b""
    await client.close()


@pytest.mark.parametrize(
    "start", [b"GET / HTTP/1.1\r\nHost: x\r\nA: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n"]
)
async def test_a_drip_of_bytes_does_not_hold_a_connection(serve: Serve, start: bytes) -> None:
    client = await Client.connect(await serve(echo, limits=QUICK))
    client.send(start)
    for _ in range(500):
        client.send(b"a")
        await asyncio.sleep(0.01)
        if client.reader.at_eof() or client.reader._buffer:  # type: ignore[attr-defined]
            break
    assert (await client.answer()).status == 408
    await client.close()


async def test_idle_connections_are_closed(serve: Serve, servers: list[HttpServer]) -> None:
    client = await Client.connect(await serve(echo, limits=QUICK))
    client.send(get(b"/"))
    assert (await client.answer()).status == 200
    assert await client.rest() == b""
    assert servers[0].connections == 0
    await client.close()


async def test_a_slow_application_is_not_a_slow_client(serve: Serve) -> None:
    app = Held()
    client = await Client.connect(await serve(app, limits=QUICK))
    client.send(get(b"/"))
    await until(lambda: bool(app.exchanges))
    await asyncio.sleep(QUICK.read_timeout * 3)
    app.exchanges[0].reply(200, b"slow")
    assert (await client.answer()).body == b"slow"
    await client.close()


async def test_large_bodies_pass_whole(serve: Serve) -> None:
    body = bytes(range(256)) * 40_000
    client = await Client.connect(await serve(echo))
    client.send(b"POST / HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert (await client.answer()).body == body
    chunks = b"".join(b"%x\r\n%b\r\n" % (7, body[at : at + 7]) for at in range(0, 70_000, 7))
    client.send(b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert (await client.answer()).body == body[:70_000]
    await client.close()


@pytest.mark.parametrize("part", [1_000, 100_000])
async def test_a_client_that_does_not_read_stops_the_writer(serve: Serve, part: int) -> None:
    written = 0
    paused: list[bool] = []

    def app(exchange: Exchange) -> None:
        def resume() -> None:
            paused.clear()
            more()

        def more() -> None:
            nonlocal written
            while written < 8_000_000 and not paused:
                exchange.write(b"x" * part)
                written += part
            if written >= 8_000_000:
                exchange.finish()

        exchange.start(200)
        exchange.on_writable(lambda: paused.append(True), resume)
        more()

    client = await Client.connect(await serve(app), receive_buffer=8192)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(get(b"/"))
    await until(lambda: bool(paused))
    assert written < 8_000_000
    client.writer.transport.resume_reading()  # type: ignore[attr-defined]
    assert len((await client.answer()).body) == 8_000_000
    await client.close()


async def test_a_client_that_never_reads_is_cut(serve: Serve, servers: list[HttpServer]) -> None:
    gone: list[bool] = []

    def app(exchange: Exchange) -> None:
        exchange.on_disconnect(lambda: gone.append(True))
        exchange.start(200)
        exchange.write(b"x" * 20_000_000)

    client = await Client.connect(await serve(app, limits=QUICK), receive_buffer=8192)
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    client.send(get(b"/"))
    await until(lambda: servers[0].connections == 0 and gone == [True])
    client.writer.transport.abort()


async def test_a_paused_body_stops_the_client(serve: Serve) -> None:
    exchanges: list[Exchange] = []
    got: list[int] = []

    def app(exchange: Exchange) -> None:
        exchanges.append(exchange)
        exchange.stream(
            lambda part: (got.append(len(part)), exchange.pause()), lambda: exchange.reply(200, b"%d" % sum(got))
        )  # type: ignore[func-returns-value,arg-type,return-value]

    client = await Client.connect(await serve(app))
    size = 30_000_000
    client.send(b"POST / HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
    await until(lambda: bool(got))
    await asyncio.sleep(0.05)
    assert sum(got) < size
    while sum(got) < size:
        exchanges[0].resume()
        await asyncio.sleep(0)
    assert (await client.answer()).body == b"%d" % size
    await client.close()


async def test_a_body_that_nobody_asked_for_is_not_hoarded(serve: Serve) -> None:
    app = Held()
    client = await Client.connect(await serve(app))
    size = 30_000_000
    client.send(b"POST / HTTP/1.1\r\n" + H + b"Content-Length: %d\r\n\r\n" % size + bytes(size))
    await until(lambda: bool(app.exchanges) and app.exchanges[0].size > 0)
    await asyncio.sleep(0.05)
    assert app.exchanges[0].size < 2_000_000
    app.exchanges[0].collect(lambda body: app.exchanges[0].reply(200, b"%d" % len(body)))
    assert (await client.answer()).body == b"%d" % size
    await client.close()


@pytest.mark.parametrize("sent", [get(b"/"), b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 10\r\n\r\nabc"])
async def test_a_client_that_leaves_is_reported_once(serve: Serve, servers: list[HttpServer], sent: bytes) -> None:
    app = Held()
    client = await Client.connect(await serve(app))
    client.send(sent)
    await until(lambda: bool(app.exchanges))
    await client.close()
    await until(lambda: app.left == [b"/"])
    assert app.exchanges[0].closed
    assert servers[0].active == 0
    app.exchanges[0].reply(200, b"nobody reads this")
    await app.exchanges[0].drain()


async def test_a_body_over_the_limit_is_reported_to_the_application(serve: Serve) -> None:
    app = Held()
    client = await Client.connect(await serve(app, limits=Limits(body_bytes=10)))
    client.send(b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n")
    await until(lambda: bool(app.exchanges))
    client.send(b"6\r\nabcdef\r\n")
    assert (await client.answer()).status == 413
    assert app.left == [b"/"]
    await client.close()


async def test_an_answer_shorter_than_announced_cuts_the_connection(serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        exchange.start(200, length=10)
        exchange.write(b"abc")
        asyncio.get_running_loop().call_later(0.01, exchange.finish)

    client = await Client.connect(await serve(app))
    client.send(get(b"/"))
    assert (await client.rest()).endswith((b"abc", b""))
    await client.close()


async def test_misuse_is_told(serve: Serve) -> None:
    raised: list[type[Exception]] = []

    def app(exchange: Exchange) -> None:
        for wrong in (lambda: exchange.write(b"a"), exchange.finish):
            with pytest.raises(RuntimeError):
                wrong()
        exchange.start(200, length=3)
        with pytest.raises(RuntimeError):
            exchange.reply(200)
        with pytest.raises(RuntimeError):
            exchange.start(200)
        with pytest.raises(ValueError, match="announced"):
            exchange.write(b"abcd")
        raised.append(ValueError)
        exchange.write(b"abc")
        exchange.finish()

    client = await Client.connect(await serve(app))
    client.send(get(b"/"))
    assert (await client.answer()).body == b"abc"
    assert raised
    await client.close()


@pytest.mark.parametrize("waiting", [1, 10])
async def test_a_client_that_leaves_is_seen_while_its_requests_wait(serve: Serve, waiting: int) -> None:
    app = Held()
    client = await Client.connect(await serve(app))
    client.send(get(b"/1"))
    await until(lambda: len(app.exchanges) == 1)
    for _ in range(waiting):
        client.send(get(b"/2"))
        await asyncio.sleep(0.01)
    client.writer.close()
    async with asyncio.timeout(0.1):
        while not app.left:
            await asyncio.sleep(0.001)
    assert (app.left, len(app.exchanges)) == ([b"/1"], 1)


@pytest.mark.parametrize(
    "request_bytes", [get(b"/" + b"a" * 2000), b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 9999\r\n\r\n"]
)
async def test_what_waits_is_bounded(serve: Serve, request_bytes: bytes) -> None:
    """The client is stopped by what the kernel holds, and every request is served in the end."""
    app = Held()
    client = await Client.connect(
        await serve(lambda exchange: app(exchange) if exchange.path == b"/held" else echo(exchange))
    )
    client.send(get(b"/held"))
    await until(lambda: len(app.exchanges) == 1)
    one = request_bytes + bytes(9999 if b"9999" in request_bytes else 0)
    count = (16 << 20) // len(one)
    client.send(one * count)
    before = -1
    while (unsent := client.writer.transport.get_write_buffer_size()) != before:
        before = unsent
        await asyncio.sleep(0.05)
    assert unsent > 0
    assert len(app.exchanges) == 1
    app.exchanges[0].reply(200)
    drained = asyncio.create_task(client.writer.drain())
    data = b""
    seen = 0
    while seen < count + 1:
        async with asyncio.timeout(5):
            part = await client.reader.read(1 << 20)
        seen += (data[-11:] + part).count(b"HTTP/1.1 200")
        data = part
    await drained
    await client.close()


async def test_a_queued_body_may_wait_for_its_turn(serve: Serve) -> None:
    """The client waits for `100 Continue` behind a slow answer, longer than a body may stall."""
    app = Held()
    port = await serve(lambda exchange: app(exchange) if exchange.path == b"/held" else echo(exchange), limits=QUICK)
    client = await Client.connect(port)
    client.send(get(b"/held") + b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    await until(lambda: len(app.exchanges) == 1)
    await asyncio.sleep(0.4)
    app.exchanges[0].reply(200)
    assert (await client.answer()).status == 200
    client.send(b"ok")
    answer = await client.answer()
    assert (answer.informational, answer.body) == ([100], b"ok")
    await client.close()


OFFER = b"GET /1 HTTP/1.1\r\n" + H + b"Connection: upgrade\r\nUpgrade: chat\r\n\r\n"


class Chat(asyncio.Protocol):
    """What a connection is left to: keeps what comes."""

    closing_soon = False

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.said = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.server.opened(self)

    def data_received(self, data: bytes) -> None:
        self.said += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.lost(self)

    def close_idle(self, since: float) -> None:
        pass

    def check(self, now: float) -> None:
        pass

    def abort(self) -> None:
        self.transport.close()


@pytest.mark.parametrize("size", [5, 3 << 20])
async def test_bytes_behind_an_offer_go_to_the_other_protocol(serve: Serve, size: int) -> None:
    app = Held()
    client = await Client.connect(await serve(app))
    client.send(OFFER + b"\x81\0first")
    await until(lambda: len(app.exchanges) == 1)
    client.send(b"s" * size)
    await asyncio.sleep(0.05)
    chats: list[Chat] = []

    def make(server: HttpServer) -> Chat:
        chats.append(Chat(server))
        return chats[0]

    app.exchanges[0].upgrade([(b"upgrade", b"chat")], make)
    client.send(b"last")
    expected = b"\x81\0first" + b"s" * size + b"last"
    await until(lambda: len(chats[0].said) == len(expected))
    assert chats[0].said == expected
    await client.close()


async def test_requests_behind_an_offer_that_is_declined_are_served(serve: Serve) -> None:
    app = Held()
    client = await Client.connect(await serve(app))
    client.send(OFFER + OFFER.replace(b"/1 ", b"/2 ") + get(b"/3")[:9])
    await until(lambda: len(app.exchanges) == 1)
    client.send(get(b"/3")[9:])
    for count in (1, 2, 3):
        await until(lambda count=count: len(app.exchanges) == count)
        await asyncio.sleep(0.01)
        app.exchanges[-1].reply(200, app.exchanges[-1].path)
        assert (await client.answer()).body == b"/%d" % count
    client.send(OFFER)
    await until(lambda: len(app.exchanges) == 4)
    client.send(b"more")
    await client.close()
    await until(lambda: app.left == [b"/1"])
