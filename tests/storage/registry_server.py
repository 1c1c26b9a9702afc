"""A registry: the OCI distribution protocol, push and pull, with basic or token authentication.

`oras` pushes into it, which holds it to the truth. Where this machine has the reference implementation (Debian's
`docker-registry`, or `registry`), tests run against that one, too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx

OPEN, BASIC, TOKEN = "open", "basic", "token"
LOGIN = ("puller", "very-secret")
_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs|blobs/uploads)/(?P<what>[^/?]*)")


class Registry:
    """The server. `tokens` are those that are valid now; `seen` lists (method, path, authorization)."""

    def __init__(self, how: str = OPEN) -> None:
        self.how = how
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[tuple[str, str], tuple[str, bytes]] = {}
        self.damaged: set[str] = set()
        self.tokens: set[str] = set()
        self.reads_per_token: int | None = None
        self.seen: list[tuple[str, str, str | None]] = []
        self._reads = 0
        self._uploads: dict[str, bytes] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                registry._answer(self)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_any

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        authorization = handler.headers.get("Authorization")
        self.seen.append((handler.command, handler.path, authorization))
        url = urlsplit(handler.path)
        if url.path == "/token":
            return self._token(handler, authorization)
        if not self._may(authorization):
            realm = f'Bearer realm="http://{self.host}/token",service="registry"'
            challenge = {BASIC: 'Basic realm="registry"', TOKEN: realm}[self.how]
            return self._send(handler, 401, b"", {"WWW-Authenticate": challenge})
        if url.path.rstrip("/") == "/v2":
            return self._send(handler, 200, b"{}", {})
        found = _PATH.match(url.path)
        if found is None:
            return self._send(handler, 404, b"", {})
        name, kind, what = found["name"], found["kind"], found["what"]
        if kind == "manifests":
            return self._manifest(handler, name, what, body)
        if kind == "blobs" and what != "uploads":
            return self._blob(handler, what)
        return self._upload(handler, name, url.path, parse_qs(url.query), body)

    def _may(self, authorization: str | None) -> bool:
        if self.how == OPEN:
            return True
        if self.how == BASIC:
            return authorization == f"Basic {base64.b64encode(':'.join(LOGIN).encode()).decode()}"
        return (authorization or "").removeprefix("Bearer ") in self.tokens

    def _token(self, handler: BaseHTTPRequestHandler, authorization: str | None) -> None:
        if authorization != f"Basic {base64.b64encode(':'.join(LOGIN).encode()).decode()}":
            return self._send(handler, 401, b"{}", {})
        token = uuid4().hex
        self.tokens.add(token)
        return self._send(handler, 200, json.dumps({"token": token, "expires_in": 60}).encode(), {})

    def _manifest(self, handler: BaseHTTPRequestHandler, name: str, what: str, body: bytes) -> None:
        if handler.command == "PUT":
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            kept = handler.headers.get("Content-Type", ""), body
            self.manifests[name, what] = self.manifests[name, digest] = kept
            return self._send(handler, 201, b"", {"Docker-Content-Digest": digest, "Location": handler.path})
        found = self.manifests.get((name, what))
        if found is None:
            return self._send(handler, 404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}', {})
        kind, content = found
        return self._send(handler, 200, content, {"Content-Type": kind})

    def _blob(self, handler: BaseHTTPRequestHandler, digest: str) -> None:
        content = self.blobs.get(digest)
        if content is None:
            return self._send(handler, 404, b"", {})
        if handler.command == "GET" and self.reads_per_token is not None:
            self._reads += 1
            if self._reads % self.reads_per_token == 0:
                self.tokens.clear()
        sent = content[::-1] if digest in self.damaged else content
        return self._send(handler, 200, sent, {"Docker-Content-Digest": digest})

    def _upload(
        self, handler: BaseHTTPRequestHandler, name: str, path: str, query: dict[str, list[str]], body: bytes
    ) -> None:
        session = path.rpartition("/uploads/")[2]
        if handler.command == "POST":
            session = uuid4().hex
            self._uploads[session] = b""
        self._uploads[session] += body
        if handler.command == "PUT" or "digest" in query:
            self.blobs[query["digest"][0]] = self._uploads.pop(session)
            return self._send(handler, 201, b"", {"Location": f"/v2/{name}/blobs/{query['digest'][0]}"})
        location = {"Location": f"http://{self.host}/v2/{name}/blobs/uploads/{session}"}
        size = len(self._uploads[session])
        return self._send(handler, 202, b"", {**location, "Range": f"0-{max(size - 1, 0)}"})

    def _send(self, handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
        wanted = handler.headers.get("Range")
        if status == 200 and wanted is not None and handler.command == "GET":
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            stop = int(last) + 1 if last else len(content)
            headers = {**headers, "Content-Range": f"bytes {first}-{min(stop, len(content)) - 1}/{len(content)}"}
            status, content = 206, content[int(first) : stop]
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        for key, value in headers.items():
            handler.send_header(key, value)
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)


def reference_program() -> str | None:
    """The reference implementation, if this machine has it."""
    return shutil.which("docker-registry") or shutil.which("registry")


@contextmanager
def reference_registry(program: str) -> Iterator[str]:
    """The reference implementation, up; its host."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        config = Path(folder, "config.yml")
        config.write_text(
            f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        process = subprocess.Popen([program, "serve", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
                client.get(f"http://127.0.0.1:{port}/v2/").raise_for_status()
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()
