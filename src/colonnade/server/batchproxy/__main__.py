"""The process: a port, the server behind, and the line between them."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys

import uvloop

from colonnade import defaults, observe
from colonnade.errors import Overloaded
from colonnade.net import Address, App, Exchange, HttpServer, Limits, Upstream
from colonnade.net.asynchronous import fail
from colonnade.server.batchproxy import bodies
from colonnade.server.batchproxy.line import CALLS, Line
from colonnade.server.batchproxy.passing import Passing

_log = logging.getLogger(__name__)


def application(upstream: Upstream, line: Line) -> App:
    """Takes each request whole, and puts it into the line or passes it on."""

    def take(exchange: Exchange) -> None:
        def collected(body: bytes) -> None:
            rows = bodies.read(exchange.path, exchange.headers, body) if exchange.method == b"POST" else None
            if rows is None:
                Passing(exchange, upstream, body)
                return
            try:
                line.add(exchange, body, rows)
            except Overloaded as error:
                fail(exchange, error)

        exchange.collect(collected)

    return take


async def _run(given: argparse.Namespace) -> None:
    upstream = Upstream(Address.parse(given.server))
    line = Line(upstream, given.max_batch_size, given.max_batch_latency / 1000, given.calls)
    server = HttpServer(application(upstream, line), limits=Limits(body_bytes=given.max_body))
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await server.listen_tcp(defaults.HOST, given.port)
    _log.info("joins requests", extra={"server": given.server, "rows": given.max_batch_size})
    await stopping.wait()
    await server.drain(given.grace)
    upstream.close()


def main() -> None:
    """Runs until SIGTERM; requests under way get their answers first."""
    parser = argparse.ArgumentParser(prog="python -m colonnade.server.batchproxy", allow_abbrev=False)
    add = parser.add_argument
    add("--port", type=int, required=True, help="where it listens on loopback")
    add("--server", required=True, metavar="HOST:PORT", help="the HTTP server that answers")
    add("--max-batch-size", type=int, required=True, help="most rows of a joined request")
    latency = "milliseconds that rows may wait for others while there is load (default: %(default)g)"
    add("--max-batch-latency", type=float, default=0.0, metavar="MS", help=latency)
    add("--calls", type=int, default=CALLS, help="joined requests under way at a time (default: %(default)s)")
    add("--max-body", type=int, default=defaults.MAX_BODY_BYTES, help="largest body in bytes")
    add("--grace", type=float, default=defaults.GRACE_PERIOD, help="seconds for requests in flight after SIGTERM")
    observe.configure(sys.stderr)
    uvloop.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
