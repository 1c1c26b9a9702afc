"""Unix sockets, inherited sockets, and TLS beside plain HTTP on one port."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

import httpx
import pytest

from colonnade.net import Exchange, HttpServer, Limits
from colonnade.security.certificates import Certificates, server_context

from .conftest import Serve
from .raw import Client, echo


async def test_unix_socket(servers: list[HttpServer], socket_path: str) -> None:
    for _ in range(2):  # the second one finds the file of the first
        server = HttpServer(lambda exchange: exchange.reply(200, repr(exchange.peer).encode()))
        await server.listen_unix(socket_path)
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=socket_path)) as client:
            assert (await client.get("http://replica/")).text == "None"
        await server.drain(1.0)
    assert os.path.exists(socket_path)


async def test_a_unix_socket_in_use_is_not_taken(servers: list[HttpServer], socket_path: str) -> None:
    first, second = HttpServer(echo), HttpServer(echo)
    servers += [first, second]
    await first.listen_unix(socket_path)
    with pytest.raises(OSError):
        await second.listen_unix(socket_path)
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=socket_path)) as client:
        assert (await client.get("http://replica/")).status_code == 200


async def test_another_file_is_not_replaced(servers: list[HttpServer], tmp_path: Path) -> None:
    file = tmp_path / "precious"
    file.write_text("x")
    server = HttpServer(echo)
    with pytest.raises(OSError):
        await server.listen_unix(str(file))
    assert file.read_text() == "x"


async def test_inherited_socket_survives_in_its_other_owner(servers: list[HttpServer]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as owner:
        url = f"http://127.0.0.1:{owner.getsockname()[1]}/"
        for _ in range(2):
            server = HttpServer(echo)
            await server.listen_socket(owner.dup())
            async with httpx.AsyncClient() as client:
                assert (await client.get(url)).status_code == 200
            await server.drain(1.0)


async def test_a_taken_port_is_an_error(serve: Serve) -> None:
    port = await serve(echo)
    with pytest.raises(OSError):
        await HttpServer(echo).listen_tcp("127.0.0.1", port)


async def test_tls_only(serve: Serve, certs: Certificates, trusting: ssl.SSLContext) -> None:
    port = await serve(lambda exchange: exchange.reply(200, b"%d" % exchange.secure), ssl=server_context(certs))
    async with httpx.AsyncClient(verify=trusting) as client:
        assert (await client.get(f"https://localhost:{port}/")).text == "1"
        with pytest.raises(httpx.TransportError):
            await client.get(f"http://localhost:{port}/")


async def test_tls_and_plain_on_one_port(serve: Serve, certs: Certificates, trusting: ssl.SSLContext) -> None:
    def app(exchange: Exchange) -> None:
        exchange.collect(lambda body: exchange.reply(200, b"%d %d" % (exchange.secure, len(body))))

    port = await serve(app, ssl=server_context(certs), ssl_optional=True)
    silent = [await Client.connect(port) for _ in range(20)]  # they hold up nobody
    async with httpx.AsyncClient(verify=trusting) as client:
        for _ in range(2):
            assert (await client.post(f"https://localhost:{port}/", content=b"x" * 300_000)).text == "1 300000"
            assert (await client.post(f"http://localhost:{port}/", content=b"x" * 300_000)).text == "0 300000"
    for other in silent:
        await other.close()


async def test_a_silent_client_is_cut(serve: Serve, certs: Certificates, servers: list[HttpServer]) -> None:
    limits = Limits(read_timeout=0.1)
    port = await serve(echo, limits=limits, ssl=server_context(certs), ssl_optional=True)
    silent = await Client.connect(port)
    stuck = await Client.connect(port)
    stuck.send(b"\x16\x03")  # a handshake that does not go on
    assert await silent.rest() == b""
    assert await stuck.rest() == b""
    assert servers[0].connections == 0
    await silent.close()
    await stuck.close()


def test_optional_tls_needs_a_certificate() -> None:
    with pytest.raises(ValueError, match="ssl"):
        HttpServer(echo, ssl_optional=True)
