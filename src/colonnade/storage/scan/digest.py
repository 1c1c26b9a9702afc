"""The digest of an artefact: what `colonnade.dev/model-digest` pins and `colonnade digest` prints.

One file has the SHA-256 of its bytes, whatever its name, also as the only file of a folder. Several files have that of
their manifest: a line for each file, sorted by path in byte order, as `sha256sum` prints it. So the digest of a folder
needs no program of ours:

    cd FOLDER && find -L . -type f -printf '%P\\0' | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping

PREFIX = "sha256:"
_FORM = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Whether a pin has the form of a digest."""
    return _FORM.fullmatch(text) is not None


def manifest(digests: Mapping[str, str]) -> bytes:
    """The lines for files by path, with the SHA-256 of each in hexadecimal."""
    lines = (_line(os.fsencode(path), digests[path]) for path in sorted(digests, key=os.fsencode))
    return b"".join(lines)


def of(digests: Mapping[str, str]) -> str:
    """The digest of an artefact of these files."""
    if len(digests) == 1:
        return PREFIX + next(iter(digests.values()))
    return PREFIX + hashlib.sha256(manifest(digests)).hexdigest()


def _line(path: bytes, digest: str) -> bytes:
    """As `sha256sum` writes it, which marks names that it had to escape by a backslash before the line."""
    escaped = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != path else b"") + digest.encode() + b"  " + escaped + b"\n"
