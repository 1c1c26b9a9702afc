"""A git server: git's own `http-backend` behind HTTPS, with a password if asked for, and Git LFS' batch API."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

IDENTITY = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}


def git(folder: Path, *words: str) -> str:
    """Run git in a folder, without anybody's settings."""
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", **IDENTITY}
    done = subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


class GitServer:
    """The server. `login` (`user:password`) closes it; `seen` lists (method and path, authorization)."""

    def __init__(self, root: Path, certificate: Path, key: Path) -> None:
        self.root = root
        self.login: str | None = None
        self.large: dict[str, bytes] = {}
        self.seen: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            def do_POST(self) -> None:
                server._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def url(self, name: str, user: str = "") -> str:
        return f"https://{user}127.0.0.1:{self.server.server_address[1]}/{name}.git"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def commit(self, name: str, files: dict[str, bytes | tuple[str, str]]) -> str:
        """Put files on top of a repository's branch; `("link", target)` is a link. Returns the commit."""
        work, bare = self.root / f"{name}-work", self.root / f"{name}.git"
        if not work.exists():
            work.mkdir()
            git(work, "init", "--quiet", "--initial-branch=trunk")
            git(self.root, "init", "--quiet", "--bare", "--initial-branch=trunk", str(bare))
        for path, content in files.items():
            place = work / path
            place.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                place.write_bytes(content)
            else:
                place.symlink_to(content[1])
        git(work, "add", "--all", "--force")
        git(work, "commit", "--quiet", "--message=x")
        git(work, "push", "--quiet", str(bare), "trunk")
        return git(work, "rev-parse", "HEAD")

    def pointer(self, body: bytes) -> bytes:
        """Keep a content as a large file; returns what a checkout has in its place."""
        digest = hashlib.sha256(body).hexdigest()
        self.large[digest] = body
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(body)}\n".encode()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        authorization = handler.headers.get("Authorization")
        self.seen.append((f"{handler.command} {handler.path}", authorization))
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        if handler.path.startswith("/large/"):
            return self._send(handler, 200, self.large[handler.path.rpartition("/")[2]], {})
        if self.login is not None and authorization != f"Basic {base64.b64encode(self.login.encode()).decode()}":
            return self._send(handler, 401, b"", {"WWW-Authenticate": 'Basic realm="git"'})
        if handler.path.endswith("/info/lfs/objects/batch"):
            return self._batch(handler, json.loads(body))
        return self._backend(handler, body)

    def _batch(self, handler: BaseHTTPRequestHandler, question: dict[str, Any]) -> None:
        origin = f"https://127.0.0.1:{self.server.server_address[1]}"
        found = []
        for wanted in question["objects"]:
            action = {"href": f"{origin}/large/{wanted['oid']}", "header": {"X-From-Batch": "yes"}}
            known = wanted["oid"] in self.large
            answer = {"actions": {"download": action}} if known else {"error": {"code": 404, "message": "gone"}}
            found.append({**wanted, **answer})
        self._send(handler, 200, json.dumps({"transfer": "basic", "objects": found}).encode(), {})

    def _backend(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        path, _, query = handler.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": handler.command,
            "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=env, capture_output=True, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n") if ": " in line)
        status = int(headers.pop("Status", "200").split()[0])
        self._send(handler, status, content, headers)

    def _send(self, handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)
