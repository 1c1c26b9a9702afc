"""The API behind HTTP: who asks, what for, and the answer in Kubernetes' form, errors included.

Handlers do not await (the store is local), except where an answer is a stream: watches and followed logs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from colonnade.control.api import discovery, logs, openapi, reviews
from colonnade.control.api.logs import LogSource, flag
from colonnade.control.api.media import decode_body, to_json, view_of
from colonnade.control.api.ownership import FieldConflict
from colonnade.control.api.paths import UNKNOWN_PATH, Target, parameters, segments, target
from colonnade.control.api.reading import BOOKMARK_INTERVAL, Reader
from colonnade.control.api.writing import Writer, Written, write_options
from colonnade.control.objects import Object, utcnow
from colonnade.control.store import Store
from colonnade.defaults import MAX_API_BODY_BYTES
from colonnade.errors import Invalid, InvalidInput, MethodNotAllowed, NotFound, TooLarge, Unauthorized
from colonnade.net import App, Request, Response, asynchronous
from colonnade.observe.metrics import CONTENT_TYPE
from colonnade.platforms.base import replica_key
from colonnade.resources.kinds import POD
from colonnade.security import tokens
from colonnade.wire.failures import kubernetes_status, opaque, retry_after

_OPEN = ("healthz", "livez", "readyz", "version")  # answered without a token, as Kubernetes does
_PATHS = ("/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version")
_MAX_WARNINGS = 32


def api(
    store: Store,
    *,
    token: str,
    logs: LogSource,
    metrics: Callable[[], bytes] = lambda: b"",
    now: Callable[[], datetime] = utcnow,
    bookmark_interval: float = BOOKMARK_INTERVAL,
) -> App:
    """The application for `net.HttpServer`.

    Args:
        store: what is served.
        token: the bearer token that every call but those for health and version must bring.
        logs: where the output of pods lies.
        metrics: what the control plane tells of itself, as Prometheus text.
        now: the wall clock, for ages and times of writes.
        bookmark_interval: seconds between the bookmarks of a watch.
    """
    return asynchronous(_Api(store, token, logs, metrics, now, bookmark_interval).handle)


class _Api:
    def __init__(
        self,
        store: Store,
        token: str,
        logs: LogSource,
        metrics: Callable[[], bytes],
        now: Callable[[], datetime],
        bookmark_interval: float,
    ) -> None:
        self._store = store
        self._token = token
        self._logs = logs
        self._metrics = metrics
        self._now = now
        self._reader = Reader(store, now=now, bookmark_interval=bookmark_interval)
        self._writer = Writer(store, now=now)

    async def handle(self, request: Request) -> Response:
        """Any request; whatever goes wrong is answered as a `Status`."""
        about: Target | None = None
        try:
            parts = segments(request.path)
            if parts[0] not in _OPEN:
                self._authenticate(request)
            if len(request.body) > MAX_API_BODY_BYTES:
                raise TooLarge(f"the body has {len(request.body)} bytes, the limit is {MAX_API_BODY_BYTES}")
            query = parameters(request.query)
            fixed = self._fixed(request, parts)
            if fixed is not None:
                return fixed
            about = target(parts)
            return self._resource(request, about, query)
        except Exception as error:
            return _failure(error, about)

    def _authenticate(self, request: Request) -> None:
        if not tokens.matches(tokens.bearer(request.headers.get(b"authorization")), self._token):
            raise Unauthorized("Unauthorized")

    def _fixed(self, request: Request, parts: tuple[str, ...]) -> Response | None:
        """The answer of paths that name no resource; None for the others."""
        review = reviews.find(parts)
        if review is not None:
            if request.method != "POST":
                raise MethodNotAllowed(f"{review.plural} are asked by POST")
            body = decode_body(request.body, request.headers.get(b"content-type", b""))
            return Response(201, to_json(reviews.answer(review, body)))
        found = self._document(request, parts)
        if found is not None and request.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"/{'/'.join(parts)} can only be read")
        return found

    def _document(self, request: Request, parts: tuple[str, ...]) -> Response | None:
        accept = request.headers.get(b"accept", b"")
        match parts:
            case ("healthz" | "livez" | "readyz", *_):
                return Response(body=b"ok", content_type="text/plain")
            case ("metrics",):
                return Response(body=self._metrics(), content_type=CONTENT_TYPE)
            case ("version",):
                return _json(discovery.version())
            case ("api",) | ("apis",) if discovery.wants_aggregated(accept):
                body = to_json(discovery.aggregated(core=parts == ("api",)))
                return Response(body=body, content_type=discovery.AGGREGATED)
            case ("api",):
                return _json(discovery.api_versions())
            case ("apis",):
                return _json(discovery.groups())
            case ("apis", group):
                return _json(discovery.group(group))
            case ("api", version):
                return _json(discovery.resources("", version))
            case ("apis", group, version):
                return _json(discovery.resources(group, version))
            case ("openapi", "v2"):
                return Response(body=openapi.V2, content_type=openapi.V2_TYPE)
            case ("openapi", "v3"):
                return Response(body=openapi.index())
            case ("openapi", "v3", *name):
                return Response(body=openapi.document("/".join(name)))
            case ("",):
                return _json({"paths": list(_PATHS)})
        return None

    def _resource(self, request: Request, about: Target, query: Mapping[str, str]) -> Response:
        if about.subresource == "log" and "log" in about.kind.subresources:
            _expect_method(request, about, {"GET": "get"})
            return self._log(about, query)
        if about.subresource and about.subresource not in about.kind.subresources:
            raise NotFound(UNKNOWN_PATH)
        if about.name is None:
            return self._collection(request, about, query)
        return self._object(request, about, query)

    def _collection(self, request: Request, about: Target, query: Mapping[str, str]) -> Response:
        method = _expect_method(request, about, {"GET": "list", "POST": "create", "DELETE": "deletecollection"})
        view = view_of(request.headers.get(b"accept", b""))
        if method == "GET":
            reading = self._reader.watch if flag(query, "watch") else self._reader.list
            return reading(about, view, query)
        if about.kind.namespaced and about.namespace is None:
            raise MethodNotAllowed(f"{about.kind.plural} are written in a namespace: /namespaces/{{namespace}}/…")
        body = _decoded(request)
        if method == "POST":
            options = write_options(query, request.headers.get(b"user-agent", b""))
            return self._written(about, self._writer.create(about, body, options), request, query)
        listed = self._reader.selected(about, query)
        self._writer.delete_all(about, listed, body, query)
        metadata = {"resourceVersion": str(self._store.version)}
        kind = about.kind
        return _json({"apiVersion": kind.api_version, "kind": kind.list_kind, "metadata": metadata, "items": listed})

    def _object(self, request: Request, about: Target, query: Mapping[str, str]) -> Response:
        verbs = {"GET": "get", "PUT": "update", "PATCH": "patch"}
        method = _expect_method(request, about, verbs if about.subresource else {**verbs, "DELETE": "delete"})
        if method == "GET":
            return self._reader.get(about, view_of(request.headers.get(b"accept", b"")), query)
        if method == "DELETE":
            return _json(self._writer.delete(about, _decoded(request), query))
        options = write_options(query, request.headers.get(b"user-agent", b""))
        if method == "PUT":
            written = self._writer.replace(about, _decoded(request), options)
        else:
            written = self._writer.patch(about, request.body, request.headers.get(b"content-type", b""), options)
        return self._written(about, written, request, query)

    def _written(self, about: Target, written: Written, request: Request, query: Mapping[str, str]) -> Response:
        view = view_of(request.headers.get(b"accept", b""))
        body = self._reader.render(about.kind, written.object, view, query)
        quoted = [warning.replace("\\", "\\\\").replace('"', '\\"') for warning in written.warnings[:_MAX_WARNINGS]]
        headers = [(b"warning", f'299 - "{text}"'.encode("ascii", "replace")) for text in quoted if text.isprintable()]
        return Response(201 if written.created else 200, body, headers=headers)

    def _log(self, about: Target, query: Mapping[str, str]) -> Response:
        ref = about.ref()
        pod = self._store.get(ref)
        if pod is None:
            raise NotFound(f'pods "{ref.name}" not found')
        container = query.get("container", "")
        containers = _containers(pod)
        if container and container not in (*containers, ref.name, logs.SERVING_CONTAINER):
            raise InvalidInput(f"container {container[:80]} is not valid for pod {ref.name}")
        asked = logs.options(query, self._now())
        behind = container if container in containers[1:] else ""
        paths = self._logs.log_paths(replica_key(f"{ref.namespace}/{ref.name}", behind))
        if asked.previous and not paths.previous.exists():
            name = container or (containers or [logs.SERVING_CONTAINER])[0]
            raise InvalidInput(f'previous terminated container "{name}" in pod "{ref.name}" not found')
        uid = pod["metadata"]["uid"]

        def alive() -> bool:
            found = self._store.get(ref)
            return found is not None and found["metadata"]["uid"] == uid

        stream = logs.stream(paths.previous if asked.previous else paths.current, asked, alive)
        return Response(content_type="text/plain", stream=stream)


def _containers(pod: Object) -> list[str]:
    listed = (pod.get("spec") or {}).get("containers") or []
    return [container.get("name", "") for container in listed if isinstance(container, dict)]


def _decoded(request: Request) -> Any:
    if not request.body:
        return None
    return decode_body(request.body, request.headers.get(b"content-type", b""))


def _expect_method(request: Request, about: Target, verbs: Mapping[str, str]) -> str:
    """The method, if the kind takes it. Raises MethodNotAllowed."""
    method = "GET" if request.method == "HEAD" else request.method
    verb = verbs.get(method)
    if verb is not None and (verb in about.kind.verbs or about.subresource):
        return method
    if about.kind is POD and verb is not None:
        raise MethodNotAllowed(
            "pods are read only here: each is a replica that an InferenceService made; change or delete the service"
        )
    raise MethodNotAllowed("the server does not allow this method on the requested resource")


def _json(obj: Object) -> Response:
    return Response(body=to_json(obj))


def _failure(error: Exception, about: Target | None) -> Response:
    known = opaque(error)
    if about is None or (isinstance(known, Invalid) and not known.causes):
        status = kubernetes_status(known)  # with details but no causes, kubectl would not show the message
    else:
        status = kubernetes_status(known, group=about.kind.group, kind=about.kind.plural, name=about.name)
    if isinstance(known, FieldConflict):
        status.setdefault("details", {})["causes"] = [
            {"reason": "FieldManagerConflict", "message": message, "field": field} for field, message in known.causes
        ]
    return Response(known.status, to_json(status), headers=retry_after(known.retry_after))
