"""What the server does with requests, right and wrong, as a table over raw sockets."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from colonnade.net import Exchange, Limits

from .conftest import Serve
from .raw import Client, ask, echo

H = b"Host: x\r\n"
LIMITS = Limits(header_bytes=2000, header_count=20, body_bytes=1000, target_bytes=500)

GOOD = [
    ("get", b"GET /a/b?c=d HTTP/1.1\r\n" + H + b"\r\n", b"GET /a/b?c=d", b""),
    ("empty query", b"GET /a? HTTP/1.1\r\n" + H + b"\r\n", b"GET /a?", b""),
    ("encoded path is kept", b"GET /a%2Fb HTTP/1.1\r\n" + H + b"\r\n", b"GET /a%2Fb?", b""),
    ("absolute form", b"GET http://other/a?b HTTP/1.1\r\n" + H + b"\r\n", b"GET /a?b", b""),
    ("absolute form without path", b"GET http://other?b=/c HTTP/1.1\r\n" + H + b"\r\n", b"GET /?b=/c", b""),
    ("options asterisk", b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n", b"OPTIONS *?", b""),
    ("delete", b"DELETE /a HTTP/1.1\r\n" + H + b"\r\n", b"DELETE /a?", b""),
    ("http/1.0", b"GET /old HTTP/1.0\r\n\r\n", b"GET /old?", b""),
    ("length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\nabc", b"POST /?", b"abc"),
    ("length zero", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0\r\n\r\n", b"POST /?", b""),
    ("get with body", b"GET / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\nabc", b"GET /?", b"abc"),
    (
        "chunks",
        b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
        b"POST /?",
        b"abc0123456789",
    ),
    (
        "trailers are dropped",
        b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"POST /?",
        b"a",
    ),
    ("leading blank line", b"\r\nGET / HTTP/1.1\r\n" + H + b"\r\n", b"GET /?", b""),
    ("empty and padded values", b"GET / HTTP/1.1\r\n" + H + b"A:\r\nB:  c \t\r\n\r\n", b"GET /?", b""),
    (
        "upgrade is declined",
        b"GET / HTTP/1.1\r\n" + H + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /?",
        b"",
    ),
    (
        "upgrade with a body is declined",
        b"POST / HTTP/1.1\r\n"
        + H
        + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nContent-Length: 3\r\n\r\nabc",
        b"POST /?",
        b"abc",
    ),
    (
        "upgrade with a chunked body is declined",
        b"POST / HTTP/1.1\r\n"
        + H
        + b"Connection: Upgrade\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"POST /?",
        b"a",
    ),
]

CHUNKED = b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n"
BAD = [
    ("no host", b"GET / HTTP/1.1\r\n\r\n", 400),
    ("two hosts", b"GET / HTTP/1.1\r\n" + H + H + b"\r\n", 400),
    ("garbage", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("unknown method", b"FROB / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("lower-case method", b"get / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("nul in method", b"G\0T / HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("no version", b"GET /\r\n\r\n", 505),
    ("http/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("http/2", b"GET / HTTP/2.0\r\n" + H + b"\r\n", 505),
    ("http/0.9", b"GET / HTTP/0.9\r\n" + H + b"\r\n", 505),
    ("http/1.2", b"GET / HTTP/1.2\r\n" + H + b"\r\n", 400),
    ("relative target", b"GET a/b HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("asterisk for get", b"GET * HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("fragment", b"GET /a#b HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("other scheme", b"GET ftp://x/a HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("connect", b"CONNECT x:443 HTTP/1.1\r\n" + H + b"\r\n", 405),
    ("raw bytes in target", b"GET /\xff\xfe HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("nul in target", b"GET /a\0b HTTP/1.1\r\n" + H + b"\r\n", 400),
    ("nul in value", b"GET / HTTP/1.1\r\n" + H + b"A: b\0c\r\n\r\n", 400),
    ("folded line", b"GET / HTTP/1.1\r\n" + H + b"A: b\r\n c\r\n\r\n", 400),
    ("space before colon", b"GET / HTTP/1.1\r\n" + H + b"A : b\r\n\r\n", 400),
    ("field without colon", b"GET / HTTP/1.1\r\n" + H + b"A\r\n\r\n", 400),
    ("empty name", b"GET / HTTP/1.1\r\n" + H + b": b\r\n\r\n", 400),
    ("bare line feeds", b"GET / HTTP/1.1\nHost: x\n\n", 400),
    ("bare carriage return", b"GET / HTTP/1.1\r\n" + H + b"A: b\rX: y\r\n\r\n", 400),
    (
        "length and chunked",
        b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    (
        "chunked and length",
        b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("two lengths", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
    ("list of lengths", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 3, 3\r\n\r\nabc", 400),
    ("negative length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: -1\r\n\r\n", 400),
    ("signed length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: +3\r\n\r\nabc", 400),
    ("hex length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 0x3\r\n\r\nabc", 400),
    ("empty length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length:\r\n\r\n", 400),
    ("endless length", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: " + b"9" * 40 + b"\r\n\r\n", 400),
    ("length over the limit", b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 1001\r\n\r\n", 413),
    ("chunks over the limit", CHUNKED + (b"100\r\n" + b"x" * 256 + b"\r\n") * 4, 413),
    ("one chunk over the limit", CHUNKED + b"FFFFFF\r\n" + b"x" * 2000, 413),
    ("bad chunk size", CHUNKED + b"zz\r\n", 400),
    ("negative chunk size", CHUNKED + b"-1\r\n", 400),
    ("chunk size with space", CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n", 400),
    ("huge chunk size", CHUNKED + b"F" * 40 + b"\r\n", 400),
    ("chunk longer than told", CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
    ("chunk with bare line feed", CHUNKED + b"3\nabc\n0\n\n", 400),
    ("other coding", b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ("chunked not last", b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, gzip\r\n\r\n", 400),
    ("chunked twice", b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    (
        "smuggled coding",
        b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: xchunked\r\nContent-Length: 3\r\n\r\nabc",
        400,
    ),
    ("chunked in http/1.0", b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("other expectation", b"POST / HTTP/1.1\r\n" + H + b"Expect: tea\r\nContent-Length: 3\r\n\r\n", 417),
    ("many fields", b"GET / HTTP/1.1\r\n" + H + b"A: b\r\n" * 20 + b"\r\n", 431),
    ("large field", b"GET / HTTP/1.1\r\n" + H + b"A: " + b"b" * 2000 + b"\r\n\r\n", 431),
    ("endless field", b"GET / HTTP/1.1\r\n" + H + b"A: " + b"b" * 1_000_000, 431),
    ("endless name", b"GET / HTTP/1.1\r\n" + H + b"b" * 1_000_000, 431),
    ("endless fields", b"GET / HTTP/1.1\r\n" + H + b"A: b\r\n" * 200_000, 431),
    ("endless target", b"GET /" + b"a" * 1_000_000, 414),
    ("long target", b"GET /" + b"a" * 501 + b" HTTP/1.1\r\n" + H + b"\r\n", 414),
    ("endless trailers", CHUNKED + b"0\r\n" + b"A: b\r\n" * 200_000, 431),
    ("endless extension", CHUNKED + b"1;" + b"a" * 1_000_000, 400),
]


@pytest.mark.parametrize(("request_bytes", "seen", "body"), [case[1:] for case in GOOD], ids=[case[0] for case in GOOD])
@pytest.mark.parametrize("pieces", ["whole", "byte by byte"])
async def test_good(serve: Serve, request_bytes: bytes, seen: bytes, body: bytes, pieces: str) -> None:
    client = await Client.connect(await serve(echo, limits=LIMITS))
    if pieces == "whole":
        client.send(request_bytes)
    else:
        for index in range(len(request_bytes)):
            client.send(request_bytes[index : index + 1])
            await client.writer.drain()
    answer = await client.answer()
    assert (answer.status, answer.headers[b"x-seen"], answer.body) == (200, seen, body)
    assert b"date" in answer.headers
    if b"HTTP/1.0" not in request_bytes:
        client.send(b"GET /again HTTP/1.1\r\n" + H + b"\r\n")
        assert (await client.answer()).headers[b"x-seen"] == b"GET /again?"
    await client.close()


@pytest.mark.parametrize(("request_bytes", "status"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
async def test_bad(serve: Serve, request_bytes: bytes, status: int) -> None:
    client = await Client.connect(await serve(echo, limits=LIMITS))
    client.send(request_bytes)
    answer = await client.answer()
    assert answer.status == status
    assert answer.headers[b"connection"] == b"close"
    assert set(json.loads(answer.body)) == {"error"}
    assert await client.rest() == b""
    await client.close()


async def test_head_has_no_body_but_its_length(serve: Serve) -> None:
    port = await serve(lambda exchange: exchange.reply(200, b"12345"))
    client = await Client.connect(port)
    client.send(b"HEAD / HTTP/1.1\r\n" + H + b"\r\nGET / HTTP/1.1\r\n" + H + b"\r\n")
    answer = await client.answer("HEAD")
    assert (answer.headers[b"content-length"], answer.body) == (b"5", b"")
    assert (await client.answer()).body == b"12345"
    await client.close()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("length", [None, 6])
async def test_streamed_answers(serve: Serve, method: str, length: int | None) -> None:
    def app(exchange: Exchange) -> None:
        exchange.start(200, [(b"x-a", b"b")], b"text/plain", length)
        exchange.write(b"abc")
        exchange.write(b"def")
        exchange.finish()

    client = await Client.connect(await serve(app))
    for _ in range(2):
        client.send(b"%b / HTTP/1.1\r\n" % method.encode() + H + b"\r\n")
        answer = await client.answer(method)
        assert answer.body == (b"abcdef" if method == "GET" else b"")
        assert answer.headers[b"x-a"] == b"b"
        assert answer.headers.get(b"content-length") == (b"6" if length else None)
    await client.close()


async def test_http10_is_never_sent_chunks(serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        exchange.start(200)
        exchange.write(b"abc")
        exchange.finish()

    client = await Client.connect(await serve(app))
    client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    data = await client.rest()
    assert data.endswith(b"\r\n\r\nabc")
    assert b"chunked" not in data
    assert b"connection: close" in data
    await client.close()


async def test_http10_keeps_alive_when_asked(serve: Serve) -> None:
    client = await Client.connect(await serve(echo))
    for _ in range(2):
        client.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert (await client.answer()).headers[b"connection"] == b"keep-alive"
    await client.close()


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_body(serve: Serve, status: int) -> None:
    port = await serve(lambda exchange: exchange.reply(status, b"not sent"))
    answer = await ask(port, b"GET / HTTP/1.1\r\n" + H + b"\r\n")
    assert (answer.status, answer.body) == (status, b"")
    assert b"content-length" not in answer.headers


async def test_expect_continue(serve: Serve) -> None:
    client = await Client.connect(await serve(echo))
    client.send(b"POST / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    assert await client.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    assert (await client.answer()).body == b"abc"
    await client.close()


async def test_expect_continue_is_not_answered_when_the_body_is_not_wanted(serve: Serve) -> None:
    client = await Client.connect(await serve(lambda exchange: exchange.reply(404)))
    client.send(b"POST / HTTP/1.1\r\n" + H + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
    answer = await client.answer()
    assert (answer.status, answer.informational, answer.headers[b"connection"]) == (404, [], b"close")
    assert await client.rest() == b""
    await client.close()


async def test_an_early_answer_keeps_the_connection_if_the_body_is_small(serve: Serve) -> None:
    client = await Client.connect(await serve(lambda exchange: exchange.reply(404)))
    client.send(b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5\r\n\r\n")
    assert (await client.answer()).status == 404
    client.send(b"abcdeGET / HTTP/1.1\r\n" + H + b"\r\n")
    assert (await client.answer()).status == 404
    await client.close()


async def test_an_early_answer_to_a_large_body_arrives_while_it_is_sent(serve: Serve) -> None:
    client = await Client.connect(await serve(lambda exchange: exchange.reply(404)))
    client.send(b"POST / HTTP/1.1\r\n" + H + b"Content-Length: 5000000\r\n\r\n" + b"x" * 2_000_000)
    answer = await client.answer()
    assert (answer.status, answer.headers[b"connection"]) == (404, b"close")
    await client.close()


async def test_repeated_fields_are_joined(serve: Serve) -> None:
    def app(exchange: Exchange) -> None:
        exchange.reply(200, exchange.headers[b"a"] + b"|" + exchange.headers[b"cookie"])
        assert exchange.raw_headers[1:3] == [(b"a", b"1"), (b"a", b"2")]

    answer = await ask(
        await serve(app), b"GET / HTTP/1.1\r\n" + H + b"A: 1\r\nA: 2\r\nCookie: c=1\r\nCookie: d=2\r\n\r\n"
    )
    assert answer.body == b"1, 2|c=1; d=2"


async def test_a_failing_application_is_opaque(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    def app(exchange: Exchange) -> None:
        raise KeyError("/secret/path")

    client = await Client.connect(await serve(app))
    for _ in range(2):
        client.send(b"GET / HTTP/1.1\r\n" + H + b"\r\n")
        answer = await client.answer()
        assert answer.status == 500
        text = json.loads(answer.body)["error"]
        ident = text.rpartition(" ")[2]
        assert text == f"Internal error; see the server's log, id {ident}"
        assert any(ident in record.getMessage() and record.exc_info for record in caplog.records)
    await client.close()


async def test_header_injection_is_refused(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    port = await serve(lambda exchange: exchange.reply(200, headers=[(b"a", b"b\r\nset-cookie: c")]))
    answer = await ask(port, b"GET / HTTP/1.1\r\n" + H + b"\r\n")
    assert answer.status == 500
    assert b"set-cookie" not in answer.headers


async def test_transport_fields_of_the_application_are_left_out(serve: Serve) -> None:
    fields = [(b"Content-Length", b"99"), (b"connection", b"close"), (b"Transfer-Encoding", b"chunked"), (b"x", b"y")]
    port = await serve(lambda exchange: exchange.reply(200, b"abc", headers=fields))
    answer = await ask(port, b"GET / HTTP/1.1\r\n" + H + b"\r\n")
    assert set(answer.headers) == {b"date", b"content-type", b"content-length", b"x"}
    assert answer.body == b"abc"


@pytest.mark.parametrize("pieces", [False, True])
async def test_trailers_are_the_applications(serve: Serve, pieces: bool) -> None:
    seen: list[list[tuple[bytes, bytes]]] = []

    def app(exchange: Exchange) -> None:
        def done(body: bytes) -> None:
            seen.append(list(exchange.trailers))
            exchange.reply(200, body)

        exchange.collect(done)

    client = await Client.connect(await serve(app))
    chunked = b"POST / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n%b\r\n"
    for trailers in (b"X-Sum: 9\r\nContent-Type: a\r\nHost: y\r\nX-Two: b\r\n", b""):
        data = chunked % trailers
        for index in range(0, len(data), 1 if pieces else len(data)):
            client.send(data[index : index + 1] if pieces else data)
            if pieces:
                await asyncio.sleep(0.001)
        assert (await client.answer()).body == b"ok"
    assert seen == [[(b"x-sum", b"9"), (b"x-two", b"b")], []]
    client.send(chunked % (b"A: b\r\n" * 1000))
    assert (await client.answer()).status == 431
    await client.close()
