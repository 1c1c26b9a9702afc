"""Ports on which something of one service is reached without the ingress.

Two uses. A service with `colonnade.dev/direct: "true"` has a port that its replicas serve by themselves: each listens
on it (SO_REUSEPORT) once its model is loaded and until it drains, and the kernel gives each connection to one of those
that listen, so nothing stands between clients and replicas. A component that another one calls (the predictor behind a
transformer) has a port of the gateway's that means it alone: what an in-cluster address is to KServe.

The control plane holds each port with a socket that is bound and never listens: nobody else gets the port while all who
serve it are away, and no connection is ever sent here. The numbers are kept in the service's status, so a restarted
control plane holds the same ones again; until then those who listen do. Nobody checks a token there, so these ports are
bound to loopback only, whatever address the gateway has.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

from colonnade import defaults
from colonnade.control.workqueue import Key
from colonnade.platforms.ports import free_port

log = logging.getLogger(__name__)

DIRECT = "direct"
URL_ANNOTATION = "colonnade.dev/direct-url"  # on the service's status


class Port(NamedTuple):
    """What a port is for: `use` is `DIRECT` or the name of a component."""

    service: Key
    use: str


def url(port: int) -> str:
    """Where a port is reached."""
    return f"http://{defaults.HOST}:{port}"


def recorded(isvc: Mapping[str, Any], use: str) -> int | None:
    """The port that the service's status remembers."""
    status = isvc.get("status") or {}
    if use == DIRECT:
        found = (status.get("annotations") or {}).get(URL_ANNOTATION, "")
    else:
        found = (((status.get("components") or {}).get(use) or {}).get("address") or {}).get("url", "")
    port = str(found).rpartition(":")[2]
    return int(port) if port.isdigit() and found == url(int(port)) else None


class Ports:
    """The ports that are held."""

    def __init__(self) -> None:
        self._held: dict[Port, socket.socket] = {}

    def port(self, wanted: Port) -> int | None:
        """The number of a port, if it is held."""
        held = self._held.get(wanted)
        return None if held is None else int(held.getsockname()[1])

    def reserve(self, wanted: Port, before: int | None) -> int:
        """Hold a port: the one that is held, else the one of before, else a free one."""
        if wanted not in self._held:
            self._held[wanted] = self._bind(wanted, before)
        port = self.port(wanted)
        assert port is not None
        return port

    def release(self, wanted: Port) -> None:
        """Hold a port no more."""
        held = self._held.pop(wanted, None)
        if held is not None:
            held.close()

    def release_all(self, service: Key) -> None:
        """Hold no port of a service any more."""
        for held in [held for held in self._held if held.service == service]:
            self.release(held)

    def close(self) -> None:
        """Hold no port any more; those who listen keep theirs."""
        for held in list(self._held):
            self.release(held)

    def _bind(self, wanted: Port, before: int | None) -> socket.socket:
        if before is not None:
            try:
                return _hold(before)
            except OSError as error:
                extra = {"service": str(wanted.service), "use": wanted.use, "port": before, "error": error.strerror}
                log.warning("a service's own port is taken; it gets another one", extra=extra)
        return _hold(free_port())


def _hold(port: int) -> socket.socket:
    """A socket that keeps a port for those who share it. Without SO_REUSEADDR, or any program with that could bind it.

    Raises:
        OSError: the port is taken.
    """
    sock = socket.socket()
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((defaults.HOST, port))
    except BaseException:
        sock.close()
        raise
    return sock
