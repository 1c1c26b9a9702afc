"""Where the files of a payload log are put: a folder of this machine or a bucket. Whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class Place(Protocol):
    """A folder or a bucket."""

    def put(self, name: str, data: bytes) -> None:
        """Put a file there under a path; a second time, it is the same file.

        Raises:
            Exception: it could not be done, and nothing is there under this name.
        """


class Folder:
    """A folder of this machine. Its files are for this user only, as they hold what callers said."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, data: bytes) -> None:
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")  # no pattern of a query matches it
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


class Access(msgspec.Struct, frozen=True):
    """How a bucket is reached, as the control plane leaves it in a file: keywords of obstore's stores."""

    config: dict[str, Any]
    client_options: dict[str, Any]


class Bucket:
    """A bucket, or a path in one. An object appears when it is complete."""

    def __init__(self, url: str, access: Access) -> None:
        import obstore
        from obstore.store import GCSStore, S3Store

        parts = urlsplit(url)
        keywords: dict[str, Any] = {"config": access.config, "client_options": access.client_options}
        make = S3Store if parts.scheme == "s3" else GCSStore
        self._store: ObjectStore = make(prefix=parts.path.strip("/") or None, **keywords)
        self._put = obstore.put

    def put(self, name: str, data: bytes) -> None:
        self._put(self._store, name, data)


def place(folder: str, access: str) -> Place:
    """The place that a log's settings name. `access` is the path of a file with the `Access` to a bucket."""
    if "://" not in folder:
        return Folder(Path(folder))
    return Bucket(folder, msgspec.json.decode(Path(access).read_bytes(), type=Access))
