"""HTTP/1.1 on sockets: the server that every process of the product listens with, and the client that it calls with.

This room turns bytes into exchanges and exchanges into bytes, as fast as Python can: `asyncio.Protocol` under uvloop,
the C parser httptools, and plain callbacks, so that a request costs no task, no future and no thread. It holds what the
transport owes everyone (strict framing, limits, slow clients, back-pressure, draining) and must not know what a request
means: no model, no tensor, no route, no token. Start reading at `exchange.py` (one request and its answer), then
`reader.py` (bytes to exchanges), `known_heads.py` (heads that come again), `connection.py` (order), `closing.py` (end),
`server.py` (listening) and `upstream.py` (the client).
"""

from colonnade.net.address import Address
from colonnade.net.asynchronous import Handler, Request, Response, asynchronous
from colonnade.net.call import Call, Receiver
from colonnade.net.exchange import App, Exchange
from colonnade.net.head import Header, Part, ReadyHead
from colonnade.net.limits import Limits
from colonnade.net.server import HttpServer
from colonnade.net.upstream import FetchedResponse, Upstream

__all__ = [
    "Address",
    "App",
    "Call",
    "Exchange",
    "FetchedResponse",
    "Handler",
    "Header",
    "HttpServer",
    "Limits",
    "Part",
    "ReadyHead",
    "Receiver",
    "Request",
    "Response",
    "Upstream",
    "asynchronous",
]
