"""TLS on a server's ports: HTTP/2 by ALPN, HTTP/1.1 beside it, and sessions that are resumed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import grpc
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from colonnade.errors import InvalidInput
from colonnade.net import Address, Exchange, tls
from colonnade.net.grpc_client import CallFailed, call
from colonnade.net.http2 import PREFACE, Http2
from colonnade.security.certificates import Certificates, ensure

from .conftest import Serve
from .raw import DEADLINE, echo


@pytest.fixture
async def port(serve: Serve, certs: Certificates) -> int:
    context = tls.server_context(certs.cert_path, certs.key_path)
    return await serve(echo, ssl=context, dialects=[(PREFACE, Http2())])


@pytest.mark.parametrize(("http2", "version"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
async def test_alpn_decides(port: int, trusting: ssl.SSLContext, http2: bool, version: str) -> None:
    url = f"https://localhost:{port}/"
    async with httpx.AsyncClient(verify=trusting, http2=http2, trust_env=False) as client:
        answers = await asyncio.gather(*(client.post(url, content=b"%d" % i * 50_000) for i in range(5)))
    assert [answer.content for answer in answers] == [b"%d" % i * 50_000 for i in range(5)]
    assert {answer.http_version for answer in answers} == {version}


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_is_resumed(port: int, trusting: ssl.SSLContext, newest: ssl.TLSVersion) -> None:
    trusting.maximum_version = newest

    def ask(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool]:
        with (
            socket.create_connection(("127.0.0.1", port), DEADLINE) as plain,
            trusting.wrap_socket(plain, server_hostname="localhost", session=session) as sock,
        ):
            sock.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert sock.recv(1000).startswith(b"HTTP/1.1 200 ")
            return sock.session, bool(sock.session_reused)

    session, reused = await asyncio.to_thread(ask, None)
    assert not reused
    _, reused = await asyncio.to_thread(ask, session)
    assert reused


async def test_grpc_over_tls(serve: Serve, certs: Certificates, tmp_path: Path) -> None:
    def app(exchange: Exchange) -> None:
        exchange.collect(lambda body: exchange.reply(200, body, b"application/grpc", trailers=[(b"grpc-status", b"0")]))

    context = tls.server_context(certs.cert_path, certs.key_path)
    port = await serve(app, ssl=context, dialects=[(PREFACE, Http2())])
    async with grpc.aio.secure_channel(f"localhost:{port}", grpc.ssl_channel_credentials(certs.ca_pem)) as channel:
        assert await channel.unary_unary("/any/Method")(b"x" * 100_000, timeout=DEADLINE) == b"x" * 100_000
    pinned = tls.pinned_context(certs.cert_path)  # whatever the server is called
    where = Address(host="127.0.0.1", port=port)
    assert await call(where, "/any/Method", b"x", authority="svc", timeout=DEADLINE, ssl=pinned) == b"x"
    other = tls.pinned_context(ensure(tmp_path / "other").cert_path)
    with pytest.raises(CallFailed):
        await call(where, "/any/Method", b"x", authority="svc", timeout=DEADLINE, ssl=other)


async def test_plain_connections_are_not_taken(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    async with asyncio.timeout(DEADLINE):
        assert not (await reader.read()).startswith(b"HTTP")
    writer.close()


def test_files_that_cannot_be_used_are_named_with_the_fix(certs: Certificates, tmp_path: Path) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    plain, locked = serialization.NoEncryption(), serialization.BestAvailableEncryption(b"secret")
    for name, encryption in (("other.key", plain), ("locked.key", locked)):
        form = serialization.PrivateFormat.PKCS8
        (tmp_path / name).write_bytes(other.private_bytes(serialization.Encoding.PEM, form, encryption))
    (tmp_path / "broken.crt").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    for certificate, key, text in (
        (tmp_path / "no", certs.key_path, f"--tls-cert {tmp_path}/no cannot be read: No such file"),
        (certs.cert_path, tmp_path / "no", f"--tls-key {tmp_path}/no cannot be read: No such file"),
        (certs.key_path, certs.key_path, f"--tls-cert {certs.key_path} holds no certificate in PEM"),
        (certs.cert_path, certs.cert_path, f"--tls-key {certs.cert_path} holds no private key in PEM"),
        (certs.cert_path, tmp_path / "locked.key", "locked.key is encrypted; decrypt it with"),
        (certs.cert_path, tmp_path / "other.key", "give the key that the first certificate was made for"),
        (tmp_path / "broken.crt", certs.key_path, "broken.crt and --tls-key"),
    ):
        with pytest.raises(InvalidInput) as refused:
            tls.server_context(certificate, key)
        assert text in refused.value.message
