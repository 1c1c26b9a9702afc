"""`hf://OWNER/MODEL[:REVISION][/PATH]`: a repository of the Hugging Face hub, or of a server that speaks its API.

A revision is resolved to its commit first, so that all files are of one commit even while somebody pushes, and a
commit that is known needs no further question. Each file's id in git, or its SHA-256 where it lies in large-file
storage, is verified.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.storage.http_session import HttpSession, refuse_status
from colonnade.storage.listed import fetch_listed, scope_of
from colonnade.storage.parts import Part
from colonnade.storage.provider import Order
from colonnade.storage.trust import tls_context
from colonnade.storage.uri import redacted

_ENDPOINT = "https://huggingface.co"
_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_HINT = "Set HF_TOKEN or request access to the gated repository."
_MAX_ANSWER = 64 << 20  # bytes of one page of a listing


@dataclass(frozen=True, slots=True)
class Repository:
    """What a URI says. `path` is a file or a folder in the repository, or empty for all of it."""

    name: str
    revision: str
    path: str


def repository_of(uri: str) -> Repository:
    """Take a URI apart. The texts are KServe's; the path after the model is an addition of ours.

    Raises:
        InvalidInput: owner or model is missing, or a name could mean another address.
    """
    owner, slash, rest = uri.partition("://")[2].partition("/")
    model_part, _, path = rest.partition("/")
    model, _, revision = model_part.partition(":")
    shown = redacted(uri)
    if not slash:
        raise InvalidInput(f"Invalid Hugging Face URI format. Expected 'hf://owner/model[:revision]', got '{shown}'")
    if not owner:
        raise InvalidInput(f"Hugging Face repository owner cannot be empty in URI: {shown}")
    if not model:
        raise InvalidInput(f"Hugging Face model name cannot be empty in URI: {shown}")
    if any(part in (".", "..") or set(part) & set("?#%\\") for part in (owner, model, revision, *path.split("/"))):
        raise InvalidInput(f"storageUri {shown} holds a name that the hub does not take; correct it")
    return Repository(f"{owner}/{model}", revision or "main", path.strip("/"))


def endpoint_of(env: Mapping[str, str]) -> str:
    """The hub's address; `HF_ENDPOINT` is that of the hub's own library."""
    return env.get("HF_ENDPOINT", "").rstrip("/") or _ENDPOINT


class HubProvider:
    """Fetches from the hub."""

    def fetch(self, order: Order) -> Path:
        """The folder in the cache with the files of the repository, or of the folder in it."""
        repository, endpoint = repository_of(order.uri), endpoint_of(order.env)
        token = next((order.env[name] for name in _TOKENS if order.env.get(name)), None)
        scoped = replace(order, scope=scope_of(endpoint, token), env=_with_token(order.env, endpoint, token))
        with HttpSession(scoped, tls_context(order.env)) as session:
            hub = _Hub(session, endpoint, repository, scoped)
            return fetch_listed(scoped, hub.parts)


def _with_token(env: Mapping[str, str], endpoint: str, token: str | None) -> Mapping[str, str]:
    """The token as a header of the hub's host alone: the servers that it redirects to must not see it."""
    host = urlsplit(endpoint).hostname or ""
    if token is None:
        return env
    return {**env, f"{host}-headers": json.dumps({"Authorization": f"Bearer {token}"})}


@dataclass(frozen=True, slots=True)
class _Hub:
    session: HttpSession
    endpoint: str
    repository: Repository
    order: Order

    def parts(self) -> list[Part]:
        """The files of the revision's commit that the patterns take."""
        name, path = self.repository.name, self.repository.path
        commit = self._commit()
        parts = []
        for entry in self._tree(commit):
            found = entry.get("path")
            if entry.get("type") != "file" or not isinstance(found, str):
                continue
            relative = found.removeprefix(f"{path}/") if path and found != path else found.rpartition("/")[2]
            relative = relative if path else found
            if found == path or self.order.patterns.takes(relative):
                parts.append(self._part(entry, found, relative, commit))
        if not parts:
            raise LoadFailed(
                f"Failed to fetch model. No model found in {self.order.uri}: {name} has no files there at {commit} "
                "that the allow and ignore patterns take"
            )
        return parts

    def _part(self, entry: Mapping[str, Any], name: str, relative: str, commit: str) -> Part:
        large = entry.get("lfs")
        if isinstance(large, dict) and isinstance(large.get("oid"), str):
            digest, size = f"sha256:{large['oid']}", large.get("size")
        else:
            digest, size = f"git:{entry.get('oid', '')}", entry.get("size")
        url = f"{self.endpoint}/{self.repository.name}/resolve/{commit}/{quote(name)}"
        read = partial(_read, self.session, url)
        return Part(relative, size if isinstance(size, int) else None, f"{url} {digest}", read, digest)

    def _commit(self) -> str:
        url = f"{self.endpoint}/api/models/{self.repository.name}/revision/{quote(self.repository.revision, safe='')}"
        found, _ = self._ask(url)
        commit = found.get("sha") if isinstance(found, dict) else None
        if not isinstance(commit, str) or not commit.isalnum():
            raise LoadFailed(f"{self.endpoint} does not speak the hub's API: {redacted(url)} names no commit")
        return commit

    def _tree(self, commit: str) -> Iterator[Mapping[str, Any]]:
        path = self.repository.path
        parent = path.rpartition("/")[0] if path else ""
        url = f"{self.endpoint}/api/models/{self.repository.name}/tree/{commit}/{quote(parent)}".rstrip("/")
        following: str | None = f"{url}?recursive=true&expand=false"
        while following is not None:
            page, following = self._ask(following)
            for entry in page if isinstance(page, list) else ():
                named = entry.get("path") if isinstance(entry, dict) else None
                if isinstance(named, str) and (not path or named == path or named.startswith(f"{path}/")):
                    yield entry

    def _ask(self, url: str) -> tuple[Any, str | None]:
        """An answer of the API, and the address of the page that follows."""
        response = self.session.open(url, takes=(200, 401, 403, 404))
        body = b"".join(self._bounded(response))
        if response.status_code != 200:
            self._refuse(response)
        try:
            found = json.loads(body)
        except ValueError:
            raise LoadFailed(f"{self.endpoint} does not speak the hub's API: {redacted(url)} is no JSON") from None
        link = response.links.get("next", {}).get("url")
        return found, str(httpx.URL(url).join(link)) if link else None

    def _bounded(self, response: httpx.Response) -> Iterator[bytes]:
        size = 0
        for block in self.session.blocks(response):
            size += len(block)
            if size > _MAX_ANSWER:
                raise LoadFailed(
                    f"the listing of {self.repository.name} at {self.endpoint} is larger than {_MAX_ANSWER}"
                )
            yield block

    def _refuse(self, response: httpx.Response) -> None:
        """The hub says in a header whether a repository, a revision or a file is absent, or closed to the caller."""
        name, code = self.repository.name, response.headers.get("x-error-code", "")
        if response.status_code == 404 and code == "RevisionNotFound":
            raise LoadFailed(
                f"HuggingFace resource '{name}' not found: it has no revision {self.repository.revision!r}; "
                f"correct the storageUri {self.order.uri}"
            )
        if code == "GatedRepo" or response.status_code == 403:
            raise LoadFailed(f"HuggingFace authentication failed. {_HINT} ('{name}' answered {response.status_code})")
        if response.status_code == 404 or code == "RepoNotFound":
            raise LoadFailed(
                f"HuggingFace resource '{name}' not found, or not for this token. Correct the storageUri "
                f"{self.order.uri}, or: {_HINT}"
            )
        if response.status_code == 401:
            raise LoadFailed(f"HuggingFace authentication failed. {_HINT} ('{name}' answered 401)")
        refuse_status(response.status_code, self.order.uri, urlsplit(self.endpoint).hostname or "")


def _read(session: HttpSession, url: str, start: int, stop: int | None) -> Iterator[bytes]:
    return session.read(url, start, stop, None)
