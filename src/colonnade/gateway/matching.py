"""Which route a request is for: the look-up that each new head pays for.

`Matcher` turns a table into dictionaries once per swap; a request then costs one or two dictionary look-ups, whatever
the number of services. Addresses follow KServe: `{name}-{namespace}.{domain}` and `{name}.{namespace}.{domain}` by
`Host`, `/serving/{namespace}/{name}` by path, and, as a convenience of one machine, the bare model name in the V1 and
V2 paths where it means one service only.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import unquote

from colonnade.gateway.routes import RouteTable

NAMES_SHOWN = 20  # names of services that a 404 lists
CACHED_PATHS = 4096  # exact (host, path) pairs remembered between two swaps
CACHED_PATH_BYTES = 256  # longer paths are looked up each time

_SERVING = b"/serving/"
_REPOSITORY = b"/v2/repository/models/"
_V1 = b"/v1/models/"
_MODEL_PREFIXES = (_V1, b"/v2/models/", _REPOSITORY)
_EXPLAIN = b":explain"


class Match(NamedTuple):
    """The route a request is for: its position in the table, and the path its replicas are asked for (raw bytes).

    Attributes:
        lifecycle: it would load or unload a model (see `routes.LIFECYCLE`).
        revision: the target that the host is a tag of; None if the split decides.
    """

    service: int
    path: bytes
    lifecycle: bool = False
    revision: str | None = None


class Refusal(NamedTuple):
    """Why no service was found: an HTTP status and one sentence for the caller."""

    status: int
    message: str


class Named(NamedTuple):
    """What a host name means: a position in the table, and the target if it is the host of a tag."""

    service: int
    revision: str | None = None


class Matcher:
    """Looks up routes by host, path prefix and bare model name. Pure: built from one table and never changed by it.

    Precedence: a known host decides alone; then the path prefix; then the model name. What asks for an explanation then
    goes to the explainer of the service that was found, if that has one.
    """

    __slots__ = ("_cache", "_explainers", "_hosts", "_keys", "_models", "_paths", "_routes")

    def __init__(self, table: RouteTable) -> None:
        self._routes = table.routes
        self._hosts: dict[bytes, Named] = {}
        self._paths: dict[tuple[str, str], int] = {}
        self._models: dict[str, list[int]] = {}
        self._explainers: dict[tuple[str, str], int] = {}
        self._keys: dict[tuple[str, str, str], int] = {}
        self._cache: dict[tuple[bytes, bytes], Match] = {}
        for index, route in enumerate(table.routes):
            self._keys.setdefault((route.namespace, route.name, route.component), index)
            for host in route.hosts:
                self._hosts.setdefault(host.lower().encode(), Named(index))
            for target in route.targets:
                for host in target.hosts:
                    self._hosts.setdefault(host.lower().encode(), Named(index, target.revision))
            if route.entry:
                self._paths.setdefault((route.namespace, route.name), index)
                for model in dict.fromkeys((route.model, *route.models)):
                    self._models.setdefault(model, []).append(index)
            if route.explains:
                self._explainers.setdefault((route.namespace, route.name), index)

    def match(self, host: bytes, path: bytes) -> Match | None:
        """The route for a `Host` value (with or without port) and a raw path (no query), or None.

        `refuse` says why there is none; the gateway's own routes come between the two.
        """
        key = (host, path)
        found = self._cache.get(key)
        if found is not None:
            return found
        found = self._find(host, path)
        if found is not None and len(path) <= CACHED_PATH_BYTES and len(host) <= CACHED_PATH_BYTES:
            if len(self._cache) >= CACHED_PATHS:
                self._cache.clear()
            self._cache[key] = found
        return found

    def at(self, key: tuple[str, str, str], path: bytes) -> Match | None:
        """The match of a request that came on the port of the route with this namespace, name and component, which
        decides alone."""
        index = self._keys.get(key)
        return None if index is None else Match(index, path, _is_lifecycle(path))

    def by_key(self, key: tuple[str, str, str]) -> Named | None:
        """The route with this namespace, name and component."""
        index = self._keys.get(key)
        return None if index is None else Named(index)

    def by_host(self, host: bytes) -> Named | None:
        """What this host name means, port and case ignored."""
        return self._hosts.get(bare_host(host))

    def by_model(self, model: str) -> list[int]:
        """The positions of all services whose replicas answer to this model name."""
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
        found = self._lead(host, path)
        if found is None:
            return None
        route = self._routes[found.service]
        if route.entry and found.revision is None and _explained(found.path):
            explainer = self._explainers.get((route.namespace, route.name))
            if explainer is not None:
                return found._replace(service=explainer)
        return found._replace(lifecycle=True) if _is_lifecycle(found.path) else found

    def _lead(self, host: bytes, path: bytes) -> Match | None:
        named = self._hosts.get(bare_host(host))
        if named is not None:
            return Match(named.service, path, revision=named.revision)
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
        names = sorted({f"{route.namespace}/{route.name}" for route in self._routes if route.entry})
        if not names:
            return "No service exists yet."
        return f"Services here: {', '.join(names[:NAMES_SHOWN])}{_more(len(names))}."


def bare_host(host: bytes) -> bytes:
    """A `Host` value in lower case without its port and without a trailing dot."""
    if host.startswith(b"["):
        return host.partition(b"]")[0].lower() + b"]"
    return host.partition(b":")[0].rstrip(b".").lower()


def _model_in(path: bytes) -> str | None:
    """The model name in a V1 or V2 path: `/v1/models/{m}:predict`, `/v2/models/{m}/infer`; None in any other path."""
    for prefix in _MODEL_PREFIXES:
        if path.startswith(prefix):
            segment = path[len(prefix) :].partition(b"/")[0]
            if prefix == _V1:
                segment = _without_verb(segment)
            return _text(segment) or None
    return None


def _explained(path: bytes) -> bool:
    """Whether a path is `/v1/models/{m}:explain`."""
    return path.startswith(_V1) and path.endswith(_EXPLAIN) and b"/" not in path[len(_V1) :]


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
