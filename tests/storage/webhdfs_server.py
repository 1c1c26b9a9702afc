"""A small server of WebHDFS: a name node that lists, and sends reads to a data node under another host name."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


class WebHdfs:
    """The server. `files` maps absolute paths to contents; `seen` lists (host, path, headers)."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.changed = 1
        self.header: tuple[str, str] | None = None
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    @property
    def node(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.seen.append((headers["host"], handler.path, headers))
        url = urlsplit(handler.path)
        path = unquote(url.path.removeprefix("/webhdfs/v1")).rstrip("/") or "/"
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        on_name_node = headers["host"].startswith("127.0.0.1")
        if on_name_node and self.header is not None and headers.get(self.header[0].lower()) != self.header[1]:
            return self._send(handler, 401, b"", {})
        if query["op"] == "OPEN":
            if on_name_node:
                return self._send(handler, 307, b"", {"Location": f"http://localhost:{self.port}{handler.path}"})
            start = int(query.get("offset", "0"))
            content = self.files[path][start:]
            return self._send(handler, 200, content[: int(query.get("length", str(len(content))))], {})
        below = {file for file in self.files if file.startswith(f"{path}/".replace("//", "/"))}
        if path not in self.files and not below:
            fault = {"RemoteException": {"exception": "FileNotFoundException", "message": f"no {path}"}}
            return self._send(handler, 404, json.dumps(fault).encode(), {})
        if query["op"] == "GETFILESTATUS":
            return self._send(handler, 200, json.dumps({"FileStatus": self._status(path, "")}).encode(), {})
        root = "" if path == "/" else path
        names = sorted({file.removeprefix(f"{root}/").partition("/")[0] for file in below})
        listed = [self._status(f"{root}/{name}", name) for name in names]
        return self._send(handler, 200, json.dumps({"FileStatuses": {"FileStatus": listed}}).encode(), {})

    def _status(self, path: str, suffix: str) -> dict[str, object]:
        content = self.files.get(path)
        kind = "DIRECTORY" if content is None else "FILE"
        return {
            "type": kind,
            "length": len(content or b""),
            "pathSuffix": suffix,
            "modificationTime": self.changed,
            "fileId": hash(path) & 0xFFFF,
        }

    def _send(self, handler: BaseHTTPRequestHandler, status: int, content: bytes, headers: dict[str, str]) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content)
