"""The gateway's own ports on the loopback interface: one for each route that asks for one.

A transformer is told `--predictor_host HOST:PORT` and asks for its predictor there, as it asks the cluster-local
address on Kubernetes: with any `Host` it likes, with no token, over HTTP/1.1 or gRPC. So the port alone says which
route is meant. Its requests pass through the gateway like all others and are split, held and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from colonnade.gateway.routes import RouteTable
from colonnade.gateway.service import RouteKey, key_of
from colonnade.net import App, Exchange, HttpServer
from colonnade.net.address import bound_socket

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
RETRY = 1.0  # seconds until a port that was taken is tried again


class _Port(NamedTuple):
    key: RouteKey
    server: HttpServer


class Loopback:
    """Keeps the ports open that the table names. `run` it as a task; tell it of each table by `follow`."""

    def __init__(self, app: Callable[[Exchange, RouteKey], None], serve: Callable[[App], HttpServer]) -> None:
        """`app` takes a request with the key of its route; `serve` makes a server for an application."""
        self._app = app
        self._serve = serve
        self._wanted: dict[int, RouteKey] = {}
        self._open: dict[int, _Port] = {}
        self._changed = asyncio.Event()

    def follow(self, table: RouteTable) -> None:
        """Listen on the ports of this table, soon, and on no others."""
        self._wanted = {route.port: key_of(route) for route in table.routes if route.port}
        self._changed.set()

    async def run(self) -> None:
        """Open and close ports until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = dict(self._wanted)
            for number, port in list(self._open.items()):
                if wanted.get(number) != port.key:
                    del self._open[number]
                    await port.server.drain(0.0)
            taken = [number for number in wanted if number not in self._open and not await self._listen(number)]
            if taken:
                asyncio.get_running_loop().call_later(RETRY, self._changed.set)

    async def close(self, grace: float) -> None:
        """Stop listening and let what is under way end, for so many seconds."""
        ports, self._open = self._open, {}
        await asyncio.gather(*(port.server.drain(grace) for port in ports.values()))

    async def _listen(self, number: int) -> bool:
        key = self._wanted.get(number)
        if key is None:
            return True
        server = self._serve(partial(self._take, key))
        try:
            sock = bound_socket(HOST, number, shared=True)  # with the other processes of the gateway
            try:
                await server.listen_socket(sock)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            log.error("the port of a route cannot be opened", extra={"port": number, "route": key, "error": str(error)})
            return False
        self._open[number] = _Port(key, server)
        return True

    def _take(self, key: RouteKey, exchange: Exchange) -> None:
        self._app(exchange, key)
