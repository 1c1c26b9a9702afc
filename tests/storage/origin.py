"""A real HTTP server on the loopback, whose answers a test writes as functions."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class Origin:
    """The server: `answers` maps a path to the function that answers it; `seen` lists (path, headers) of requests."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        origin = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                origin.seen.append((self.path, {key.lower(): value for key, value in self.headers.items()}))
                answer = origin.answers.get(self.path.partition("?")[0])
                if answer is None:
                    self.send_error(404)
                else:
                    answer(self)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def serve(self, path: str, body: bytes, status: int = 200, **headers: str) -> None:
        """Answer `path` with a whole body; `content_type="x"` writes the header Content-Type."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(body)))
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(body)

        self.answers[path] = answer

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Ranged:
    """A file that is served as object stores serve it: `ETag`, ranges, conditions; and that a test may spoil.

    Attributes:
        body, etag: what is served now.
        cut: answers end after so many bytes of their body, for as many answers as `cuts` says.
        lie: added to every announced length.
        ranges: the ranges that were asked for, "" for the whole.
    """

    def __init__(self, body: bytes, etag: str = '"v1"') -> None:
        self.body = body
        self.etag = etag
        self.cut = 0
        self.cuts = 0
        self.lie = 0
        self.gate: threading.Event | None = None
        self.ranges: list[str] = []
        self.sent = 0
        self._lock = threading.Lock()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        with self._lock:
            self.ranges.append(asked)
            cut = self.cuts > 0
            self.cuts -= cut
        if handler.headers.get("If-None-Match") == self.etag:
            self._empty(handler, 304)
            return
        if handler.headers.get("If-Match", self.etag) != self.etag:
            self._empty(handler, 412)
            return
        start, stop = 0, len(self.body)
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else stop, stop)
        if start >= stop and self.body:
            self._empty(handler, 416)
            return
        handler.send_response(206 if asked else 200)
        handler.send_header("ETag", self.etag)
        handler.send_header("Accept-Ranges", "bytes")
        handler.send_header("Content-Length", str(stop - start + self.lie))
        if asked:
            handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(self.body)}")
        handler.end_headers()
        piece = self.body[start : min(stop, start + self.cut) if cut else stop]
        with contextlib.suppress(OSError):
            handler.wfile.write(piece)
            handler.wfile.flush()
            with self._lock:
                self.sent += len(piece)
            if self.gate is not None and not self.gate.is_set():
                self.gate.wait(20)
        handler.close_connection = True

    @staticmethod
    def _empty(handler: BaseHTTPRequestHandler, status: int) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
