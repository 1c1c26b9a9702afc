"""Bearer tokens (RFC 6750): made once, kept in a private file, compared in constant time."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from pathlib import Path

from colonnade.errors import InvalidInput
from colonnade.security import files

_BYTES = 32
_MIN_LENGTH = 16


def load_or_create(path: str | os.PathLike[str]) -> str:
    """The token in `path`, made if there is none. A file that others could read is made private.

    Raises:
        InvalidInput: the file holds no usable token.
        OSError: the file cannot be read or made.
    """
    file = Path(path)
    if not file.exists():
        files.create(file, secrets.token_urlsafe(_BYTES).encode("ascii") + b"\n")
    if stat.S_IMODE(file.stat().st_mode) & 0o077:
        file.chmod(files.PRIVATE)
    token = file.read_bytes().strip()
    if len(token) < _MIN_LENGTH or not token.isascii() or any(byte <= 0x20 or byte == 0x7F for byte in token):
        raise InvalidInput(
            f"Token file {file} must hold one token of at least {_MIN_LENGTH} printable characters; "
            "delete the file to have a new one made."
        )
    return token.decode("ascii")


def bearer(authorization: bytes | None) -> bytes | None:
    """The token of an Authorization header, None if it carries no bearer token."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(b" ")
    return (token.strip() or None) if scheme.lower() == b"bearer" else None


def matches(given: bytes | str | None, token: bytes | str) -> bool:
    """Whether `given` is the token, in a time that tells nothing about where it differs."""
    if given is None:
        return False
    return hmac.compare_digest(_bytes(given), _bytes(token))


def _bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
