"""The gateway as a process that the control plane looks after and does not need.

The public sockets are bound here and inherited by the gateway. Whoever dies, the other keeps them: connections queue
while a killed gateway is started again, and a restarted control plane gets duplicates from the living gateway. The
gateway's identity lies in `gateway.json`, written before and after the start like a replica's record.
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

import msgspec

from colonnade import defaults, errors
from colonnade.control.layout import Layout
from colonnade.control.workqueue import backoff
from colonnade.gateway.routes import RouteTable
from colonnade.net import Address, Upstream
from colonnade.platforms import process
from colonnade.platforms.base import LogPaths
from colonnade.platforms.process import Identity, Process
from colonnade.platforms.records import ROTATION_PERIOD, oversized, rotate
from colonnade.security import files

log = logging.getLogger(__name__)

RUN = "gateway"  # the mark of the gateway's process, beside those of replicas
_BACKLOG = 4096
_START_TIMEOUT = 30.0
_HEALTHY_AFTER = 10.0


@dataclass(frozen=True)
class Listen:
    """Where the gateway shall listen; port 0 means any free one, which a living gateway's always is."""

    host: str
    http_port: int
    grpc_port: int
    require_token: bool

    def satisfied_by(self, record: Record) -> bool:
        """Whether a gateway with this record listens as wanted."""
        return (
            (record.host, record.require_token) == (self.host, self.require_token)
            and self.http_port in (0, record.http_port)
            and self.grpc_port in (0, record.grpc_port)
        )


class Record(msgspec.Struct, frozen=True):
    """What is kept of the gateway's process; `identity` is None between intent and start."""

    host: str
    http_port: int
    grpc_port: int
    require_token: bool
    identity: Identity | None = None


class GatewayProcess:
    """Starts, adopts, restarts and ends the gateway. `open` first, then `run` as a task.

    Attributes:
        adopted: whether `open` found a living gateway.
    """

    def __init__(self, layout: Layout, listen: Listen, *, grace: float, started: Callable[[], None]) -> None:
        """`started` is called each time a new gateway answers: its routes are those of the file, maybe old ones."""
        self._layout = layout
        self._listen = listen
        self._grace = grace
        self._started = started
        self._admin = layout.run / "gateway.sock"
        self._upstream = Upstream(Address.parse(f"unix:{self._admin}"))
        self._sockets: list[socket.socket] = []
        self._process: Process | None = None
        self._ended = asyncio.Event()
        self.adopted = False

    @property
    def http_port(self) -> int:
        """The bound HTTP port."""
        return int(self._sockets[0].getsockname()[1])

    @property
    def grpc_port(self) -> int:
        """The bound gRPC port."""
        return int(self._sockets[1].getsockname()[1])

    async def open(self) -> None:
        """Adopt the living gateway if it listens as wanted, else start one; returns when it answers.

        Raises:
            errors.Conflict: a port is taken; names it and the flag.
            errors.Unavailable: the gateway does not start; shows its last words.
        """
        if not await self._adopt():
            await self._clear()
            host = self._listen.host
            self._sockets = [_bind(host, self._listen.http_port, "--http-port")]
            self._sockets.append(_bind(host, self._listen.grpc_port, "--grpc-port"))
            await self._start()

    async def run(self) -> None:
        """Start the gateway again whenever it ends, until cancelled."""
        failures = 0
        while True:
            since = time.monotonic()
            await self._ended.wait()
            failures = 1 if time.monotonic() - since > _HEALTHY_AFTER else failures + 1
            log.warning("the gateway ended; starting it again", extra={"failures": failures})
            if failures > 1:
                await asyncio.sleep(backoff(failures - 1, first=0.05, last=5.0))
            try:
                await self._start()
            except errors.Error as error:
                log.error("the gateway does not start", extra={"error": error.message, "failures": failures})
                self._ended.set()
            else:
                self._started()

    async def keep_log(self, limit: int = defaults.LOG_FILE_BYTES) -> None:
        """Keep the gateway's output within its limit, until cancelled."""
        output = self._layout.gateway_log
        logs = LogPaths(output, output.with_name(f"{output.name}.1"))
        while True:
            if oversized(logs, limit):
                try:
                    await asyncio.to_thread(rotate, logs)
                except OSError as error:
                    log.error("the gateway's output could not be rotated", extra={"error": str(error)})
            await asyncio.sleep(ROTATION_PERIOD)

    async def push(self, table: RouteTable) -> None:
        """Give the gateway its routes.

        Raises:
            errors.Error: it did not take them.
        """
        response = await self._upstream.fetch("PUT", "/routes", body=msgspec.json.encode(table))
        if response.status != 200:
            raise errors.Unavailable(f"the gateway answered {response.status}: {response.body[:200]!r}")

    async def close(self) -> None:
        """Drain and end the gateway. Our copies of the sockets go first, or clients would queue at them for ever."""
        for sock in self._sockets:
            sock.close()
        if self._process is not None:
            await self._process.end(self._grace + 2.0)
        self._upstream.close()
        self._layout.gateway.unlink(missing_ok=True)

    def release(self) -> None:
        """Leave the gateway running."""
        if self._process is not None:
            self._process.release()
        self._upstream.close()
        for sock in self._sockets:
            sock.close()

    async def _adopt(self) -> bool:
        record = self._record()
        if record is None or record.identity is None or not process.alive(record.identity):
            return False
        if not self._listen.satisfied_by(record):
            return False
        try:
            self._sockets = await asyncio.to_thread(_received, f"{self._admin}.fds")
            self._watch(record.identity)
        except (OSError, ValueError) as error:
            log.warning("the living gateway cannot be adopted", extra={"error": str(error)})
            return False
        self.adopted = True
        log.info("adopted the running gateway", extra={"pid": record.identity.pid})
        return True

    async def _clear(self) -> None:
        """End whatever gateway of this state directory still lives: it listens elsewhere, or does not answer."""
        record = self._record()
        if record is not None and record.identity is not None and process.alive(record.identity):
            self._watch(record.identity)
            assert self._process is not None
            await self._process.end(self._grace)
        process.kill(process.of_run(self._mark, RUN))
        self._process = None
        self._ended.clear()

    async def _start(self) -> None:
        self._ended.clear()
        self._save(None)
        http, grpc = (sock.fileno() for sock in self._sockets)
        argv = [sys.executable, "-m", "colonnade.gateway", "--admin", str(self._admin)]
        argv += ["--http-fd", str(http), "--grpc-fd", str(grpc), "--routes", str(self._layout.routes)]
        argv += ["--grace", f"{self._grace:g}"]
        if self._listen.require_token:
            argv += ["--token-file", str(self._layout.token), "--require-token"]
        child = process.spawn(
            argv,
            env=process.environment(os.environ, process.marks(self._mark, RUN)),
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
        log.info("started the gateway", extra={"pid": child.pid})

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
            return msgspec.json.decode(self._layout.gateway.read_bytes(), type=Record)
        except (OSError, msgspec.MsgspecError):
            return None

    def _save(self, identity: Identity | None) -> None:
        listen = self._listen
        record = Record(listen.host, self.http_port, self.grpc_port, listen.require_token, identity)
        files.write(self._layout.gateway, msgspec.json.encode(record))


def _bind(host: str, port: int, flag: str) -> socket.socket:
    """A listening TCP socket.

    Raises:
        errors.Conflict: the address cannot be bound.
    """
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(where)
            sock.listen(_BACKLOG)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise errors.Conflict(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another port with {flag} (0 picks a free one)."
        ) from error
    return sock


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
