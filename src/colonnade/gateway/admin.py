"""The control plane's side door: push routes, ask for health, metrics and work, drain, take over listening sockets.

It is a Unix socket that only this user may open, so it needs no token. The listening sockets go over a second one by
SCM_RIGHTS: a control plane that was restarted gets them from the living gateway, and can then start the next gateway
on the same sockets without a refused connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from colonnade.errors import InvalidInput, MethodNotAllowed, NotFound
from colonnade.gateway import stats
from colonnade.gateway.fleet import Fleet
from colonnade.gateway.metrics import GatewayMetrics
from colonnade.gateway.routes import RouteTable
from colonnade.net import Request, Response
from colonnade.observe.metrics import CONTENT_TYPE
from colonnade.security import files

log = logging.getLogger(__name__)


class Health(msgspec.Struct):
    """What `GET /healthz` tells: `http` and `grpc` are the bound addresses as `host:port`."""

    pid: int
    version: int
    active: int
    draining: bool
    http: list[str]
    grpc: str | None


class Admin:
    """The handler of the admin socket.

    Args:
        observed: the work of each revision, for scaling and rollouts.
        routes_file: where the last table is kept for the next start.
        health: the state of the process now.
        drain: begins the end of the process; returns at once.
    """

    def __init__(
        self,
        fleet: Fleet,
        metrics: GatewayMetrics,
        observed: stats.Stats,
        routes_file: Path,
        health: Callable[[], Health],
        drain: Callable[[], None],
    ) -> None:
        self._fleet = fleet
        self._metrics = metrics
        self._stats = observed
        self._routes_file = routes_file
        self._health = health
        self._drain = drain

    async def __call__(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            Error: of the family; the server answers it.
        """
        match request.method, request.path:
            case "PUT", "/routes":
                self._swap(request.body)
                return Response(body=msgspec.json.encode({"version": self._fleet.table.version}))
            case "GET", "/routes":
                return Response(body=msgspec.json.encode(self._fleet.table))
            case "GET", "/healthz":
                return Response(body=msgspec.json.encode(self._health()))
            case "GET", "/metrics":
                return Response(body=self._metrics.render(), content_type=CONTENT_TYPE)
            case "GET", "/stats":
                return Response(stream=self._stats.stream(), content_type=stats.CONTENT_TYPE)
            case "POST", "/drain":
                self._drain()
                return Response(202, b'{"draining":true}')
            case _, "/routes" | "/healthz" | "/metrics" | "/stats" | "/drain":
                raise MethodNotAllowed(f"{request.path} does not take {request.method}.")
        raise NotFound("The admin socket has PUT and GET /routes, GET /healthz, /metrics and /stats, and POST /drain.")

    def _swap(self, body: bytes) -> None:
        try:
            table = msgspec.json.decode(body, type=RouteTable)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidInput(f"The body is no route table: {error}") from None
        self._fleet.swap(table)
        try:
            save(self._routes_file, table)
        except OSError as error:  # it serves them all the same; only a restart would not know them
            log.error("the routes could not be kept", extra={"file": str(self._routes_file), "error": str(error)})


def save(path: Path, table: RouteTable) -> None:
    """Keep a table in a file, whole or not at all."""
    files.write(path, msgspec.json.encode(table), durable=False)


def load(path: Path) -> RouteTable:
    """The table kept in a file; an empty one if there is none, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=RouteTable)
    except FileNotFoundError:
        return RouteTable()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.error(
            "the kept routes cannot be read; waiting for new ones", extra={"file": str(path), "error": str(error)}
        )
        return RouteTable()


class SocketOffer:
    """Gives duplicates of listening sockets to each client of this user that connects to a Unix socket.

    The client gets one line of JSON, `{"fds": ["http", "grpc"]}`, that names them in order; they come with its first
    byte.
    """

    def __init__(self, path: str, offered: Callable[[], Sequence[tuple[str, socket.socket]]]) -> None:
        self._offered = offered
        self._path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def open(self) -> None:
        """Listen.

        Raises:
            OSError: the path cannot be bound.
        """
        Path(self._path).unlink(missing_ok=True)
        self._sock.bind(self._path)
        self._sock.listen(8)
        self._sock.setblocking(False)
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()

    def _accept(self) -> None:
        try:
            client, _ = self._sock.accept()
        except OSError:
            return
        with client:
            client.setblocking(False)
            credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
            _, uid, _ = struct.unpack("3i", credentials)
            if uid not in (os.getuid(), 0):
                log.warning("the listening sockets were refused to another user", extra={"uid": uid})
                return
            offered = self._offered()
            line = json.dumps({"fds": [name for name, _ in offered]}).encode() + b"\n"
            try:
                socket.send_fds(client, [line], [sock.fileno() for _, sock in offered])
            except OSError as error:
                log.warning("the listening sockets could not be handed over", extra={"error": str(error)})
