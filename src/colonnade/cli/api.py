"""The command line's view of the Kubernetes-shaped API: objects in, objects out, errors as sentences."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from colonnade.cli.exits import CommandFailed, Outdated, Unreachable
from colonnade.resources.kinds import Kind

Object = dict[str, Any]

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


class Api:
    """A connection by way of a kubeconfig: the platform's own, or that of any cluster that takes a bearer token."""

    def __init__(self, server: str, token: str | None, trust: ssl.SSLContext | bool) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=server, headers=headers, verify=trust, timeout=30.0, trust_env=False)
        self.server = server

    @classmethod
    def from_kubeconfig(cls, path: Path) -> Api:
        """Reads server, authority and token of the current context.

        Raises:
            CommandFailed: no file, or no context that can be used.
        """
        try:
            config = yaml.safe_load(path.read_text())
            name = config["current-context"]
            context = _named(config["contexts"], name)["context"]
            cluster = _named(config["clusters"], context["cluster"])["cluster"]
            user = _named(config["users"], context["user"])["user"]
            authority = cluster.get("certificate-authority-data")
            trust: ssl.SSLContext | bool = True
            if authority:
                trust = ssl.create_default_context(cadata=base64.b64decode(authority).decode())
            return cls(cluster["server"], user.get("token"), trust)
        except FileNotFoundError:
            raise Unreachable(
                f"no platform has run on {path.parent}: start one with `colonnade up`, "
                "or name another state folder with --state-dir"
            ) from None
        except (OSError, KeyError, TypeError, ValueError, yaml.YAMLError) as error:
            raise Unreachable(f"{path} is not a usable kubeconfig: {error!r}") from None

    def request(
        self,
        method: str,
        path: str,
        *,
        params: dict[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Any:
        """One call; the decoded answer.

        Raises:
            Outdated: the object has been changed since it was read.
            CommandFailed: the API refuses (its `Status` message) or does not answer.
        """
        headers = {"Accept": accept, **({"Content-Type": content_type} if body is not None else {})}
        with self._reachable():
            answer = self._http.request(method, path, params=params, content=body, headers=headers)
        for warning in answer.headers.get_list("warning"):
            _warn(warning)
        if answer.is_success:
            return answer.json() if "json" in answer.headers.get("content-type", "") else answer.text
        raise (Outdated if answer.status_code == httpx.codes.CONFLICT else CommandFailed)(_reason(answer))

    def find(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """The object, or None where there is none."""
        with self._reachable():
            answer = self._http.get(kind_path(kind, namespace, name))
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if not answer.is_success:
            raise CommandFailed(_reason(answer))
        found: Object = answer.json()
        return found

    def list(self, kind: Kind, namespace: str | None, **params: str) -> list[Object]:
        """All objects of a kind, in one namespace or (None) in all."""
        items: list[Object] = self.request("GET", kind_path(kind, namespace), params=params)["items"]
        return items

    def lines(self, path: str, params: dict[str, str]) -> Iterator[str]:
        """A streamed text answer (logs, watches), line by line, for as long as it lasts."""
        with (
            self._reachable(),
            self._http.stream("GET", path, params=params, timeout=httpx.Timeout(30.0, read=None)) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise CommandFailed(_reason(answer))
            yield from answer.iter_lines()

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError:
            raise Unreachable(
                f"no platform answers at {self.server}: start one with `colonnade up`, "
                "or name another state folder with --state-dir"
            ) from None


def kind_path(kind: Kind, namespace: str | None, name: str | None = None) -> str:
    """The REST path of a collection (all namespaces if None) or of one object."""
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    scope = f"/namespaces/{namespace}" if kind.namespaced and namespace else ""
    return f"{root}{scope}/{kind.plural}" + (f"/{name}" if name else "")


def _named(entries: list[Object], name: str) -> Object:
    for entry in entries:
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def _reason(answer: httpx.Response) -> str:
    try:
        status = answer.json()
        return str(status.get("message") or status.get("error") or status)
    except (ValueError, AttributeError):
        return f"{answer.status_code} {answer.reason_phrase}: {answer.text[:200]}"


def _warn(header: str) -> None:
    import click

    text = header.split('"', 1)[1].rsplit('"', 1)[0] if '"' in header else header
    click.echo(f"warning: {text}", err=True)
