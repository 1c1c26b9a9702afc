"""Free loopback ports for replicas that cannot listen on a Unix socket."""

from __future__ import annotations

import socket
from collections.abc import Container


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Whether a program could listen on a TCP port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that end do not hold it
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(taken: Container[int] = (), host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now and that is not in `taken`.

    Another program may take it before the replica does; the replica then fails and is started again with another one.
    """
    return free_ports(1, taken, host)[0]


def free_ports(count: int, taken: Container[int] = (), host: str = "127.0.0.1") -> list[int]:
    """So many of them."""
    held: list[socket.socket] = []
    found: list[int] = []
    try:
        while len(found) < count:
            probe = socket.socket()
            held.append(probe)
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
            if port not in taken:
                found.append(port)
        return found
    finally:
        for probe in held:
            probe.close()
