"""`http://` and `https://`: one file, in ranges where the server gives them, cached and revalidated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from colonnade.storage.cache import Ref
from colonnade.storage.http_session import HttpSession, host_headers
from colonnade.storage.parts import Part
from colonnade.storage.provider import Order
from colonnade.storage.transfer import attempt, collect

__all__ = ["HttpProvider", "file_name", "host_headers", "safe_name"]

_MAX_NAME = 60  # characters kept of a file name; at 4 bytes each still short of the 255 bytes of file systems
_ARCHIVE_TYPES = {
    "application/zip": ".zip",
    "application/x-zip-compressed": ".zip",
    "application/x-tar": ".tar",
    "application/tar": ".tar",
    "application/gzip": ".tar.gz",
    "application/x-gzip": ".tar.gz",
    "application/x-compressed-tar": ".tar.gz",
}


def safe_name(candidate: str) -> str:
    """A file name from a header or a path, reduced to what may be one; `model` when nothing is left."""
    name = candidate.replace("\\", "/").rpartition("/")[2]
    return re.sub(r"[^\w.+()@=-]", "_", name).lstrip(".")[-_MAX_NAME:].lstrip(".") or "model"


def file_name(url: str, headers: Mapping[str, str]) -> str:
    """The name under which a download is kept.

    The URL's last part if it has a suffix, else `Content-Disposition`'s name, else the URL's part all the same. A
    name without a suffix gets that of an archive when the content type says that it is one.
    """
    from_url = safe_name(unquote(urlsplit(url).path))
    name = from_url
    if not Path(from_url).suffix:
        disposition = headers.get("content-disposition", "")
        extended = re.search(r"filename\*\s*=\s*[\w-]+'[^']*'([^;\s]+)", disposition, re.IGNORECASE)
        plain = re.search(r'filename\s*=\s*(?:"([^"]*)"|([^;\s]+))', disposition, re.IGNORECASE)
        if extended:
            name = safe_name(unquote(extended.group(1)))
        elif plain:
            name = safe_name(plain.group(1) or plain.group(2) or "")
    if not Path(name).suffix:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        name += _ARCHIVE_TYPES.get(kind, "")
    return name


class HttpProvider:
    """Downloads over HTTP/1.1, with or without TLS."""

    def fetch(self, order: Order) -> Path:
        """The folder in the cache with the file, or with the archive's members.

        A cached artefact is revalidated with `ETag` or `Last-Modified`; see `attempt` for servers that do not answer.
        """
        with order.cache.lock(order.identity), HttpSession(order) as session:
            return attempt(order, lambda: _fetch(session, order))


def _fetch(session: HttpSession, order: Order) -> Path:
    known = order.cache.ref(order.identity)
    with _Answer(session, order.uri, session.open(order.uri, _conditions(known), takes=(200, 304))) as answer:
        if answer.unchanged and known is not None:
            return order.cache.artefact(known.key)
        headers = answer.headers
        return collect(order, [answer.part()], version=headers.get("etag"), last_modified=headers.get("last-modified"))


def _conditions(known: Ref | None) -> dict[str, str]:
    if known is not None and known.etag:
        return {"If-None-Match": known.etag}
    if known is not None and known.last_modified:
        return {"If-Modified-Since": known.last_modified}
    return {}


class _Answer:
    """The first answer: what it says of the file, and its body, which serves the first read from the start."""

    def __init__(self, session: HttpSession, url: str, response: httpx.Response) -> None:
        self._session = session
        self._url = url
        self._response: httpx.Response | None = response
        self.unchanged = response.status_code == 304
        self.headers = response.headers

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        if self._response is not None:
            self._response.close()

    def part(self) -> Part:
        """The file. It is read in ranges if the server gives them, names these very bytes and does not recode them."""
        length, etag = self.headers.get("content-length", ""), self.headers.get("etag", "")
        plain = "content-encoding" not in self.headers
        size = int(length) if plain and length.isascii() and length.isdigit() else None
        exact = bool(etag) and not etag.startswith("W/")
        ranges = self.headers.get("accept-ranges", "").strip().lower() == "bytes"
        tag = f"{self._url}@{etag}" if size is not None and exact and ranges else None
        name = file_name(str(self._response.url) if self._response is not None else self._url, self.headers)
        return Part(name, size, tag, lambda start, stop: self._read(start, stop, etag if tag else None))

    def _read(self, start: int, stop: int | None, etag: str | None) -> Iterator[bytes]:
        first, self._response = (self._response, None) if start == 0 else (None, self._response)
        if first is not None:
            yield from self._session.blocks(first)
        else:
            yield from self._session.read(self._url, start, stop, etag)
