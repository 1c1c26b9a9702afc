"""Free loopback ports for replicas that cannot listen on a Unix socket."""

from __future__ import annotations

import socket
from collections.abc import Container


def free_port(taken: Container[int] = (), host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now and that is not in `taken`.

    Another program may take it before the replica does; the replica then fails and is started again with another one.
    """
    held: list[socket.socket] = []
    try:
        while True:
            probe = socket.socket()
            held.append(probe)
            probe.bind((host, 0))
            port: int = probe.getsockname()[1]
            if port not in taken:
                return port
    finally:
        for probe in held:
            probe.close()
