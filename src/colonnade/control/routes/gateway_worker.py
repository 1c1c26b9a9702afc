"""One process of the gateway: how it is started, adopted, watched and ended.

Its public sockets are bound by `gateway_process` and inherited. Whoever dies, the other keeps them: connections queue
while a killed process is started again, and a restarted control plane gets duplicates from the living one. Its identity
lies in `gateway.json`, written before and after the start like a replica's record.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from colonnade import defaults, errors
from colonnade.control.layout import Layout
from colonnade.control.workqueue import backoff
from colonnade.net import Address, Upstream, tls
from colonnade.platforms import process
from colonnade.platforms.process import Identity, Process
from colonnade.security import files

log = logging.getLogger(__name__)

_START_TIMEOUT = 30.0
_HEALTHY_AFTER = 10.0


class Certificate(msgspec.Struct, frozen=True):
    """What the gateway shows over TLS: the files, and a digest of what they held when it started."""

    path: str
    key: str
    digest: str

    @classmethod
    def read(cls, path: Path, key: Path) -> Certificate:
        """Look at the files of a certificate and its key.

        Raises:
            errors.InvalidInput: they cannot be used; names the file and the fix.
        """
        path, key = path.absolute(), key.absolute()  # the gateway runs in another folder
        tls.server_context(path, key)
        return cls(str(path), str(key), tls.digest(path, key))


@dataclass(frozen=True)
class Listen:
    """Where and how the gateway shall listen, and in how many processes.

    Port 0 means any free one, which a living gateway's always is. Without a `certificate` it takes plain connections.
    """

    host: str
    http_port: int
    grpc_port: int
    require_token: bool
    workers: int = 1
    max_message: int = defaults.MAX_GRPC_MESSAGE_BYTES
    certificate: Certificate | None = None

    def satisfied_by(self, record: Record) -> bool:
        """Whether a gateway with this record listens as wanted."""
        return (
            (record.host, record.require_token, record.workers) == (self.host, self.require_token, self.workers)
            and (record.max_message, record.certificate) == (self.max_message, self.certificate)
            and self.http_port in (0, record.http_port)
            and self.grpc_port in (0, record.grpc_port)
        )


class Record(msgspec.Struct, frozen=True):
    """What is kept of a process of the gateway; `identity` is None between intent and start.

    `workers` is how many such processes there are.
    """

    host: str
    http_port: int
    grpc_port: int
    require_token: bool
    workers: int = 1
    identity: Identity | None = None
    max_message: int = defaults.MAX_GRPC_MESSAGE_BYTES
    certificate: Certificate | None = None


class GatewayWorker:
    """One process of the gateway. Give it its `sockets` or let it `adopt`; then `start` and `run` it.

    Attributes:
        name: the mark of its process, beside those of replicas.
        admin: path of its admin socket.
        sockets: its HTTP and its gRPC socket.
    """

    def __init__(
        self, layout: Layout, number: int, listen: Listen, *, grace: float, started: Callable[[], None]
    ) -> None:
        """`started` is called each time a new process answers: its routes are those of the file, maybe old ones."""
        self.name = run_of(number)
        self.admin = layout.gateway_admin(number)
        self.sockets: list[socket.socket] = []
        self._layout = layout
        self._file = layout.gateway(number)
        self._siblings = [layout.gateway_admin(other) for other in range(listen.workers) if other != number]
        self._listen = listen
        self._grace = grace
        self._started = started
        self._upstream = Upstream(Address.parse(f"unix:{self.admin}"))
        self._process: Process | None = None
        self._ended = asyncio.Event()

    @property
    def ports(self) -> tuple[int, int]:
        """The bound HTTP and gRPC ports."""
        http, grpc = (int(sock.getsockname()[1]) for sock in self.sockets)
        return http, grpc

    async def run(self) -> None:
        """Start the process again whenever it ends, until cancelled."""
        failures = 0
        while True:
            since = time.monotonic()
            await self._ended.wait()
            failures = 1 if time.monotonic() - since > _HEALTHY_AFTER else failures + 1
            log.warning("the gateway ended; starting it again", extra={"gateway": self.name, "failures": failures})
            if failures > 1:
                await asyncio.sleep(backoff(failures - 1, first=0.05, last=5.0))
            try:
                await self.start()
            except errors.Error as error:
                log.error("the gateway does not start", extra={"error": error.message, "failures": failures})
                self._ended.set()
            else:
                self._started()

    async def push(self, table: bytes) -> None:
        """Give it its routes. One that has ended gets them when it is started again.

        Raises:
            errors.Error: it did not take them.
        """
        if self._ended.is_set():
            return
        response = await self._upstream.fetch("PUT", "/routes", body=table)
        if response.status != 200:
            raise errors.Unavailable(f"the gateway answered {response.status}: {response.body[:200]!r}")

    async def adopt(self) -> bool:
        """Take over the living process with its sockets, if it listens as wanted."""
        record = self._record()
        if record is None or record.identity is None or not process.alive(record.identity):
            return False
        if not self._listen.satisfied_by(record):
            return False
        try:
            self.sockets = await asyncio.to_thread(_received, f"{self.admin}.fds")
            self._watch(record.identity)
        except (OSError, ValueError) as error:
            log.warning("the living gateway cannot be adopted", extra={"gateway": self.name, "error": str(error)})
            return False
        log.info("adopted the running gateway", extra={"gateway": self.name, "pid": record.identity.pid})
        return True

    async def clear(self) -> None:
        """End whatever process of this number still lives: it listens elsewhere, or does not answer."""
        record = self._record()
        if record is not None and record.identity is not None and process.alive(record.identity):
            self._watch(record.identity)
            assert self._process is not None
            await self._process.end(self._grace)
        process.kill(process.of_run(self._mark, self.name))
        self._process = None
        self._ended.clear()
        for path in (self._file, self.admin, self.admin.with_suffix(".sock.fds")):
            path.unlink(missing_ok=True)

    async def start(self) -> None:
        """Start the process and return when it answers.

        Raises:
            errors.Unavailable: it does not.
        """
        self._ended.clear()
        self._save(None)
        http, grpc = (sock.fileno() for sock in self.sockets)
        argv = [sys.executable, "-m", "colonnade.gateway", "--admin", str(self.admin)]
        argv += ["--http-fd", str(http), "--grpc-fd", str(grpc), "--routes", str(self._layout.routes)]
        argv += ["--grace", f"{self._grace:g}", "--max-message", str(self._listen.max_message)]
        certificate = self._listen.certificate
        if certificate is not None:
            argv += ["--tls-cert", certificate.path, "--tls-key", certificate.key]
        for sibling in self._siblings:
            argv += ["--sibling", str(sibling)]
        if self._listen.require_token:
            argv += ["--token-file", str(self._layout.token), "--require-token"]
        child = process.spawn(
            argv,
            env=process.environment(os.environ, process.marks(self._mark, self.name)),
            cwd=self._layout.root,
            output=self._layout.gateway_log,
            pass_fds=(http, grpc),
        )
        self._process = Process.of_child(child, self._ended.set)
        try:
            self._save(self._process.identity)
            await self._answers(child.pid)
        except BaseException:
            self._process.send(signal.SIGKILL)
            raise
        log.info("started the gateway", extra={"gateway": self.name, "pid": child.pid})

    async def end(self) -> None:
        """Drain and end it. Our copies of the sockets must be closed, or clients would queue at them for ever."""
        if self._process is not None:
            await self._process.end(self._grace + 2.0)
        self._upstream.close()
        self._file.unlink(missing_ok=True)

    def release(self) -> None:
        """Leave it running."""
        if self._process is not None:
            self._process.release()
        self._upstream.close()

    async def _answers(self, pid: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            if self._ended.is_set():
                raise errors.Unavailable(f"the gateway ended at its start; {self._layout.gateway_log} says why")
            try:
                response = await self._upstream.fetch("GET", "/healthz", timeout=1.0)
                if response.status == 200 and json.loads(response.body)["pid"] == pid:
                    return
            except errors.Error:
                pass
            await asyncio.sleep(0.02)
        raise errors.Unavailable(f"the gateway did not answer in {_START_TIMEOUT:g} s")

    def _watch(self, identity: Identity) -> None:
        self._ended.clear()
        self._process = Process(identity, self._ended.set)

    @property
    def _mark(self) -> str:
        return str(self._layout.root.resolve())

    def _record(self) -> Record | None:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Record)
        except (OSError, msgspec.MsgspecError):
            return None

    def _save(self, identity: Identity | None) -> None:
        listen = self._listen
        record = Record(
            listen.host,
            *self.ports,
            listen.require_token,
            listen.workers,
            identity,
            listen.max_message,
            listen.certificate,
        )
        files.write(self._file, msgspec.json.encode(record))


def run_of(number: int) -> str:
    """The mark of a process of the gateway."""
    return f"gateway-{number}" if number else "gateway"


def _received(path: str) -> list[socket.socket]:
    """The HTTP and the gRPC socket of the living gateway (blocking).

    Raises:
        OSError: it does not answer.
        ValueError: it offers other sockets.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(5.0)
        client.connect(path)
        line, descriptors, _, _ = socket.recv_fds(client, 4096, 8)
    offered = {}
    for name, descriptor in zip(json.loads(line)["fds"], descriptors, strict=True):
        offered[name] = socket.socket(fileno=descriptor)
    if set(offered) != {"http", "grpc"}:
        for sock in offered.values():
            sock.close()
        raise ValueError(f"the gateway offers the sockets {sorted(offered)}")
    return [offered["http"], offered["grpc"]]
