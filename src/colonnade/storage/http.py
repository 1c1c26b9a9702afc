"""`http://` and `https://`: one file, streamed to disk, checked, cached, revalidated.

Redirects are followed by hand and not by the client, because the credentials in `<host>-headers` belong to one host
and must not travel to the next, and because a redirect from TLS to plain text is refused.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import httpx

from colonnade.errors import LoadFailed
from colonnade.storage import archive
from colonnade.storage.cache import Ref, key_of
from colonnade.storage.provider import Order
from colonnade.storage.uri import redacted
from colonnade.version import __version__

_log = logging.getLogger(__name__)

_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that a second try may mend
_BLOCK = 1 << 20
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


class _TryAgain(Exception):
    """A fault that may pass: a broken connection, or an answer of `_PASSING`."""


@dataclass(frozen=True, slots=True)
class _Download:
    """A complete file on disk."""

    path: Path
    name: str
    digest: str
    etag: str | None
    last_modified: str | None


def host_headers(host: str, env: Mapping[str, str]) -> dict[str, str]:
    """The headers that KServe's env variable `<host>-headers` (a JSON object) gives for this host.

    Raises:
        LoadFailed: the variable holds something else; its value is not shown.
    """
    text = env.get(f"{host}-headers")
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise LoadFailed(
            f'the variable {host}-headers must hold a JSON object of strings, such as {{"Authorization": "Bearer ..."}}'
        )
    return found


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


def _refuse_status(status: int, shown: str, host: str) -> NoReturn:
    if status in (401, 403):
        raise LoadFailed(
            f"{shown} answered {status}: the server wants credentials, or refuses these; give them as a JSON object "
            f'of headers in the environment variable {host}-headers, such as {{"Authorization": "Bearer ..."}}'
        )
    if status in (404, 410):
        raise LoadFailed(f"{shown} answered {status}: there is nothing at this address; correct the storageUri")
    raise LoadFailed(f"{shown} answered {status}; a model is taken from an answer of 200 only")


class HttpProvider:
    """Downloads over HTTP/1.1, with or without TLS."""

    def fetch(self, order: Order) -> Path:
        """The folder in the cache with the file, or with the archive's members.

        A cached artefact is revalidated with `ETag` or `Last-Modified`. If the server cannot be reached at all, or
        fails on its side, the cached one is used and a warning logged: a replica must be able to restart.
        """
        with order.cache.lock(order.uri):
            known = order.cache.ref(order.uri)
            try:
                with order.cache.partial(order.uri) as folder:
                    return self._fetch(order, folder, known)
            except _TryAgain as error:
                if known is None:
                    raise LoadFailed(
                        f"{redacted(order.uri)} could not be fetched in {order.limits.attempts} tries: {error}; "
                        "check the address and the network"
                    ) from error
                _log.warning(
                    "the server of a model does not answer; the cached copy is used, which may be old",
                    extra={"uri": redacted(order.uri), "cause": str(error)},
                )
                return order.cache.artefact(known.key)

    def _fetch(self, order: Order, folder: Path, known: Ref | None) -> Path:
        limits = order.limits
        timeout = httpx.Timeout(limits.read_timeout, connect=limits.connect_timeout)
        with httpx.Client(timeout=timeout, follow_redirects=False) as client:
            for attempt in range(1, limits.attempts + 1):
                try:
                    download = self._download(client, order, folder, known)
                    break
                except _TryAgain:
                    if attempt == limits.attempts:
                        raise
                    time.sleep(limits.retry_delay * 2 ** (attempt - 1))
        if download is None:
            assert known is not None
            return order.cache.artefact(known.key)
        return self._publish(order, folder, download)

    def _publish(self, order: Order, folder: Path, download: _Download) -> Path:
        unpacks = archive.is_archive(download.name)
        key = key_of(download.digest, None if unpacks else download.name)
        place = order.cache.artefact(key)
        if not place.is_dir():
            content = folder / "content"
            content.mkdir()
            if unpacks:
                archive.unpack(download.path, content, redacted(order.uri), order.limits)
            else:
                download.path.rename(content / download.name)
            place = order.cache.publish(content, key)
        order.cache.remember(order.uri, Ref(key, download.etag, download.last_modified))
        return place

    def _download(self, client: httpx.Client, order: Order, folder: Path, known: Ref | None) -> _Download | None:
        """The file, or None when the known one is still current."""
        url = order.uri
        for _ in range(order.limits.redirects + 1):
            try:
                with client.stream("GET", url, headers=self._headers(url, order, known)) as response:
                    if response.status_code in _REDIRECTS:
                        url = self._redirected(url, response)
                        continue
                    return self._receive(response, url, order, folder, known)
            except httpx.InvalidURL as error:
                raise LoadFailed(
                    f"{redacted(order.uri)} is no valid address: {error}; correct the storageUri"
                ) from None
            except httpx.TransportError as error:
                raise _TryAgain(str(error) or "the connection broke or timed out") from error
            except httpx.DecodingError as error:
                raise _TryAgain(f"the answer's compression is damaged: {error}") from error
        raise LoadFailed(
            f"{redacted(order.uri)} redirects more than {order.limits.redirects} times; give the final address"
        )

    def _headers(self, url: str, order: Order, known: Ref | None) -> dict[str, str]:
        headers = {"User-Agent": f"colonnade/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        elif known is not None and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        return headers | host_headers(urlsplit(url).hostname or "", order.env)

    def _redirected(self, url: str, response: httpx.Response) -> str:
        target = str(httpx.URL(url).join(response.headers.get("location", "")))
        scheme = urlsplit(target).scheme
        if scheme not in ("http", "https") or (scheme == "http" and url.lower().startswith("https:")):
            raise LoadFailed(
                f"{redacted(url)} redirects to {redacted(target)}; only https, or http from http, is followed"
            )
        return target

    def _receive(
        self, response: httpx.Response, url: str, order: Order, folder: Path, known: Ref | None
    ) -> _Download | None:
        status = response.status_code
        if status == 304 and known is not None:
            return None
        if status in _PASSING:
            raise _TryAgain(f"the server answered {status}")
        if status != 200:
            _refuse_status(status, redacted(url), urlsplit(url).hostname or "<host>")
        total = self._announced(response, order, folder)
        path = folder / "download"
        digest = hashlib.sha256()
        done = 0
        with path.open("wb") as file:
            for block in response.iter_bytes(_BLOCK):
                done += len(block)
                if done > order.limits.download_bytes:
                    self._refuse_size(order)
                digest.update(block)
                file.write(block)
                order.report(done, total)
        headers = response.headers
        return _Download(
            path, file_name(url, headers), digest.hexdigest(), headers.get("etag"), headers.get("last-modified")
        )

    def _announced(self, response: httpx.Response, order: Order, folder: Path) -> int | None:
        """The size that the server announces, refused early when it cannot fit."""
        text = response.headers.get("content-length", "")
        if not (text.isascii() and text.isdigit()) or "content-encoding" in response.headers:
            return None
        total = int(text)
        if total > order.limits.download_bytes:
            self._refuse_size(order)
        free = shutil.disk_usage(folder).free
        if total > free:
            raise LoadFailed(
                f"{redacted(order.uri)} has {total} bytes and the cache's disk has {free} free; make room, "
                "or move the state folder"
            )
        return total

    def _refuse_size(self, order: Order) -> NoReturn:
        raise LoadFailed(
            f"{redacted(order.uri)} is larger than {order.limits.download_bytes} bytes, the limit for a download"
        )
