"""A small server of the Hugging Face hub's API. The hub's own library downloads from it, which holds it to the truth.

Large files are answered by a redirect to a second host name with an address of its own, as the hub's storage is.
"""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LARGE = 1000  # bytes; from here on a file lies in large-file storage
PAGE = 2  # entries of one page of a listing


@dataclass
class Repo:
    """A repository: files by revision; `token` opens it, if there is one."""

    revisions: dict[str, dict[str, bytes]]
    token: str | None = None
    gated: bool = False

    def commit(self, revision: str) -> str | None:
        """The id of a revision's commit."""
        for name, files in self.revisions.items():
            digest = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
            if revision in (name, digest):
                return digest
        return None

    def files(self, revision: str) -> dict[str, bytes]:
        """The files of a revision, by its name or commit."""
        return next(files for name, files in self.revisions.items() if revision in (name, self.commit(name)))


def git_id(body: bytes) -> str:
    """What git calls a content."""
    return hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()


@dataclass
class Hub:
    """The server. `seen` lists (host, path, headers) of requests; `damaged` names files that are sent wrong."""

    repos: dict[str, Repo]
    damaged: set[str] = field(default_factory=set)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub._answer(self, body=True)

            def do_HEAD(self) -> None:
                hub._answer(self, body=False)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler, *, body: bool) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.seen.append((headers["host"], handler.path, headers))
        parts = [unquote(part) for part in urlsplit(handler.path).path.split("/") if part]
        if parts[0] == "storage":
            return self._storage(handler, parts[1], body)
        api = parts[:2] == ["api", "models"]
        owner, name, verb, revision, *path = parts[2:] if api else parts
        repo = self.repos.get(f"{owner}/{name}")
        if repo is None or (repo.token is not None and headers.get("authorization") != f"Bearer {repo.token}"):
            if repo is not None and repo.gated:
                return self._send(handler, 401, b"", {"X-Error-Code": "GatedRepo"}, body)
            return self._send(handler, 401, b"", {"X-Error-Code": "RepoNotFound"}, body)
        commit = repo.commit(revision)
        if commit is None:
            return self._send(handler, 404, b"", {"X-Error-Code": "RevisionNotFound"}, body)
        files = repo.files(revision)
        if verb == "revision":
            siblings = [{"rfilename": file} for file in files]
            found = {"id": f"{owner}/{name}", "sha": commit, "siblings": siblings, "private": False}
            return self._send(handler, 200, json.dumps(found).encode(), {"Content-Type": "application/json"}, body)
        if verb == "tree":
            return self._tree(handler, files, "/".join(path), body)
        return self._resolve(handler, files, "/".join(path), commit, body)

    def _tree(self, handler: BaseHTTPRequestHandler, files: dict[str, bytes], folder: str, body: bool) -> None:
        entries: list[dict[str, object]] = []
        for path, content in sorted(files.items()):
            if folder and not path.startswith(f"{folder}/"):
                continue
            entry: dict[str, object] = {"type": "file", "path": path, "size": len(content), "oid": git_id(content)}
            if len(content) >= LARGE:
                digest = hashlib.sha256(content).hexdigest()
                entry |= {"oid": "0" * 40, "lfs": {"oid": digest, "size": len(content), "pointerSize": 130}}
            entries.append(entry)
        entries.insert(0, {"type": "directory", "path": f"{folder}/sub".lstrip("/"), "size": 0, "oid": "1" * 40})
        query = parse_qs(urlsplit(handler.path).query)
        start = int(query.get("cursor", ["0"])[0])
        headers = {"Content-Type": "application/json"}
        if start + PAGE < len(entries):
            here = handler.path.partition("&cursor")[0]
            headers["Link"] = f'<{self.endpoint}{here}&cursor={start + PAGE}>; rel="next"'
        self._send(handler, 200, json.dumps(entries[start : start + PAGE]).encode(), headers, body)

    def _resolve(
        self, handler: BaseHTTPRequestHandler, files: dict[str, bytes], path: str, commit: str, body: bool
    ) -> None:
        content = files.get(path)
        if content is None:
            return self._send(handler, 404, b"", {"X-Error-Code": "EntryNotFound"}, body)
        if len(content) >= LARGE:
            digest = hashlib.sha256(content).hexdigest()
            port = self.server.server_address[1]
            headers = {
                "Location": f"http://localhost:{port}/storage/{digest}?signature=very-secret",
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(content)),
                "X-Repo-Commit": commit,
            }
            return self._send(handler, 302, b"", headers, body)
        sent = content[::-1] if path in self.damaged else content
        headers = {"ETag": f'"{git_id(content)}"', "X-Repo-Commit": commit}
        return self._send(handler, 200, sent, headers, body)

    def _storage(self, handler: BaseHTTPRequestHandler, digest: str, body: bool) -> None:
        for repo in self.repos.values():
            for files in repo.revisions.values():
                for path, content in files.items():
                    if hashlib.sha256(content).hexdigest() == digest:
                        sent = content[::-1] if path in self.damaged else content
                        return self._send(handler, 200, sent, {"ETag": f'"{digest}"'}, body)
        return self._send(handler, 404, b"", {}, body)

    def _send(
        self, handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str], body: bool
    ) -> None:
        wanted = handler.headers.get("Range")
        if status == 200 and wanted is not None:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            stop = int(last) + 1 if last else len(content)
            headers = {**headers, "Content-Range": f"bytes {first}-{min(stop, len(content)) - 1}/{len(content)}"}
            status, content = 206, content[int(first) : stop]
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        if body:
            handler.wfile.write(content)
