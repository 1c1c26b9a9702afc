"""get, list and watch: what a client sees of the store, in the view that it asked for."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime

import msgspec

from colonnade.control.api import selectors
from colonnade.control.api.logs import flag
from colonnade.control.api.media import View, partial, to_json
from colonnade.control.api.paths import Target
from colonnade.control.api.tables import table
from colonnade.control.objects import Change, Object, Objects
from colonnade.control.store import Store
from colonnade.control.watch import Watch
from colonnade.errors import DeadlineExceeded, Gone, Invalid, InvalidInput, NotFound
from colonnade.net import Response
from colonnade.resources.kinds import Kind
from colonnade.wire.failures import kubernetes_status, opaque

BOOKMARK_INTERVAL = 30.0
WATCH_TIMEOUT = 3600.0  # where the client names none; Kubernetes ends watches in 30 to 60 minutes too
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class Reader:
    """Answers get, list and watch."""

    def __init__(
        self, store: Store, *, now: Callable[[], datetime], bookmark_interval: float = BOOKMARK_INTERVAL
    ) -> None:
        self._store = store
        self._now = now
        self._bookmark_interval = bookmark_interval

    def get(self, target: Target, view: View, parameters: Mapping[str, str]) -> Response:
        """One object. Raises NotFound."""
        ref = target.ref()
        found = self._store.get(ref)
        if found is None:
            raise NotFound(f'{ref.qualified} "{ref.name}" not found')
        return Response(body=self.render(target.kind, found, view, parameters))

    def render(self, kind: Kind, obj: Object, view: View, parameters: Mapping[str, str]) -> bytes:
        """One object in a view, as JSON."""
        return to_json(self._shown(kind, obj, view, parameters))

    def list(self, target: Target, view: View, parameters: Mapping[str, str]) -> Response:
        """A collection, whole or in chunks (`limit`, `continue`).

        A chunk is read when it is asked for, and carries the version of the first one: a watch from there tells all
        that changed meanwhile, so a client ends up with the truth.
        """
        selected = self._selector(target, parameters)
        after, version = _continued(parameters)
        items, current = self._store.list(target.kind.group, target.kind.plural, target.namespace)
        if after is None:
            version = current
            self._check_version(parameters, current)
        elif version < self._store.floor or version > current:
            raise Gone("The provided continue parameter is too old to display a consistent list result. Start over.")
        items = [item for item in items if (after is None or _key(item) > after) and (not selected or selected(item))]
        metadata: Object = {"resourceVersion": str(version)}
        limit = _count("limit", parameters.get("limit", ""))
        if limit and len(items) > limit:
            if not selected:
                metadata["remainingItemCount"] = len(items) - limit
            items = items[:limit]
            token = to_json([version, *_key(items[-1])])
            metadata["continue"] = base64.urlsafe_b64encode(token).decode().rstrip("=")
        return Response(body=to_json(self._listed(target.kind, items, metadata, view, parameters)))

    def selected(self, target: Target, parameters: Mapping[str, str]) -> Objects:
        """The objects of a collection that the selectors of a request choose."""
        selected = self._selector(target, parameters)
        items, _ = self._store.list(target.kind.group, target.kind.plural, target.namespace)
        return [item for item in items if not selected or selected(item)]

    def watch(self, target: Target, view: View, parameters: Mapping[str, str]) -> Response:
        """A stream of watch events, one JSON object per line. Raises Gone if the version is no longer kept."""
        selected = self._selector(target, parameters)
        kind = target.kind
        initial = flag(parameters, "sendInitialEvents")
        bookmarks = flag(parameters, "allowWatchBookmarks")
        asked = parameters.get("resourceVersion", "")
        if initial and parameters.get("resourceVersionMatch") != "NotOlderThan":
            raise Invalid("sendInitialEvents: needs resourceVersionMatch=NotOlderThan and allowWatchBookmarks=true")
        start: Objects = []
        if initial or asked in ("", "0"):
            start, since = self._store.list(kind.group, kind.plural, target.namespace)
            self._check_version(parameters, since)
        else:
            since = _version(asked)
        timeout = float(_count("timeoutSeconds", parameters.get("timeoutSeconds", "")) or WATCH_TIMEOUT)
        watch = self._store.watch(kind.group, kind.plural, since, target.namespace)

        def line(event: str, obj: Object) -> bytes:
            return to_json({"type": event, "object": obj}) + b"\n"

        def shown(event: str, obj: Object) -> bytes:
            return line(event, self._shown(kind, obj, view, parameters))

        def bookmark(annotations: Object | None = None) -> bytes:
            metadata: Object = {"resourceVersion": str(watch.version), "creationTimestamp": None}
            if annotations:
                metadata["annotations"] = annotations
            marked = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
            return line("BOOKMARK", table(kind, [], metadata, self._now(), None) if view == "table" else marked)

        async def events() -> AsyncIterator[bytes]:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + timeout
            try:
                for obj in start:
                    if not selected or selected(obj):
                        yield shown("ADDED", obj)
                if initial and bookmarks:
                    yield bookmark({INITIAL_EVENTS_END: "true"})
                while loop.time() < deadline:
                    until = min(deadline, loop.time() + self._bookmark_interval)
                    async for change in _until(watch, until):
                        if (event := self._event(change, selected)) is not None:
                            yield shown(event, change.object)
                    if watch.closed:
                        return
                    if bookmarks:
                        yield bookmark()
            except Exception as error:  # the answer has begun: it can only be told as an event
                yield line("ERROR", kubernetes_status(opaque(error), group=kind.group, kind=kind.plural))
            finally:
                watch.close()

        return Response(stream=_Closing(events(), watch))

    def _event(self, change: Change, selected: selectors.Selector | None) -> str | None:
        """What a change is to a client that selects: an object can come into and go out of its sight by labels."""
        if selected is None:
            return change.type
        before = self._store.at(change.previous) if change.type == "MODIFIED" else None
        was = change.type != "ADDED" and (before is None or selected(before))
        match selected(change.object) and change.type != "DELETED", was:
            case True, True:
                return "MODIFIED"
            case True, False:
                return "ADDED"
            case False, True:
                return "DELETED" if change.type == "MODIFIED" or selected(change.object) else None
        return None

    def _selector(self, target: Target, parameters: Mapping[str, str]) -> selectors.Selector | None:
        return selectors.both(
            selectors.by_labels(parameters.get("labelSelector", "")),
            selectors.by_fields(parameters.get("fieldSelector", ""), target.kind.kind),
        )

    def _check_version(self, parameters: Mapping[str, str], current: int) -> None:
        asked, match = parameters.get("resourceVersion", ""), parameters.get("resourceVersionMatch", "")
        if match not in ("", "Exact", "NotOlderThan"):
            raise Invalid(f"resourceVersionMatch: unsupported value {match[:40]!r}: use Exact or NotOlderThan")
        if match and not asked and not flag(parameters, "sendInitialEvents"):
            raise Invalid("resourceVersionMatch is forbidden unless resourceVersion is provided")
        version = _version(asked) if asked else 0
        if version > current:
            raise DeadlineExceeded(f"Too large resource version: {version}, current: {current}", retry_after=1)
        if match == "Exact" and version != current:
            raise Gone(f"The resourceVersion for the provided list is too old: {version}; lists show {current}")

    def _shown(self, kind: Kind, obj: Object, view: View, parameters: Mapping[str, str]) -> Object:
        if view == "metadata":
            return partial(obj)
        if view == "table":
            version = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            return table(kind, [obj], version, self._now(), parameters.get("includeObject"))
        return obj

    def _listed(
        self, kind: Kind, items: Objects, metadata: Object, view: View, parameters: Mapping[str, str]
    ) -> Object:
        if view == "table":
            return table(kind, items, metadata, self._now(), parameters.get("includeObject"))
        if view == "metadata":
            head = {"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList"}
            return {**head, "metadata": metadata, "items": [partial(item) for item in items]}
        return {"apiVersion": kind.api_version, "kind": kind.list_kind, "metadata": metadata, "items": items}


class _Closing:
    """A stream of events whose watch ends with it, even if it was never read."""

    def __init__(self, events: AsyncIterator[bytes], watch: Watch) -> None:
        self._events = events
        self._watch = watch

    def __aiter__(self) -> _Closing:
        return self

    async def __anext__(self) -> bytes:
        return await anext(self._events)

    async def aclose(self) -> None:
        self._watch.close()
        await self._events.aclose()  # type: ignore[attr-defined]


async def _until(watch: Watch, moment: float) -> AsyncIterator[Change]:
    """The changes until the loop's clock shows `moment`, or the watch ends."""
    while not watch.closed:
        try:
            async with asyncio.timeout_at(moment):
                change = await anext(watch)
        except (TimeoutError, StopAsyncIteration):
            return
        yield change


def _key(obj: Object) -> tuple[str, str]:
    """The order of lists."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _continued(parameters: Mapping[str, str]) -> tuple[tuple[str, str] | None, int]:
    """Where a chunked list goes on, and the version of its first chunk."""
    token = parameters.get("continue", "")
    if not token:
        return None, 0
    if parameters.get("resourceVersion", "") not in ("", "0"):
        raise InvalidInput("specifying resource version is not allowed when using continue")
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        version, namespace, name = msgspec.json.decode(raw, type=tuple[int, str, str])
    except (ValueError, msgspec.MsgspecError):
        raise InvalidInput("continue key is not valid: use the one that the last chunk of the list named") from None
    return (namespace, name), version


def _version(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise InvalidInput(
            f"resourceVersion: Invalid value: {text[:40]!r}: must be a number that a list or watch named"
        )
    return int(text)


def _count(name: str, text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidInput(f"{name}: Invalid value: {text[:40]!r}: must be an integer of 0 or more")
    return int(text or 0)
