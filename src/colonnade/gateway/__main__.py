"""`python -m colonnade.gateway`: the gateway as a process of its own.

It outlives the control plane that started it: own session, deaf to SIGHUP, routes kept in a file. SIGTERM (or `POST
/drain`) stops accepting, lets what is in flight end within the grace period, and exits 0.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from colonnade import defaults
from colonnade.errors import InvalidInput
from colonnade.gateway.process import Gateway, Settings
from colonnade.net import Address, tls
from colonnade.observe import logs, memory

log = logging.getLogger(__name__)


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """Read the command line; exits with a usage message if it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m colonnade.gateway", description="Ingress of the data plane.")
    add = parser.add_argument
    add("--admin", required=True, metavar="PATH", help="Unix socket for the control plane")
    siblings = "admin socket of another gateway on the same ports; /metrics sums over all"
    add("--sibling", action="append", default=[], metavar="PATH", help=siblings)
    add("--routes", required=True, type=Path, metavar="FILE", help="keeps the last routes")
    add("--http-fd", type=int, action="append", default=[], metavar="N", help="inherited listening socket")
    add("--http", action="append", default=[], metavar="HOST:PORT", help="address to listen on")
    add("--grpc-fd", type=int, metavar="N", help="inherited listening socket for gRPC")
    add("--grpc", metavar="HOST:PORT", help="address to listen on for gRPC")
    add("--tls-cert", type=Path, metavar="FILE", help="certificate chain in PEM: the public ports take TLS alone")
    add("--tls-key", type=Path, metavar="FILE", help="private key of --tls-cert")
    add("--token-file", type=Path, metavar="FILE", help="the gateway's own bearer token")
    add("--require-token", action="store_true", help="refuse requests without the token")
    add("--max-body", type=int, default=defaults.MAX_BODY_BYTES, metavar="BYTES", help="more is 413")
    message = "of one gRPC message of a request; more is RESOURCE_EXHAUSTED"
    add("--max-message", type=int, default=defaults.MAX_GRPC_MESSAGE_BYTES, metavar="BYTES", help=message)
    add("--max-in-flight", type=int, default=Settings.max_in_flight, metavar="N", help="more is 503")
    add(
        "--grace",
        type=float,
        default=defaults.GRACE_PERIOD,
        metavar="SECONDS",
        help="for requests in flight at the end",
    )
    add("--log-level", default="INFO", metavar="LEVEL")
    given = parser.parse_args(arguments)
    if not (given.http or given.http_fd):
        parser.error("nothing to listen on: give --http HOST:PORT or --http-fd N")
    if given.grpc and given.grpc_fd is not None:
        parser.error("--grpc and --grpc-fd exclude each other")
    token = None
    if given.token_file is not None:
        try:
            token = given.token_file.read_text().strip()
        except OSError as error:
            parser.error(f"--token-file {given.token_file}: {error.strerror}")
    if given.require_token and not token:
        parser.error("--require-token needs --token-file with a token in it")
    if (given.tls_cert is None) != (given.tls_key is None):
        parser.error("--tls-cert and --tls-key need each other")
    if given.max_message < 1:
        parser.error(f"--max-message {given.max_message}: give a number of bytes from 1")
    try:
        context = None if given.tls_cert is None else tls.server_context(given.tls_cert, given.tls_key)
        http = [_inherited(fd) for fd in given.http_fd] + [_bound(address) for address in given.http]
        grpc = _inherited(given.grpc_fd) if given.grpc_fd is not None else _bound(given.grpc) if given.grpc else None
    except (OSError, ValueError, InvalidInput) as error:
        parser.error(str(error))
    logs.configure(sys.stderr, given.log_level)
    return Settings(
        admin=given.admin,
        routes=given.routes,
        http=tuple(http),
        grpc=grpc,
        tls=context,
        token=token,
        require_token=given.require_token,
        max_body=given.max_body,
        max_message=given.max_message,
        max_in_flight=given.max_in_flight,
        grace=given.grace,
        siblings=tuple(given.sibling),
    )


def _inherited(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.set_inheritable(False)
    return sock


def _bound(text: str) -> socket.socket:
    """A TCP socket bound to `host:port`.

    Raises:
        ValueError: the text is no such address, or the address cannot be bound.
    """
    address = Address.parse(text)
    if address.host is None or address.port is None:
        raise ValueError(f"{text}: the gateway listens on host:port")
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
    except OSError as error:
        raise ValueError(f"{text}: cannot listen there: {error.strerror}") from error
    return sock


async def serve(settings: Settings) -> None:
    """Run until SIGTERM, SIGINT or a drain over the admin socket, then end within the grace period."""
    gateway = Gateway(settings)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.drain)
    await gateway.start()
    memory.sweep()
    log.info("the gateway is ready", extra={"http": gateway.http_addresses, "grpc": gateway.grpc_address})
    await gateway.ended()
    log.info("the gateway has ended")


def main() -> None:
    """Entry point."""
    settings = parse()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.umask(0o077)  # the admin sockets are for this user only
    try:
        os.setsid()
    except PermissionError:
        pass  # a session leader already, or the leader of a shell's job, who may stop it with Ctrl-C
    uvloop.run(serve(settings))


if __name__ == "__main__":
    main()
