"""What a `storageUri` says, decided without touching disk or network.

The list of schemes and the text of the refusal are KServe's, so that a manifest is refused here in the words that its
author finds in KServe's documentation.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from colonnade.errors import Error, InvalidInput

# KServe's prefixes in the order in which its message lists them.
KSERVE_SCHEMES = (
    *("gs", "s3", "pvc", "file", "https", "http", "hdfs", "webhdfs", "oci", "oci+native", "oci+fetch"),
    *("hf", "modelscope"),
)

_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")


class SchemeNotServed(Error):
    """A scheme that KServe knows and this version does not fetch (501)."""

    status = 501
    reason = "NotImplemented"


def scheme_of(uri: str) -> str | None:
    """The scheme in lower case, or None for a path."""
    match = _SCHEME.match(uri)
    return match.group(1).lower() if match else None


def unsupported(uri: str) -> InvalidInput:
    """KServe's refusal of a URI."""
    listed = ", ".join(f"{scheme}://" for scheme in KSERVE_SCHEMES)
    return InvalidInput(
        f"storageUri, must be one of: [{listed}] or match https://{{}}.blob.core.windows.net/{{}}/{{}} "
        f"or be an absolute or relative local path. StorageUri [{redacted(uri)}] is not supported"
    )


def redacted(uri: str) -> str:
    """The URI as messages and logs may show it: user, password, query and fragment are left out."""
    if scheme_of(uri) is None:
        return uri
    try:
        parts = urlsplit(uri)
    except ValueError:
        return f"{scheme_of(uri)}://..."
    return f"{uri.partition('://')[0]}://{parts.netloc.rpartition('@')[2]}{parts.path}"


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
    if scheme_of(uri) is None:
        path = path.expanduser()
    return path.absolute()
