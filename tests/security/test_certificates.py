"""Certificates: kept while they fit, renewed when they do not, accepted by a strict client."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from colonnade.security import certificates
from colonnade.security.certificates import Certificates, ensure, server_context

FILES = ("ca.crt", "ca.key", "server.crt", "server.key")


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES}


def handshake(served: Certificates, name: str, trust: bytes) -> str | None:
    """A TLS handshake in memory; the negotiated version."""
    client_context = ssl.create_default_context(cadata=trust.decode())
    client_context.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname=name)
    server = server_context(served).wrap_bio(to_server, to_client, server_side=True)
    for _ in range(5):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    return client.version()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "models.example.com", "10.0.0.7"])
def test_a_strict_client_accepts_every_name(tmp_path: Path, name: str) -> None:
    served = ensure(tmp_path / "tls", [*certificates.LOOPBACK_NAMES, "models.example.com", "10.0.0.7"])
    assert handshake(served, name, served.ca_pem) == "TLSv1.3"


def test_other_names_and_other_authorities_are_not_accepted(tmp_path: Path) -> None:
    served, other = ensure(tmp_path / "a"), ensure(tmp_path / "b")
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(served, "evil.example.com", served.ca_pem)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(served, "localhost", other.ca_pem)


def test_files(tmp_path: Path) -> None:
    served = ensure(tmp_path / "tls")
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == sorted(FILES)
    assert (tmp_path / "tls").stat().st_mode & 0o077 == 0
    for name in FILES:
        assert (tmp_path / "tls" / name).stat().st_mode & 0o077 == (0 if name.endswith("key") else 0o044)
    assert served.ca_pem == served.ca_path.read_bytes()


def test_what_fits_is_kept(tmp_path: Path) -> None:
    ensure(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "server.key").chmod(0o644)
    ensure(tmp_path)
    assert contents(tmp_path) == before
    assert (tmp_path / "server.key").stat().st_mode & 0o077 == 0


CHANGES = [
    ("server near its end", {"days": 340}, ("server.crt", "server.key")),
    ("authority near its end", {"days": 3300}, FILES),
    ("clock went back", {"days": -10}, FILES),
]


@pytest.mark.parametrize(("later", "changed"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_renewal(tmp_path: Path, later: dict[str, int], changed: tuple[str, ...]) -> None:
    now = datetime.now(UTC)
    ensure(tmp_path, now=now)
    before = contents(tmp_path)
    ensure(tmp_path, now=now + timedelta(**later))
    after = contents(tmp_path)
    assert tuple(name for name in FILES if before[name] != after[name]) == changed


def test_other_names_renew_the_server_only(tmp_path: Path) -> None:
    ensure(tmp_path)
    before = contents(tmp_path)
    served = ensure(tmp_path, ["models.example.com"])
    after = contents(tmp_path)
    assert before["ca.crt"] == after["ca.crt"]
    assert handshake(served, "models.example.com", before["ca.crt"])


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["lost", "garbage", "of another pair"])
def test_a_crash_or_a_damage_is_repaired(tmp_path: Path, name: str, damage: str) -> None:
    ensure(tmp_path / "a")
    ensure(tmp_path / "b")
    file = tmp_path / "a" / name
    if damage == "lost":
        file.unlink()
    else:
        file.write_bytes(b"garbage" if damage == "garbage" else (tmp_path / "b" / name).read_bytes())
    served = ensure(tmp_path / "a")
    assert handshake(served, "localhost", served.ca_pem) == "TLSv1.3"
