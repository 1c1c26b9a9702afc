"""The routes that the gateway answers itself when the host means no service: health, the list of models, metrics. Pure.

They are KServe's server routes, told for all services together, so that a client that
asks a server what it serves may ask the gateway.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from colonnade.gateway.routes import Route, RouteTable
from colonnade.version import __version__

INDEX = b"/v2/repository/index"
METRICS = b"/metrics"

OPTIONS = b"OPTIONS"
ANYTHING = b"*"  # the path of `OPTIONS *`: the gateway itself

# Whoever watches over the gateway needs no token for these.
FREE = frozenset({ANYTHING, b"/", b"/healthz", b"/v2/health/live", b"/v2/health/ready"})
_LISTS = frozenset({b"/v1/models", b"/v2/models"})
PATHS = FREE | _LISTS | {b"/v2", b"/v2/", INDEX, METRICS}
EXTENSIONS = ("binary_tensor_data", "model_repository")  # `wire.v2` says the same; it costs numpy, which is not here
_SERVER = msgspec.json.encode({"name": "colonnade", "version": __version__, "extensions": EXTENSIONS})


class Answer(NamedTuple):
    """A JSON answer."""

    status: int
    body: bytes


class IndexEntry(msgspec.Struct):
    """A model as the repository index tells it (the model repository extension of the Open Inference Protocol).

    Its `version`, which is optional there, is left out: only the replicas know it.
    """

    name: str
    state: str
    reason: str


class IndexRequest(msgspec.Struct):
    """The body of an index request: `ready` asks for ready models only."""

    ready: bool = False


def allowed(path: bytes) -> tuple[bytes, ...]:
    """The methods that one of `PATHS` takes."""
    if path == ANYTHING:
        return (b"GET", b"HEAD", b"POST", OPTIONS)
    return (b"POST", OPTIONS) if path == INDEX else (b"GET", b"HEAD", OPTIONS)


def answer(path: bytes, table: RouteTable, *, draining: bool) -> Answer:
    """The answer to one of `PATHS`, but for the index and the metrics."""
    if path == b"/v2/health/live":
        return Answer(200, b'{"live":true}')
    if path == b"/v2/health/ready":
        return Answer(503, b'{"error":"Server is not ready."}') if draining else Answer(200, b'{"ready":true}')
    if path in _LISTS:
        return Answer(200, msgspec.json.encode({"models": sorted({route.model for route in _entries(table)})}))
    if path in (b"/v2", b"/v2/"):
        return Answer(200, _SERVER)
    return Answer(200, b'{"status":"alive"}')


def index(body: bytes, table: RouteTable) -> Answer:
    """The repository index: every model with its state, or the ready ones if the body says `{"ready": true}`."""
    try:
        only_ready = msgspec.json.decode(body, type=IndexRequest).ready if body.strip() else False
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Answer(400, b'{"error":"The body must be a JSON object such as {\\"ready\\": true}, or empty."}')
    entries = []
    for route in sorted(_entries(table), key=lambda route: (route.model, route.namespace, route.name)):
        ready = route.ready and bool(route.backends)
        if ready or not only_ready:
            entries.append(IndexEntry(route.model, "READY" if ready else "UNAVAILABLE", "" if ready else route.reason))
    return Answer(200, msgspec.json.encode(entries))


def _entries(table: RouteTable) -> list[Route]:
    return [route for route in table.routes if route.entry and route.graph is None]


def error(message: str) -> bytes:
    """An error body."""
    return msgspec.json.encode({"error": message})
