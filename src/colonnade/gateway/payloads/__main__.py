"""`python -m colonnade.gateway.payloads`: writes the payload logs of the gateway process that starts it."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

from colonnade.gateway.payloads.writer import Writer
from colonnade.observe import logs


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m colonnade.gateway.payloads", description="Writes payload logs.")
    parser.add_argument("--fd", type=int, required=True, metavar="N", help="inherited socket of the gateway")
    parser.add_argument("--spool", type=Path, required=True, metavar="DIR", help="for what has not reached its sink")
    given = parser.parse_args(arguments)
    logs.configure(sys.stderr)
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell each request, with the whole URL
    os.umask(0o077)  # what callers said is for this user only
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when the gateway does, and not before
    with socket.socket(fileno=given.fd) as sock:
        Writer(sock, given.spool).run()


if __name__ == "__main__":
    main()
