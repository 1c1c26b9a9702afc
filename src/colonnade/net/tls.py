"""TLS for the public ports: what a server offers, and HTTP/2 beside HTTP/1.1 by ALPN (RFC 7301)."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path

from colonnade.errors import InvalidInput


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Settings for a server with this certificate (a chain, in PEM) and its key. Sessions are resumed by tickets.

    Raises:
        InvalidInput: the files cannot be read, or do not belong together; it names the file and the fix.
    """
    chain = _read("--tls-cert", certificate)
    secret = _read("--tls-key", key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2", "http/1.1"])
    if b"-----BEGIN CERTIFICATE-----" not in chain:
        raise InvalidInput(
            f"--tls-cert {certificate} holds no certificate in PEM; give the server's, then its issuers'."
        )
    if b"PRIVATE KEY-----" not in secret:
        raise InvalidInput(f"--tls-key {key} holds no private key in PEM; give the one that --tls-cert was made for.")
    encrypted = False

    def password() -> str:  # else OpenSSL would ask at the terminal
        nonlocal encrypted
        encrypted = True
        return ""

    try:
        context.load_cert_chain(certificate, key, password)
    except (OSError, ssl.SSLError) as error:
        if encrypted:
            raise InvalidInput(
                f"--tls-key {key} is encrypted; decrypt it with `openssl pkey -in {key} -out FILE` and give that file."
            ) from None
        reason = getattr(error, "reason", None) or error
        fix = (
            "give the key that the first certificate was made for" if reason == "KEY_VALUES_MISMATCH" else "renew them"
        )
        raise InvalidInput(f"--tls-cert {certificate} and --tls-key {key} cannot be used: {reason}; {fix}.") from None
    return context


@cache
def client_context() -> ssl.SSLContext:
    """Settings for a client of servers elsewhere: a certificate must be good for the host's name, by the authorities
    that this machine trusts (`SSL_CERT_FILE` names others)."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def pinned_context(certificate: Path) -> ssl.SSLContext:
    """Settings for a client of a server on this machine that is known by its certificate, whatever names that has.

    Raises:
        InvalidInput: the file cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(certificate)
    except (OSError, ssl.SSLError) as error:
        raise InvalidInput(f"The platform's certificate {certificate} cannot be used: {error}") from None
    return context


def digest(certificate: Path, key: Path) -> str:
    """A word that changes with what the files hold.

    Raises:
        InvalidInput: one cannot be read.
    """
    from hashlib import sha256

    chain = sha256(_read("--tls-cert", certificate)).digest()
    return sha256(chain + _read("--tls-key", key)).hexdigest()


def _read(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"{flag} {path} cannot be read: {error.strerror}; name a PEM file that this user may read."
        ) from None
