"""What is served where: the route table that the control plane pushes, and the look-up that each request pays for.

The table is a value: the control plane sends all of it at each change and the gateway swaps it in whole, so there is no
state in which one half of a change is live. `Matcher` turns a table into dictionaries once per swap; a request then
costs one or two dictionary look-ups, whatever the number of services. Addresses follow KServe:
`{name}-{namespace}.{domain}` and `{name}.{namespace}.{domain}` by `Host`, `/serving/{namespace}/{name}` by path, and,
as a convenience of one machine, the bare model name in the V1 and V2 paths where it means one service only.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, unquote

import msgspec

from colonnade.gateway.guard import Policy

NAMES_SHOWN = 20  # names of services that a 404 lists
CACHED_PATHS = 4096  # exact (host, path) pairs remembered between two swaps
CACHED_PATH_BYTES = 256  # longer paths are looked up each time

_SERVING = b"/serving/"
_REPOSITORY = b"/v2/repository/models/"
_MODEL_PREFIXES = (b"/v1/models/", b"/v2/models/", _REPOSITORY)

# A replica that has unloaded its model is not ready, so no later call, `load` included, would reach it any more.
LIFECYCLE = (
    "The platform loads and unloads models: change the InferenceService instead. "
    "A server that stands alone takes this call."
)


class Backend(msgspec.Struct, frozen=True):
    """One ready replica. Addresses are `unix:/path` or `host:port`.

    Attributes:
        name: the pod's name, for logs and metrics.
        http: where it speaks HTTP/1.1.
        grpc: where it speaks gRPC, or None if it does not.
        mux: it is of this product and takes many requests on one connection at `http`, a Unix socket (see `net.mux`).
    """

    name: str
    http: str
    grpc: str | None = None
    mux: bool = False


class Route(msgspec.Struct, frozen=True):
    """One service: who asks for it, and which replicas answer.

    Attributes:
        model: the model name that the replicas answer to; clients write it in V1 and V2 paths.
        hosts: all host names of the service, without port. Case does not matter.
        ready: whether the service takes requests; with no backend it is not ready whatever this says.
        reason: why it is not ready, in words for the caller of a 503.
        timeout: seconds from the request's arrival to the answer's end, or None for no limit.
        policy: what is done when its replicas fail.
    """

    namespace: str
    name: str
    model: str
    hosts: tuple[str, ...] = ()
    backends: tuple[Backend, ...] = ()
    ready: bool = False
    reason: str = ""
    timeout: float | None = None
    policy: Policy = Policy()

    @property
    def path(self) -> str:
        """The path prefix that always reaches this service."""
        return f"/serving/{quote(self.namespace, safe='')}/{quote(self.name, safe='')}"


class RouteTable(msgspec.Struct, frozen=True):
    """Everything the gateway serves. `version` is the control plane's count of changes; it is shown, not compared."""

    version: int = 0
    routes: tuple[Route, ...] = ()


class Match(NamedTuple):
    """The service a request is for: its position in the table, and the path its replicas are asked for (raw bytes).

    `lifecycle`: it would load or unload a model (see `LIFECYCLE`).
    """

    service: int
    path: bytes
    lifecycle: bool = False


class Refusal(NamedTuple):
    """Why no service was found: an HTTP status and one sentence for the caller."""

    status: int
    message: str


class Matcher:
    """Looks up services by host, path prefix and bare model name. Pure: built from one table and never changed by it.

    Precedence: a known host decides alone; then the path prefix; then the model name.
    """

    __slots__ = ("_cache", "_hosts", "_models", "_paths", "_routes")

    def __init__(self, table: RouteTable) -> None:
        self._routes = table.routes
        self._hosts: dict[bytes, int] = {}
        self._paths: dict[tuple[str, str], int] = {}
        self._models: dict[str, list[int]] = {}
        self._cache: dict[tuple[bytes, bytes], Match] = {}
        for index, route in enumerate(table.routes):
            for host in route.hosts:
                self._hosts.setdefault(host.lower().encode(), index)
            self._paths.setdefault((route.namespace, route.name), index)
            self._models.setdefault(route.model, []).append(index)

    def match(self, host: bytes, path: bytes) -> Match | None:
        """The service for a `Host` value (with or without port) and a raw path (no query), or None.

        `refuse` says why there is none; the gateway's own routes come between the two.
        """
        key = (host, path)
        found = self._cache.get(key)
        if found is not None:
            return found
        found = self._find(host, path)
        if found is not None and _is_lifecycle(found.path):
            found = found._replace(lifecycle=True)
        if found is not None and len(path) <= CACHED_PATH_BYTES and len(host) <= CACHED_PATH_BYTES:
            if len(self._cache) >= CACHED_PATHS:
                self._cache.clear()
            self._cache[key] = found
        return found

    def by_host(self, host: bytes) -> int | None:
        """The index of the service with this host name, port and case ignored."""
        return self._hosts.get(bare_host(host))

    def by_model(self, model: str) -> list[int]:
        """The indexes of all services whose replicas answer to this model name."""
        return self._models.get(model, [])

    def refuse(self, path: bytes) -> Refusal:
        """Why `match` found nothing for this path, and what would be found."""
        if path.startswith(_SERVING):
            namespace, _, rest = path[len(_SERVING) :].partition(b"/")
            name = rest.partition(b"/")[0]
            asked = f"Service {_shown(_text(namespace))}/{_shown(_text(name))}"
            return Refusal(404, f"{asked} does not exist. {self._existing()}")
        model = _model_in(path)
        if model is None:
            return Refusal(404, f"Nothing is served at this host and path. {self._existing()}")
        return self.refuse_model(model)

    def refuse_model(self, model: str) -> Refusal:
        """Why a bare model name means no one service: 404 if unknown, 409 if several services answer to it."""
        candidates = self._models.get(model)
        if not candidates:
            return Refusal(404, f"Model with name {_shown(model)} does not exist. {self._existing()}")
        ways = [
            f"{route.path}/ (host {route.hosts[0]})" if route.hosts else f"{route.path}/"
            for route in (self._routes[index] for index in candidates[:NAMES_SHOWN])
        ]
        return Refusal(
            409,
            f"Model name {_shown(model)} is served by {len(candidates)} services; "
            f"ask one of them by path or host: {', '.join(ways)}{_more(len(candidates))}.",
        )

    def _find(self, host: bytes, path: bytes) -> Match | None:
        index = self._hosts.get(bare_host(host))
        if index is not None:
            return Match(index, path)
        if path.startswith(_SERVING):
            parts = path.split(b"/", 4)
            if len(parts) < 4:
                return None
            index = self._paths.get((_text(parts[2]), _text(parts[3])))
            return None if index is None else Match(index, b"/" + (parts[4] if len(parts) > 4 else b""))
        model = _model_in(path)
        if model is None:
            return None
        candidates = self._models.get(model)
        return Match(candidates[0], path) if candidates is not None and len(candidates) == 1 else None

    def _existing(self) -> str:
        if not self._routes:
            return "No service exists yet."
        names = sorted(f"{route.namespace}/{route.name}" for route in self._routes)
        return f"Services here: {', '.join(names[:NAMES_SHOWN])}{_more(len(names))}."


def bare_host(host: bytes) -> bytes:
    """A `Host` value in lower case without its port and without a trailing dot."""
    if host.startswith(b"["):
        return host.partition(b"]")[0].lower() + b"]"
    return host.partition(b":")[0].rstrip(b".").lower()


def not_ready(route: Route) -> str:
    """What the caller of a service without a ready replica is told."""
    return f"Service {route.namespace}/{route.name} is not ready: {route.reason or 'no replica is ready'}"


def _model_in(path: bytes) -> str | None:
    """The model name in a V1 or V2 path: `/v1/models/{m}:predict`, `/v2/models/{m}/infer`; None in any other path."""
    for prefix in _MODEL_PREFIXES:
        if path.startswith(prefix):
            segment = path[len(prefix) :].partition(b"/")[0]
            if prefix == b"/v1/models/":
                segment = _without_verb(segment)
            return _text(segment) or None
    return None


def _is_lifecycle(path: bytes) -> bool:
    """Whether a path is `/v2/repository/models/{m}/load` or `unload`, however it is encoded."""
    parts = [_text(part) for part in path.split(b"/") if part]
    return len(parts) > 4 and parts[:3] == ["v2", "repository", "models"] and parts[-1] in ("load", "unload")


def _text(segment: bytes) -> str:
    return unquote(segment.decode("utf-8", "replace"))


def _without_verb(segment: bytes) -> bytes:
    name, colon, _ = segment.rpartition(b":")
    return name if colon else segment


def _shown(text: str) -> str:
    """A name from a request as it may stand in a message: bounded, printable."""
    clean = "".join(character if character.isprintable() else "?" for character in text[:100])
    return clean if len(text) <= 100 else clean + "..."


def _more(count: int) -> str:
    return f" and {count - NAMES_SHOWN} more" if count > NAMES_SHOWN else ""
