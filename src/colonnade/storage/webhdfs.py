"""`hdfs://PATH` and `webhdfs://PATH`: a Hadoop file system over its REST interface, WebHDFS, so no library is needed.

As with KServe the URI is the path alone; the name node and the rest come from the keys of the secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from colonnade.errors import InvalidInput, LoadFailed
from colonnade.storage.http_session import HttpSession
from colonnade.storage.listed import fetch_listed, scope_of
from colonnade.storage.parts import Part
from colonnade.storage.provider import Order
from colonnade.storage.trust import ca_bundle, is_true
from colonnade.storage.uri import redacted

_KEYS = ("HDFS_NAMENODE", "HDFS_ROOTPATH", "USER_PROXY", "HEADERS", "TLS_CERT", "TLS_KEY", "TLS_CA", "TLS_SKIP_VERIFY")
_DEPTH = 32  # folders in folders
_MAX_ANSWER = 64 << 20  # bytes of the listing of one folder


@dataclass(frozen=True, slots=True)
class Cluster:
    """A file system and how it is asked.

    Attributes:
        node: the name node's address.
        root: the folder that paths count from, or empty.
        user: whom the name node is asked to act for (`doas`), or empty.
        headers: sent with each request to the name node.
        certificate: our own, with its key, in PEM; or None.
        authorities: further ones to trust, in PEM; or None.
        trusts_all: certificates are not looked at.
    """

    node: str
    root: str
    user: str
    headers: Mapping[str, str]
    certificate: tuple[bytes, bytes] | None
    authorities: bytes | None
    trusts_all: bool

    def address(self, path: str, **query: str | int) -> str:
        """The URL of an operation on a path."""
        words = {**query, **({"doas": self.user} if self.user else {})}
        return f"{self.node}/webhdfs/v1{quote(path)}?{urlencode(words)}"

    def context(self, env: Mapping[str, str]) -> ssl.SSLContext:
        """TLS as the secret has it."""
        context = ssl.create_default_context(cafile=ca_bundle(env))
        try:
            if self.authorities is not None:
                context.load_verify_locations(cadata=self.authorities.decode())
            if self.certificate is not None:
                with tempfile.TemporaryDirectory() as folder:  # the library reads certificates of files alone
                    paths = Path(folder, "cert.pem"), Path(folder, "key.pem")
                    for path, text in zip(paths, self.certificate, strict=True):
                        path.write_bytes(text)
                    context.load_cert_chain(*paths)
        except (ssl.SSLError, OSError, UnicodeDecodeError, ValueError):
            raise LoadFailed("HDFS: TLS_CERT, TLS_KEY or TLS_CA is no PEM text, or its base64") from None
        if self.trusts_all:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _pem(text: str) -> bytes:
    """A file's content as secrets carry it: plain, or in base64."""
    if "-----BEGIN" in text:
        return text.encode()
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode()


def cluster_of(env: Mapping[str, str]) -> Cluster:
    """The cluster that the variables name, or the files of `HDFS_SECRET_DIR` under the same names.

    Raises:
        LoadFailed: no name node is set, a value is malformed, or Kerberos is asked for.
    """
    found = {**_of_folder(env.get("HDFS_SECRET_DIR", "")), **{key: env[key] for key in _KEYS if env.get(key)}}
    if env.get("KERBEROS_PRINCIPAL") or found.get("KERBEROS_PRINCIPAL"):
        raise LoadFailed(
            "HDFS authentication failed. Kerberos is not spoken here (KERBEROS_PRINCIPAL is set): put a gateway such "
            "as Apache Knox before the cluster and give its header in HEADERS"
        )
    node = found.get("HDFS_NAMENODE", "").strip().rstrip("/")
    if urlsplit(node).scheme not in ("http", "https"):
        raise LoadFailed("HDFS: set HDFS_NAMENODE to the name node's http address, such as http://namenode:9870")
    try:
        headers = json.loads(found.get("HEADERS") or "{}")
    except ValueError:
        headers = None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise LoadFailed("HDFS: HEADERS must be a JSON object of strings")
    certificate, key = found.get("TLS_CERT"), found.get("TLS_KEY")
    return Cluster(
        node,
        found.get("HDFS_ROOTPATH", "").strip().rstrip("/"),
        found.get("USER_PROXY", "").strip(),
        headers,
        (_pem(certificate), _pem(key)) if certificate and key else None,
        _pem(found["TLS_CA"]) if found.get("TLS_CA") else None,
        is_true(found.get("TLS_SKIP_VERIFY")),
    )


def _of_folder(folder: str) -> dict[str, str]:
    if not folder:
        return {}
    try:
        return {
            key: path.read_text() for key in (*_KEYS, "KERBEROS_PRINCIPAL") if (path := Path(folder, key)).is_file()
        }
    except (OSError, UnicodeDecodeError) as error:
        raise LoadFailed(f"HDFS: the secret's folder {folder} cannot be read: {error}") from None


def path_of(uri: str, root: str) -> str:
    """The absolute path that a URI names.

    Raises:
        InvalidInput: it names none, or climbs.
    """
    parts = [part for part in uri.partition("://")[2].split("/") if part]
    if not parts or ".." in parts or "\0" in uri:
        raise InvalidInput(f"storageUri {redacted(uri)} names no path; write {uri.partition('://')[0]}://PATH")
    return "/".join([root, *parts]) if root.startswith("/") or not root else "/".join(["", root, *parts])


class WebHdfsProvider:
    """Fetches from a Hadoop file system."""

    def fetch(self, order: Order) -> Path:
        """The folder in the cache with the file, or with the files below the folder."""
        cluster = cluster_of(order.env)
        path = path_of(order.uri, cluster.root)
        secrets = (cluster.user, json.dumps(dict(cluster.headers)), str(cluster.certificate))
        scoped = replace(order, scope=scope_of(cluster.node, *secrets))
        with HttpSession(scoped, cluster.context(order.env)) as session:
            return fetch_listed(scoped, _Files(session, cluster, path, scoped).parts)


@dataclass(frozen=True, slots=True)
class _Files:
    session: HttpSession
    cluster: Cluster
    path: str
    order: Order

    def parts(self) -> list[Part]:
        """The files below the path that the patterns take."""
        status = self._ask(self.path, "GETFILESTATUS").get("FileStatus")
        if not isinstance(status, dict):
            raise self._strange()
        if status.get("type") == "FILE":
            return [self._part(self.path, self.path.rpartition("/")[2], status)]
        found = [
            self._part(f"{self.path}/{relative}", relative, entry)
            for relative, entry in self._walk("", _DEPTH)
            if entry.get("length") and self.order.patterns.takes(relative)
        ]
        if not found:
            raise LoadFailed(
                f"Failed to fetch model. No model found in {self.order.uri}: there are no files that the allow and "
                "ignore patterns take"
            )
        return found

    def _walk(self, folder: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
        place = f"{self.path}/{folder}".rstrip("/")
        listed = self._ask(place, "LISTSTATUS").get("FileStatuses")
        entries = listed.get("FileStatus") if isinstance(listed, dict) else None
        if not isinstance(entries, list):
            raise self._strange()
        for entry in entries:
            name = entry.get("pathSuffix") if isinstance(entry, dict) else None
            if not isinstance(name, str) or not name or "/" in name:
                raise self._strange()
            relative = f"{folder}/{name}".lstrip("/")
            if entry.get("type") == "FILE":
                yield relative, entry
            elif entry.get("type") == "DIRECTORY" and depth:
                yield from self._walk(relative, depth - 1)

    def _part(self, path: str, relative: str, status: Mapping[str, Any]) -> Part:
        size, changed = status.get("length"), status.get("modificationTime")
        tag = f"{self.cluster.node} {path} {status.get('fileId')} {changed} {size}" if changed else None

        def read(start: int, stop: int | None) -> Iterator[bytes]:
            query: dict[str, str | int] = {"op": "OPEN", "offset": start}
            if stop is not None:
                query["length"] = stop - start
            response = self.session.open(self.cluster.address(path, **query), self.cluster.headers)
            return self.session.blocks(response)

        return Part(relative, size if isinstance(size, int) else None, tag, read)

    def _ask(self, path: str, operation: str) -> Mapping[str, Any]:
        response = self.session.open(
            self.cluster.address(path, op=operation), self.cluster.headers, takes=(200, 401, 403, 404)
        )
        body = b""
        for block in self.session.blocks(response):
            body += block
            if len(body) > _MAX_ANSWER:
                raise LoadFailed(f"the listing of {path} in {self.cluster.node} is larger than {_MAX_ANSWER} bytes")
        if response.status_code == 404:
            raise LoadFailed(f"HDFS resource '{path}' not found. Correct the storageUri {self.order.uri}")
        if response.status_code != 200:
            raise LoadFailed(
                f"Access denied to HDFS resource '{path}'. Verify permissions: {self.cluster.node} answered "
                f"{response.status_code}; HEADERS and USER_PROXY say who asks"
            )
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._strange()
        return found

    def _strange(self) -> LoadFailed:
        return LoadFailed(f"{self.cluster.node} does not speak WebHDFS; correct HDFS_NAMENODE")
