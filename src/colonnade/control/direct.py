"""Ports of services that are reached without the gateway (`colonnade.dev/direct: "true"`).

Each replica listens on its service's port by itself (SO_REUSEPORT), once its model is loaded and until it drains, and
the kernel gives each connection to one of those that listen. So nothing stands between clients and replicas, and a
killed replica takes its own connections with it only. The control plane holds the port with a socket that is bound and
never listens: nobody else gets the port while all replicas are away, and no connection is ever sent here. The number is
kept in the service's status, so a restarted control plane holds the same one again; until then the replicas do.

A replica checks no token, so these ports are bound to loopback only, whatever address the gateway has.
"""

from __future__ import annotations

import logging
import socket
from typing import Any

from colonnade import defaults
from colonnade.control.workqueue import Key
from colonnade.platforms.ports import free_port

log = logging.getLogger(__name__)

URL_ANNOTATION = "colonnade.dev/direct-url"  # on the service's status


def record(port: int) -> dict[str, str]:
    """What `recorded` reads, as annotations of the status."""
    return {URL_ANNOTATION: f"http://{defaults.HOST}:{port}"}


def recorded(isvc: dict[str, Any]) -> int | None:
    """The port that the service's status remembers."""
    annotations = (isvc.get("status") or {}).get("annotations") or {}
    port = str(annotations.get(URL_ANNOTATION, "")).rpartition(":")[2]
    return int(port) if port.isdigit() else None


class DirectPorts:
    """The ports that are held."""

    def __init__(self) -> None:
        self._held: dict[Key, socket.socket] = {}

    def port(self, service: Key) -> int | None:
        """The port of a service, if it has one."""
        held = self._held.get(service)
        return None if held is None else int(held.getsockname()[1])

    def reserve(self, service: Key, wanted: int | None) -> int:
        """Hold a port for a service: the one that it has, else the wanted one, else a free one."""
        if service not in self._held:
            self._held[service] = self._bind(service, wanted)
        port = self.port(service)
        assert port is not None
        return port

    def release(self, service: Key) -> None:
        """Hold the port of a service no more."""
        held = self._held.pop(service, None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Hold no port any more; replicas that listen keep theirs."""
        for service in list(self._held):
            self.release(service)

    def _bind(self, service: Key, wanted: int | None) -> socket.socket:
        if wanted is not None:
            try:
                return _hold(wanted)
            except OSError as error:
                extra = {"service": str(service), "port": wanted, "error": error.strerror}
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
