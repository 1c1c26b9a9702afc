"""A registry's side of the OCI distribution protocol: manifests and blobs, and the tokens that it wants for them."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from colonnade.errors import LoadFailed
from colonnade.storage.http_session import HttpSession, Refused, refuse_status
from colonnade.storage.oci_reference import Reference
from colonnade.storage.parts import TryAgain
from colonnade.storage.provider import Order

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.artifact.manifest.v1+json",
)
_ACCEPT = {"Accept": ", ".join((*_INDEXES, *_MANIFESTS))}
_MAX_MANIFEST = 4 << 20  # what the specification asks registries to take
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_PARAMETER = re.compile(r'(\w+)="([^"]*)"')
_HINT = "Give a Docker config with credentials for it: a Secret of the service account, or KSERVE_OCI_DOCKER_CONFIG."


def architecture() -> str:
    """This machine's, as image indexes write it."""
    machine = platform.machine().lower()
    return _ARCHITECTURES.get(machine, machine)


def choose(index: Mapping[str, Any], machine: str, shown: str) -> str:
    """The digest of the manifest of an index that is for Linux on this machine, or that is for any platform.

    Raises:
        LoadFailed: there is none.
    """
    found = [entry for entry in index.get("manifests", ()) if isinstance(entry, dict) and "digest" in entry]
    platforms = [entry.get("platform") or {} for entry in found]
    for entry, given in zip(found, platforms, strict=True):
        if given.get("os") == "linux" and given.get("architecture") == machine:
            return str(entry["digest"])
    for entry, given in zip(found, platforms, strict=True):
        if not given:
            return str(entry["digest"])
    offered = ", ".join(f"{given.get('os')}/{given.get('architecture')}" for given in platforms) or "none"
    raise LoadFailed(f"OCI image index for {shown} has no manifest for linux/{machine}; it has {offered}")


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


class Registry:
    """Asks one registry for one repository; blobs from several threads."""

    def __init__(
        self, order: Order, reference: Reference, session: HttpSession, login: tuple[str, str] | None, *, plain: bool
    ) -> None:
        """`plain` says HTTP without TLS."""
        self._order = order
        self._reference = reference
        self._session = session
        self._login = login
        self._base = f"{'http' if plain else 'https'}://{reference.server}/v2/{reference.name}"
        self._authorization: str | None = None
        self._asking = threading.RLock()

    @property
    def base(self) -> str:
        """The repository's address."""
        return self._base

    def manifest(self, version: str) -> tuple[str, Mapping[str, Any]]:
        """A manifest and its digest; of an index, the one for this machine.

        Raises:
            TryAgain: the registry cannot be reached, or fails on its side.
            LoadFailed: there is none, or it is not what its digest says, or the registry refuses.
        """
        digest, found = self._document(version)
        if found.get("mediaType") in _INDEXES or ("manifests" in found and "layers" not in found):
            digest, found = self._document(choose(found, architecture(), self._order.uri))
        return digest, found

    def _document(self, version: str) -> tuple[str, Mapping[str, Any]]:
        body = b""
        for block in self._session.blocks(self._open(f"manifests/{version}", _ACCEPT)):
            body += block
            if len(body) > _MAX_MANIFEST:
                raise LoadFailed(f"the manifest of {self._order.uri} is larger than {_MAX_MANIFEST} bytes")
        kind = version.partition(":")[0] if ":" in version else "sha256"
        digest = f"{kind}:{hashlib.new(kind, body).hexdigest()}"
        if ":" in version and digest != version:
            raise LoadFailed(f"{self._order.uri}: the registry sent {digest} for the manifest {version}")
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise LoadFailed(f"{self._order.uri}: the registry's manifest is no JSON object")
        return digest, found

    def blob(self, digest: str, start: int, stop: int | None) -> Iterator[bytes]:
        """A range of a blob.

        Raises:
            TryAgain, Changed, LoadFailed: see `HttpSession.read`.
        """
        url, used = f"{self._base}/blobs/{digest}", self._authorization
        try:
            yield from self._session.read(url, start, stop, None, self._headers())
        except Refused:  # tokens end after minutes, and large blobs take longer
            self._renew(used)
            yield from self._session.read(url, start, stop, None, self._headers())

    def _renew(self, used: str | None) -> None:
        """Get a new token, unless another thread has done so since `used` was."""
        with self._asking:
            if self._authorization == used:
                self._authorization = None
                self._open(f"manifests/{self._reference.version}", _ACCEPT).close()

    def _headers(self) -> dict[str, str]:
        return {} if self._authorization is None else {"Authorization": self._authorization}

    def _open(self, path: str, headers: Mapping[str, str]) -> httpx.Response:
        """An answer of the registry; a challenge is met once."""
        url = f"{self._base}/{path}"
        response = self._session.open(url, {**headers, **self._headers()}, takes=(200, 401, 403, 404))
        if response.status_code == 401:
            response.close()
            self._answer(response.headers.get("www-authenticate", ""))
            response = self._session.open(url, {**headers, **self._headers()}, takes=(200, 401, 403, 404))
        if response.status_code != 200:
            response.close()
            self._refuse(response.status_code)
        return response

    def _refuse(self, status: int) -> None:
        shown = f"{self._reference.host}/{self._reference.name}"
        if status in (401, 403):
            raise LoadFailed(f"OCI authentication failed. {_HINT} ({shown} answered {status})")
        if status == 404:
            raise LoadFailed(f"OCI resource '{shown}' not found. Correct the storageUri {self._order.uri}")
        refuse_status(status, self._order.uri, self._reference.host)

    def _answer(self, challenge: str) -> None:
        """Meet a challenge: with a token of the server that it names, or with user and password."""
        with self._asking:
            kind, _, rest = challenge.partition(" ")
            if kind.lower() == "basic" and self._login is not None:
                self._authorization = _basic(*self._login)
            elif kind.lower() == "bearer":
                self._authorization = f"Bearer {self._token(dict(_PARAMETER.findall(rest)))}"
            else:
                self._refuse(401)

    def _token(self, parameters: Mapping[str, str]) -> str:
        realm = parameters.get("realm", "")
        secure = urlsplit(realm).scheme == "https" or self._base.startswith("http://")
        if not secure:
            raise LoadFailed(f"{self._reference.host} sends for tokens to {realm!r}; only https is followed")
        scope = {
            "service": parameters.get("service", ""),
            "scope": parameters.get("scope") or f"repository:{self._reference.name}:pull",
        }
        headers = {} if self._login is None else {"Authorization": _basic(*self._login)}
        response = self._session.open(
            f"{realm}{'&' if '?' in realm else '?'}{urlencode(scope)}", headers, takes=(200, 400, 401, 403, 404)
        )
        body = b"".join(self._session.blocks(response))[:_MAX_MANIFEST]
        if response.status_code != 200:
            self._refuse(401)
        try:
            found = json.loads(body)
            return str(found.get("token") or found["access_token"])
        except (ValueError, KeyError, AttributeError):
            raise TryAgain(f"the token server of {self._reference.host} sent no token") from None
