"""TLS for a machine without a certificate authority: one of our own, and a server certificate for loopback names.

Clients trust the authority (`ca.crt`, written into the kubeconfig), so the server's certificate can be renewed without
touching them. Whatever does not fit any more (near its end, other names, a key that lost its certificate in a crash) is
made anew; what fits is kept.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from colonnade.security import files

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

_CA_LIFE = timedelta(days=3650)
_CA_MARGIN = timedelta(days=400)  # an authority outlives every certificate that it signs
_SERVER_LIFE = timedelta(days=365)
_SERVER_MARGIN = timedelta(days=30)
_CLOCK_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class Certificates:
    """Where authority, server certificate and its private key lie; `ca_pem` is what clients are given."""

    ca_path: Path
    cert_path: Path
    key_path: Path
    ca_pem: bytes


@dataclass(frozen=True)
class _Pair:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def ensure(
    folder: str | os.PathLike[str], names: Sequence[str] = LOOPBACK_NAMES, *, now: datetime | None = None
) -> Certificates:
    """Have a certificate for `names` (DNS names and IP addresses) in `folder`: `ca.crt`, `ca.key`, `server.crt`,
    `server.key`, the keys with mode 0600.

    Raises:
        OSError: the folder cannot be written.
    """
    place = Path(folder)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    moment = now or datetime.now(UTC)
    authority = _load(place / "ca.crt", place / "ca.key")
    if authority is None or not _lasts(authority.certificate, moment, _CA_MARGIN):
        authority = _make_authority(moment)
        _save(authority, place / "ca.crt", place / "ca.key")
    server = _load(place / "server.crt", place / "server.key")
    if server is None or not _fits(server.certificate, authority, names, moment):
        server = _make_server(authority, names, moment)
        _save(server, place / "server.crt", place / "server.key")
    return Certificates(place / "ca.crt", place / "server.crt", place / "server.key", _pem(authority.certificate))


def server_context(certificates: Certificates) -> ssl.SSLContext:
    """TLS settings of a server: TLS 1.2 or later, HTTP/1.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificates.cert_path, certificates.key_path)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load(cert_path: Path, key_path: Path) -> _Pair | None:
    """Certificate and key that belong together, None if there are none."""
    try:
        certificate = x509.load_pem_x509_certificate(cert_path.read_bytes())
        key = serialization.load_pem_private_key(key_path.read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return None
    if key_path.stat().st_mode & 0o077:
        key_path.chmod(files.PRIVATE)
    return _Pair(key, certificate)


def _save(pair: _Pair, cert_path: Path, key_path: Path) -> None:
    key = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    files.write(key_path, key)
    files.write(cert_path, _pem(pair.certificate), files.PUBLIC)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _lasts(certificate: x509.Certificate, now: datetime, margin: timedelta) -> bool:
    return certificate.not_valid_before_utc <= now and now + margin < certificate.not_valid_after_utc


def _fits(certificate: x509.Certificate, authority: _Pair, names: Sequence[str], now: datetime) -> bool:
    if not _lasts(certificate, now, _SERVER_MARGIN):
        return False
    try:
        certificate.verify_directly_issued_by(authority.certificate)
        has = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return set(has) == set(_alternatives(names))


def _alternatives(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


def _make_authority(now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Colonnade local authority {now:%Y-%m-%d}")])
    builder = (
        _builder(name, name, key, now, _CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _Pair(key, builder.sign(key, hashes.SHA256()))


def _make_server(authority: _Pair, names: Sequence[str], now: datetime) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "colonnade")])
    signer = authority.key.public_key()
    builder = (
        _builder(subject, authority.certificate.subject, key, now, _SERVER_LIFE)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_alternatives(names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    return _Pair(key, builder.sign(authority.key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + life)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
