"""The HTTP requests of one fetch: redirects by hand, credentials by host, ranges that are held to what they claim.

Redirects are followed by hand and not by the client, because the credentials in `<host>-headers` belong to one host
and must not travel to the next, and because a redirect from TLS to plain text is refused.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import NoReturn, Self
from urllib.parse import urlsplit

import httpx

from colonnade.errors import LoadFailed
from colonnade.storage.parts import Changed, TryAgain
from colonnade.storage.provider import Order
from colonnade.storage.uri import redacted
from colonnade.version import __version__

_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that a second try may mend
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Refused(LoadFailed):
    """The server wants credentials, or refuses the ones that it got."""


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


def refuse_status(status: int, shown: str, host: str) -> NoReturn:
    """Turn an answer without content into the error for it."""
    if status in _PASSING:
        raise TryAgain(f"the server answered {status}")
    if status in (401, 403):
        raise Refused(
            f"{shown} answered {status}: the server wants credentials, or refuses these; give them as a JSON object "
            f'of headers in the environment variable {host}-headers, such as {{"Authorization": "Bearer ..."}}'
        )
    if status in (404, 410):
        raise LoadFailed(f"{shown} answered {status}: there is nothing at this address; correct the storageUri")
    raise LoadFailed(f"{shown} answered {status}; a model is taken from an answer of 200 only")


class HttpSession:
    """Requests for one order, from any number of threads. A context manager."""

    def __init__(self, order: Order, verify: ssl.SSLContext | bool = True) -> None:
        """`verify` says whom to trust, where that is not the system's own authorities."""
        limits = order.limits
        self._order = order
        self._client = httpx.Client(
            verify=verify,
            timeout=httpx.Timeout(limits.read_timeout, connect=limits.connect_timeout, pool=None),
            limits=httpx.Limits(max_connections=limits.connections + 1),
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def open(
        self, url: str, headers: Mapping[str, str] | None = None, *, takes: Collection[int] = (200,)
    ) -> httpx.Response:
        """The answer at the end of the redirects, its body unread; the caller closes it.

        Raises:
            TryAgain: the fault may pass.
            LoadFailed: the answer's status is not one of `takes`, or the address is not to be followed.
        """
        given = dict(headers or {})
        for _ in range(self._order.limits.redirects + 1):
            sent = {"User-Agent": f"colonnade/{__version__}", "Accept": "*/*", "Accept-Encoding": "identity"}
            sent |= {**given, **host_headers(urlsplit(url).hostname or "", self._order.env)}
            with self._faults():
                response = self._client.send(self._client.build_request("GET", url, headers=sent), stream=True)
            if response.status_code in takes:
                return response
            response.close()
            if response.status_code not in _REDIRECTS:
                refuse_status(response.status_code, redacted(url), urlsplit(url).hostname or "<host>")
            url, left = _redirected(url, response), urlsplit(url).netloc
            if urlsplit(url).netloc != left:
                given = {name: value for name, value in given.items() if name.lower() != "authorization"}
        raise LoadFailed(
            f"{redacted(self._order.uri)} redirects more than {self._order.limits.redirects} times; "
            "give the final address"
        )

    def blocks(self, response: httpx.Response) -> Iterator[bytes]:
        """The body, and the connection given back at its end."""
        try:
            with self._faults():
                yield from response.iter_bytes()  # as they come: a larger block would be lost with a connection
        finally:
            response.close()

    def read(
        self, url: str, start: int, stop: int | None, etag: str | None, headers: Mapping[str, str] | None = None
    ) -> Iterator[bytes]:
        """A range of what the server called `etag` before, or the whole from the start if no range is asked for.

        Raises:
            Changed: the server has other content now, or another range than was asked for.
            TryAgain, LoadFailed: see `open`.
        """
        asked = dict(headers or {})
        if start or stop is not None:
            asked["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
            if etag is not None:
                asked["If-Match"] = etag
        response = self.open(url, asked, takes=(200, 206, 412, 416))
        try:
            self._require_range(response, start, etag)
        except BaseException:
            response.close()
            raise
        yield from self.blocks(response)

    def _require_range(self, response: httpx.Response, start: int, etag: str | None) -> None:
        now = response.headers.get("etag")
        if response.status_code in (412, 416) or (etag is not None and now is not None and now != etag):
            raise Changed("the content changed at its source while it was downloaded")
        if response.status_code == 206:
            found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
            if found is None or int(found.group(1)) != start:
                raise Changed("the server sent another range than was asked for")
        elif start:
            raise Changed("the server no longer gives ranges")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """What the client raises, as what the fetch knows."""
        try:
            yield
        except httpx.InvalidURL as error:
            raise LoadFailed(
                f"{redacted(self._order.uri)} is no valid address: {error}; correct the storageUri"
            ) from None
        except httpx.TransportError as error:
            raise TryAgain(str(error) or "the connection broke or timed out") from error
        except httpx.DecodingError as error:
            raise TryAgain(f"the answer's compression is damaged: {error}") from error
        except httpx.StreamError as error:
            raise TryAgain("the connection was closed") from error


def _redirected(url: str, response: httpx.Response) -> str:
    target = str(httpx.URL(url).join(response.headers.get("location", "")))
    scheme = urlsplit(target).scheme
    if scheme not in ("http", "https") or (scheme == "http" and url.lower().startswith("https:")):
        raise LoadFailed(f"{redacted(url)} redirects to {redacted(target)}; only https, or http from http, is followed")
    return target
