"""What a `storageUri` says, decided without touching disk or network.

The text of the refusal is the one that admission gives (`resources.kserve_texts`), which is KServe's own.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from colonnade.errors import Error, InvalidInput
from colonnade.resources.kserve_texts import unsupported_uri
from colonnade.resources.served import scheme_of


class SchemeNotServed(Error):
    """A scheme that KServe knows and this version does not fetch (501)."""

    status = 501
    reason = "NotImplemented"


def unsupported(uri: str) -> InvalidInput:
    """KServe's refusal of a URI."""
    return InvalidInput(unsupported_uri(redacted(uri)))


def redacted(uri: str) -> str:
    """The URI as messages and logs may show it: user, password, query and fragment are left out."""
    if not scheme_of(uri):
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        return f"{scheme_of(uri)}://..."
    return f"{uri.partition('://')[0]}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def bucket_and_path(uri: str) -> tuple[str, str]:
    """The bucket that a URI names, and what stands after it, as it stands: nothing in it is decoded.

    Raises:
        InvalidInput: it names no bucket.
    """
    bucket, _, path = uri.partition("://")[2].partition("/")
    if not re.fullmatch(r"[\w.-]+", bucket):
        raise InvalidInput(f"storageUri {redacted(uri)} names no bucket; write {scheme_of(uri)}://BUCKET/PATH")
    return bucket, path.lstrip("/")


def local_path(uri: str) -> Path:
    """The path that a path or a `file://` URI names.

    A `file://` URI is percent-decoded, may name `localhost`, and may be relative (`file://models/iris`), as KServe
    takes it. `~` is the user's home in a plain path. A relative path counts from the current directory.

    Raises:
        InvalidInput: the URI names another machine, or is empty.
    """
    text = uri
    if scheme_of(uri) == "file":
        text = uri[len("file://") :]
        if text.startswith("localhost/"):
            text = text.removeprefix("localhost")
        text = unquote(text)
    if not text or "\0" in text:
        raise InvalidInput(f"storageUri {uri!r} names no path; give a file or a folder")
    path = Path(text)
    if not scheme_of(uri):
        path = path.expanduser()
    return path.absolute()
