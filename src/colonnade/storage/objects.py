"""What buckets have in common: one rule for what an address in a bucket means, and one reading of their faults.

The clients of S3, Google Cloud Storage and Azure are those of `obstore`; `s3`, `gcs` and `azure` make the client that a
URI and its credentials ask for. Retries are not the client's: the download counts its tries itself, since it goes on
from the byte that it has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    BaseError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from colonnade.errors import LoadFailed
from colonnade.storage.limits import Limits
from colonnade.storage.parts import Changed, Part, TryAgain
from colonnade.storage.patterns import Patterns

if TYPE_CHECKING:
    from obstore import GetOptions, ObjectMeta
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    Store = S3Store | GCSStore | AzureStore

NO_RETRIES: RetryConfig = {"max_retries": 0, "retry_timeout": timedelta(seconds=0)}
_BLOCK = 1 << 20
_CAUSE_LENGTH = 300
_CODE = re.compile(r"<Code>([\w.-]+)</Code>")
_MESSAGE = re.compile(r"<Message>([^<?\n]{1,200})")
_STATUS = re.compile(r"status code: (\d{3})")
_QUERY = re.compile(r"(?<=\S)\?[^\s\"')]+")
_PASSING = (408, 425, 429)  # below 500, and a second try may mend them


@dataclass(frozen=True, slots=True)
class Place:
    """An address in a bucket, and how messages speak of it.

    Attributes:
        kind: `S3`, `GCS` or `Azure`.
        bucket: the bucket's or container's name.
        path: what the URI says after it, without a slash at the start.
        shown: the URI without secrets.
        endpoint: the server's address, without secrets.
        hint: where credentials go, in KServe's words.
    """

    kind: str
    bucket: str
    path: str
    shown: str
    endpoint: str
    hint: str


def client_options(limits: Limits, *, http: bool = False) -> ClientConfig:
    """Times of a client; the time for a whole answer is not bounded, the silence within it is."""
    return {
        "allow_http": http,
        "connect_timeout": timedelta(seconds=limits.connect_timeout),
        "read_timeout": timedelta(seconds=limits.read_timeout),
        "timeout": timedelta(days=7),
    }


def _text(error: BaseException) -> str:
    return str(error).partition("\n\nDebug source")[0]


def cause_of(error: BaseException) -> str:
    """The client's words in short, without the query of any URL in them, which may be a signature."""
    text = _text(error)
    code, message = _CODE.search(text), _MESSAGE.search(text)
    if code is not None:
        return f"{code.group(1)}: {message.group(1).strip()}" if message is not None else code.group(1)
    lines = text.strip().splitlines() or [type(error).__name__]
    return _QUERY.sub("", lines[0])[:_CAUSE_LENGTH]


def _translated(error: BaseException, place: Place) -> Exception:
    """A fault of the client as one of ours. The first words are those of KServe's initializer."""
    cause, kind, at = cause_of(error), place.kind, f"storageUri {place.shown}"
    found = _STATUS.search(_text(error))
    status = int(found.group(1)) if found is not None else 0
    if "NoSuchBucket" in cause or "ContainerNotFound" in cause:
        return LoadFailed(f"{kind} bucket '{place.bucket}' does not exist. Correct the {at}")
    if "InvalidAccessKeyId" in cause or "SignatureDoesNotMatch" in cause:
        return LoadFailed(
            f"Invalid AWS credentials. Verify AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. ({at}, {cause})"
        )
    if isinstance(error, UnauthenticatedError) or status == 401:
        return LoadFailed(f"{kind} authentication failed. {place.hint} ({at}, {cause})")
    if isinstance(error, PermissionDeniedError) or status == 403:
        return LoadFailed(
            f"Access denied to {kind} resource '{place.bucket}'. Verify permissions. {place.hint} ({at}, {cause})"
        )
    if isinstance(error, FileNotFoundError) or status == 404:
        return LoadFailed(f"{kind} resource '{place.bucket}' not found. Correct the {at} ({cause})")
    if isinstance(error, PreconditionError):
        return Changed(f"{place.shown} was replaced while it was fetched")
    if isinstance(error, (InvalidPathError, ValueError)) or "invalid path" in cause:
        return LoadFailed(f"{place.shown} holds or is a name that is no path: {cause}; rename the object there")
    if (status and status < 500 and status not in _PASSING) or "credential error" in cause:
        return LoadFailed(f"{kind} at {place.endpoint} refused {at}: {cause}; check region, endpoint and credentials")
    return TryAgain(f"Failed to connect to {kind} endpoint '{place.endpoint}'. {cause}")


@contextmanager
def reading(place: Place) -> Iterator[None]:
    """Faults of the client leave as ours."""
    try:
        yield
    except (BaseError, FileNotFoundError, ValueError) as error:
        raise _translated(error, place) from None


def _read(store: Store, place: Place, name: str, etag: str | None, start: int, stop: int | None) -> Iterator[bytes]:
    with reading(place):
        options: GetOptions = {"range": {"offset": start} if stop is None else (start, stop)}
        if etag is not None:
            options["if_match"] = etag
        yield from obstore.get(store, name, options=options).stream(min_chunk_size=_BLOCK)


def _part(store: Store, place: Place, path: str, found: ObjectMeta) -> Part:
    etag = found["e_tag"]
    read: Callable[[int, int | None], Iterator[bytes]] = partial(_read, store, place, found["path"], etag)
    tag = None if etag is None else f"{place.kind} {place.endpoint} {place.bucket} {found['path']} {etag}"
    return Part(path, found["size"], tag, read)


def _exact(store: Store, path: str) -> tuple[ObjectMeta | None, Exception | None]:
    """The object of exactly that name, if there is one and it may be seen; or what denied it."""
    try:
        return obstore.head(store, path), None
    except FileNotFoundError:
        return None, None
    except (PermissionDeniedError, UnauthenticatedError) as error:
        return None, error


def parts_at(store: Store, place: Place, patterns: Patterns) -> list[Part]:
    """The files that an address in a bucket means.

    An object of exactly that name is the model, by its base name, and patterns do not ask about it. Else all objects
    below the name as a folder, relative to it; those that are empty or end with `/` stand for folders and are left.

    Raises:
        LoadFailed: there are none, or the bucket is absent or closed to these credentials.
        TryAgain: the server cannot be reached, or answers 5xx or 429.
    """
    path = place.path.strip("/")
    with reading(place):
        denied = None
        if path and not place.path.endswith("/"):
            exact, denied = _exact(store, path)
            if exact is not None and exact["size"]:
                return [_part(store, place, PurePosixPath(path).name, exact)]
        parts = []
        for chunk in obstore.list(store, path or None):
            for found in chunk:
                relative = found["path"].removeprefix(path).lstrip("/")
                if found["size"] and relative and patterns.takes(relative):
                    parts.append(_part(store, place, relative, found))
        if not parts and denied is not None:
            raise denied
    if not parts:
        chosen = "" if patterns.all else " that the allow and ignore patterns take"
        raise LoadFailed(f"Failed to fetch model. No model found in {place.shown}: there are no files{chosen}")
    return parts
