"""Where a peer listens: a Unix socket or a TCP port, in the one spelling that configuration and routes use."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from colonnade.errors import InvalidInput


@dataclass(frozen=True)
class Address:
    """A Unix socket (`path`) or a TCP endpoint (`host`, `port`); the other fields are None."""

    host: str | None = None
    port: int | None = None
    path: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `unix:/run/x.sock`, `host:port` or `[::1]:port`.

        Raises:
            InvalidInput: the text is neither.
        """
        if text.startswith("unix:"):
            if text == "unix:":
                raise InvalidInput("Address 'unix:' names no socket; write unix:/path/to.sock.")
            return cls(path=text[5:])
        host, colon, port = text.rpartition(":")
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
        if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
            raise InvalidInput(f"Address {text!r} is neither unix:/path/to.sock nor host:port.")
        return cls(host=host, port=int(port))

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return authority(self.host or "", self.port or 0)

    @property
    def authority(self) -> bytes:
        """Value of the Host header for this peer; a Unix socket has no name, so `localhost`."""
        return (
            b"localhost" if self.path is not None else str(self).encode("idna" if not str(self).isascii() else "ascii")
        )


def authority(host: str, port: int) -> str:
    """`host:port`, or `[::1]:port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reachable(host: str, port: int) -> str:
    """The authority for clients on this machine: an address that means "all" is reached over loopback."""
    return authority({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port)  # noqa: S104


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bound_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """A TCP socket that is bound and does not listen yet.

    Args:
        host: address or name.
        port: 0 picks a free one.
        shared: other processes of this user may bind and listen there, too (SO_REUSEPORT), if all of them say so.

    Raises:
        OSError: the address is taken or not ours.
    """
    family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(where)
    except BaseException:
        sock.close()
        raise
    return sock
