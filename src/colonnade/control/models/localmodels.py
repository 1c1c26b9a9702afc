"""LocalModelCache and LocalModelNamespaceCache: their models are downloaded before a service asks, and stay.

A downloaded model is an artefact of the one cache that is pinned under the object's name. Services whose URI is the
source, or lies under it, are served from there (`artefacts`) without asking the source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from colonnade.control.models import localcaches
from colonnade.control.models.artefacts import GROUP, Artefacts
from colonnade.control.models.fetching import Fetched, Fetcher, FetchFailed, Fetching, Outcome
from colonnade.control.models.localcaches import LocalCache, local_cache
from colonnade.control.objects import Ref
from colonnade.control.store import Store
from colonnade.control.workload.sources import Source, StorageBlock
from colonnade.control.workqueue import Key
from colonnade.resources.localmodels import LOCAL_MODEL_RESOURCES
from colonnade.resources.quantity import parse

NODE = "localhost"  # the one node
JOB_NAMESPACE = "kserve-localmodel-jobs"  # where KServe downloads for the cluster: whose secrets count there
_KINDS = (LOCAL_MODEL_RESOURCES.cluster, LOCAL_MODEL_RESOURCES.namespaced)


class LocalModels:
    """Reconciles the caches of both kinds. A key without a namespace is a LocalModelCache."""

    def __init__(
        self, store: Store, artefacts: Artefacts, look: Callable[[Key], None], ready: Callable[[], None]
    ) -> None:
        """`look` asks for another look at a key. `ready` is called when a model has become available."""
        self._store = store
        self._artefacts = artefacts
        self._look = look
        self._ready = ready
        self._fetcher = Fetcher(artefacts.prepare_cache, still=artefacts.still)
        self._known: set[Key] = set()

    def keys(self) -> Iterable[Key]:
        """All caches."""
        for resource in _KINDS:
            for found in self._store.list(GROUP, resource)[0]:
                yield Key(found["metadata"].get("namespace", ""), found["metadata"]["name"])

    def look_all(self) -> None:
        """A cache or a node group changed: what fits into a group depends on all that are in it."""
        for key in self._known | set(self.keys()):
            self._look(key)

    async def reconcile(self, key: Key) -> float | None:
        """Bring one cache a step closer to its manifest."""
        stored = self._everything()
        self._artefacts.cache.unpin_others({local_cache(each).pin for each in stored})
        found = next((each for each in stored if _key(each) == key), None)
        owner = f"{key.namespace or JOB_NAMESPACE}/{key}"
        if found is None:
            self._known.discard(key)
            self._fetcher.forget(owner)
            return None
        self._known.add(key)
        view = local_cache(found)
        problem = over_limit(found, stored, self._store.list(GROUP, LOCAL_MODEL_RESOURCES.groups)[0])
        if problem:
            self._write(key, found, _status("NodeDownloadPending", problem))
            return None
        pinned = self._artefacts.cache.pin_of(view.pin)
        outcome: Outcome
        if pinned is not None:
            outcome = Fetched(pinned)
        else:
            generation = int(found["metadata"].get("generation", 1))
            outcome = self._fetcher.ask(owner, generation, _source(found), lambda: self._look(key))
        if isinstance(outcome, Fetched) and pinned is None:
            artefact = self._artefacts.cache.key_in(str(outcome.path))
            if artefact is not None:
                self._artefacts.cache.pin(view.pin, artefact)
            self._ready()
        self._write(key, found, _told(found, outcome, self._users(view, stored)))
        return max(0.05, outcome.retry_in) if isinstance(outcome, FetchFailed) else None

    def retry(self, namespace: str) -> None:
        """Secrets changed: what failed may work now."""
        self._fetcher.retry(namespace)

    async def close(self) -> None:
        """End all downloads."""
        await self._fetcher.close()

    def _everything(self) -> list[dict[str, Any]]:
        return [found for resource in _KINDS for found in self._store.list(GROUP, resource)[0]]

    def _users(self, view: LocalCache, stored: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
        """The services that the cache serves."""
        services, _ = self._store.list(GROUP, "inferenceservices", view.namespace or None)
        known = [local_cache(each) for each in stored]
        using = []
        for service in services:
            namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
            uri = ((service["spec"].get("predictor") or {}).get("model") or {}).get("storageUri") or ""
            usable = [each for each in known if each.namespace in ("", namespace)]
            if uri and localcaches.covering(uri, usable) == view:
                using.append({"name": name, "namespace": namespace})
        return using

    def _write(self, key: Key, found: dict[str, Any], status: dict[str, Any]) -> None:
        if found.get("status") != status:
            resource = _KINDS[1] if key.namespace else _KINDS[0]
            self._store.update(Ref(GROUP, resource, *key), {**found, "status": status}, status=True)


def over_limit(
    found: Mapping[str, Any], stored: Iterable[Mapping[str, Any]], groups: Iterable[Mapping[str, Any]]
) -> str:
    """Why a cache does not fit into its node groups, or "". Pure. Those that were made first are counted first."""
    limits = {group["metadata"]["name"]: group["spec"].get("storageLimit") for group in groups}
    earlier = sorted(stored, key=_age)
    earlier = earlier[: [_key(each) for each in earlier].index(_key(found)) + 1]
    for name in found["spec"]["nodeGroups"]:
        if name not in limits:
            return f'localmodelnodegroups "{name}" not found: apply it, or correct spec.nodeGroups'
        if limits[name] is None:
            continue
        members = (each for each in earlier if name in each["spec"]["nodeGroups"])
        wanted = sum((parse(each["spec"]["modelSize"]) for each in members), Decimal())
        if wanted > parse(limits[name]):
            return (
                f"the models of the node group {name} need {_bytes(wanted)} and its storageLimit is {limits[name]}; "
                "raise it, or remove a model"
            )
    return ""


def _bytes(amount: Decimal) -> str:
    return f"{int(amount)} bytes"


def _age(found: Mapping[str, Any]) -> tuple[str, Key]:
    return str(found["metadata"].get("creationTimestamp", "")), _key(found)


def _key(found: Mapping[str, Any]) -> Key:
    return Key(found["metadata"].get("namespace", ""), found["metadata"]["name"])


def _source(found: Mapping[str, Any]) -> Source:
    spec = found["spec"]
    block = spec.get("storage")
    parameters = tuple(sorted(((block or {}).get("parameters") or {}).items()))
    return Source(
        spec["sourceModelUri"],
        account=spec.get("serviceAccountName") or "default",
        storage=StorageBlock(str(block.get("key") or ""), parameters) if block else None,
    )


def _told(found: Mapping[str, Any], outcome: Outcome, users: list[dict[str, str]]) -> dict[str, Any]:
    match outcome:
        case Fetched():
            status = _status("NodeDownloaded", "", available=1)
        case Fetching():
            status = _status("NodeDownloading", outcome.text(found["spec"]["sourceModelUri"]))
        case FetchFailed():
            status = _status("NodeDownloadError", outcome.message, failed=1)
    return {**status, **({"inferenceServices": users} if users else {})}


def _status(node: str, message: str, *, available: int = 0, failed: int = 0) -> dict[str, Any]:
    copies = {"available": available, "total": 1, "failed": failed}
    return {"nodeStatus": {NODE: node}, "copies": copies, **({"message": message} if message else {})}
