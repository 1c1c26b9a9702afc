"""A client over TLS: whom it believes, and that a connection serves again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from colonnade.errors import Unavailable
from colonnade.net import Address, Upstream, tls
from colonnade.security.certificates import Certificates, ensure

from .conftest import Serve
from .raw import echo


@pytest.fixture
async def port(serve: Serve, certs: Certificates) -> int:
    return await serve(echo, ssl=tls.server_context(certs.cert_path, certs.key_path))


@pytest.fixture
def authorities() -> Iterator[None]:
    """The machine's authorities are read anew, before and after."""
    tls.client_context.cache_clear()
    yield
    tls.client_context.cache_clear()


@pytest.fixture
def trusted(authorities: None, certs: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certs.ca_path))


async def test_a_server_with_a_good_certificate(port: int, trusted: None) -> None:
    upstream = Upstream(Address(host="localhost", port=port), tls=True)
    for at in range(5):
        answer = await upstream.fetch("POST", "/", (), b"%d" % at * 100_000)
        assert (answer.status, answer.body) == (200, b"%d" % at * 100_000)
    assert upstream.open == 1  # kept, and used again
    upstream.close()


async def test_a_certificate_for_another_name_is_refused(
    serve: Serve, authorities: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = ensure(tmp_path / "tls", ("elsewhere.example.com",))
    monkeypatch.setenv("SSL_CERT_FILE", str(other.ca_path))
    port = await serve(echo, ssl=tls.server_context(other.cert_path, other.key_path))
    upstream = Upstream(Address(host="localhost", port=port), tls=True)
    with pytest.raises(Unavailable):
        await upstream.fetch("GET", "/")
    upstream.close()


async def test_an_unknown_authority_is_refused(port: int, authorities: None) -> None:
    upstream = Upstream(Address(host="localhost", port=port), tls=True)
    with pytest.raises(Unavailable):
        await upstream.fetch("GET", "/")
    upstream.close()
