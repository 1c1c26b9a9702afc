"""The gateway as processes that the control plane looks after and does not need.

One process takes what one core can; more of them share the ports by SO_REUSEPORT: each has listening sockets of its
own, and the kernel gives each new connection to one of them by a hash, which spreads connections more evenly than
processes that accept from one socket. The sockets are bound and kept here, so that the connections that wait for a
killed process are served by the next one; it takes with it only those that it had accepted.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from colonnade import defaults, errors
from colonnade.control.layout import Layout
from colonnade.control.routes import gateway_stats
from colonnade.control.routes.gateway_worker import GatewayWorker, Listen, run_of
from colonnade.gateway.routes import RouteTable
from colonnade.net.address import bound_socket
from colonnade.platforms.base import LogPaths
from colonnade.platforms.records import ROTATION_PERIOD, oversized, rotate

log = logging.getLogger(__name__)

RUNS = frozenset(run_of(number) for number in range(defaults.MAX_GATEWAY_WORKERS))  # the marks of all processes
_BACKLOG = 4096


class GatewayProcess:
    """Starts, adopts, restarts and ends the gateway's processes. `open` first, then `run` as a task.

    Attributes:
        adopted: whether `open` found a living one.
    """

    def __init__(self, layout: Layout, listen: Listen, *, grace: float, started: Callable[[], None]) -> None:
        """`started` is called each time a new process answers: its routes are those of the file, maybe old ones."""
        self._layout = layout
        self._listen = listen
        self._workers = [
            GatewayWorker(layout, number, listen, grace=grace, started=started) for number in range(listen.workers)
        ]
        self._surplus = [
            GatewayWorker(layout, number, listen, grace=grace, started=started)
            for number in range(listen.workers, defaults.MAX_GATEWAY_WORKERS)
            if layout.gateway(number).exists()
        ]
        self.adopted = False

    @property
    def http_port(self) -> int:
        """The bound HTTP port."""
        return self._workers[0].ports[0]

    @property
    def grpc_port(self) -> int:
        """The bound gRPC port."""
        return self._workers[0].ports[1]

    async def open(self) -> None:
        """Adopt the living processes if they listen as wanted, start the others; returns when all answer.

        Raises:
            errors.Conflict: a port is taken; names it and the flag.
            errors.Unavailable: the gateway does not start; shows its last words.
        """
        living = [worker for worker in self._workers if await worker.adopt()]
        self.adopted = bool(living)
        missing = [worker for worker in self._workers if worker not in living]
        async with asyncio.TaskGroup() as group:
            for worker in (*missing, *self._surplus):
                group.create_task(worker.clear())
        self._bind(missing, living[0].ports if living else None)
        for outcome in await asyncio.gather(*(worker.start() for worker in missing), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome

    async def run(self) -> None:
        """Start each process again whenever it ends, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for worker in self._workers:
                group.create_task(worker.run())

    async def stats(self, heard: Callable[[int, dict[str, Any]], None]) -> None:
        """Tell the work of each revision as the processes stream it, until cancelled.

        `heard` gets the number of the process and one line of it (see `gateway.stats`); {} is a sign of life.
        """
        async with asyncio.TaskGroup() as group:
            for number, worker in enumerate(self._workers):
                group.create_task(gateway_stats.listen(str(worker.admin), partial(heard, number)))

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
        """Give the gateway its routes: all processes that live have them when this returns.

        Raises:
            errors.Error: one did not take them.
        """
        encoded = msgspec.json.encode(table)
        outcomes = await asyncio.gather(*(worker.push(encoded) for worker in self._workers), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def close(self) -> None:
        """Drain and end the gateway. Our copies of the sockets go first, or clients would queue at them for ever."""
        self._close_sockets()
        await asyncio.gather(*(worker.end() for worker in self._workers))

    def release(self) -> None:
        """Leave the gateway running."""
        for worker in self._workers:
            worker.release()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for worker in self._workers:
            for sock in worker.sockets:
                sock.close()

    def _bind(self, workers: list[GatewayWorker], ports: tuple[int, int] | None) -> None:
        """Give sockets to processes that have none; `ports` are those that others have already."""
        listen = self._listen
        shared = listen.workers > 1
        for worker in workers:
            if ports is None and shared:  # a port that may be shared looks free when another program shares it
                for port, flag in ((listen.http_port, "--http-port"), (listen.grpc_port, "--grpc-port")):
                    _bind(listen.host, port, flag).close()
            http, grpc = ports or (listen.http_port, listen.grpc_port)
            worker.sockets = [_bind(listen.host, http, "--http-port", shared=shared)]
            worker.sockets.append(_bind(listen.host, grpc, "--grpc-port", shared=shared))
            ports = worker.ports


def _bind(host: str, port: int, flag: str, *, shared: bool = False) -> socket.socket:
    """A listening TCP socket; with `shared`, others of this user may listen on its port, too.

    Raises:
        errors.Conflict: the address cannot be bound.
    """
    try:
        sock = bound_socket(host, port, shared=shared)
        try:
            sock.listen(_BACKLOG)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise errors.Conflict(
            f"Cannot listen on {host}:{port}: {error.strerror}. Choose another port with {flag} (0 picks a free one)."
        ) from error
    return sock
