"""TrainedModel → a list on disk, models in replicas, and status.

A model is fetched and examined like that of a service, put on the list of its service (`modelsets`), and then each
replica is told to load it over the repository API on its socket. Replicas that start read the list themselves, so they
are ready with all that is on it. A new version takes the place of the old one inside each replica, without a request
lost; a model that does not load leaves the old version and all other models as they are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from colonnade import defaults
from colonnade.control.events import Events
from colonnade.control.index import Index
from colonnade.control.models import trainedmodel_status
from colonnade.control.models.fetching import Fetched, Fetcher, FetchFailed
from colonnade.control.models.modelsets import ModelSets
from colonnade.control.models.trainedmodel_status import Fact, Served
from colonnade.control.objects import Ref, timestamp, utcnow
from colonnade.control.runtimes import builtserver
from colonnade.control.store import Change, Store
from colonnade.control.templates import template
from colonnade.control.workload import components, revisions
from colonnade.control.workload.sources import SECRET_NAME, Source
from colonnade.control.workqueue import Key, backoff
from colonnade.errors import Error
from colonnade.gateway.routes import Route
from colonnade.net import Address, Upstream
from colonnade.platforms.base import Platform
from colonnade.resources.defaulting import default
from colonnade.runtimes.modellist import Listed, ModelSpec

log = logging.getLogger(__name__)

GROUP, RESOURCE = "serving.kserve.io", "trainedmodels"
_SAFETY = (defaults.TRUST_CODE, defaults.MODEL_DIGEST)


class _Replica(NamedTuple):
    """A process that serves models of a list: another one under the same name has loaded nothing that we know of."""

    pod: str
    pid: int | None
    http: str


class TrainedModels:
    """Reconciles TrainedModels: `reconcile` and `keys` for a `Controller`, `named` for a `Router`."""

    def __init__(
        self,
        store: Store,
        events: Events,
        index: Index,
        platform: Platform,
        fetcher: Fetcher,
        sets: ModelSets,
        look: Callable[[Key], None],
        routed: Callable[[], None],
    ) -> None:
        """`look` asks the controller for a look at a model; `routed` says that names in the routes changed."""
        self._store = store
        self._events = events
        self._index = index
        self._platform = platform
        self._fetcher = fetcher
        self._sets = sets
        self._look = look
        self._routed = routed
        self._models: dict[Key, dict[str, Any]] = {}
        self._services: dict[Key, set[Key]] = {}  # the models that name a service
        self._loaded: dict[_Replica, dict[str, Listed]] = {}
        self._failures: dict[Key, int] = {}
        self._leaving: set[Key] = set()  # models that replicas may still have
        self._seen: dict[Key, tuple[Any, ...]] = {}
        for found in store.list(GROUP, RESOURCE)[0]:
            self._keep(Key(found["metadata"]["namespace"], found["metadata"]["name"]), found)
        store.subscribe(self._changed)

    def keys(self) -> Iterable[Key]:
        """All models, and those that are only listed any more."""
        self._forget_replicas()
        return {*self._models, *self._sets.models()}

    def named(self, route: Route) -> Route:
        """A route with the names of the models that its replicas serve besides."""
        listed = self._sets.of(Key(route.namespace, route.name)) if route.entry else None
        return msgspec.structs.replace(route, models=tuple(sorted(listed))) if listed else route

    # What changed.

    def look_for(self, service: Key) -> None:
        """A replica of a service came or went, or the service changed: look at its models if that concerns them."""
        concerned = self._services.get(service)
        if not concerned:
            return
        isvc = self._index.service(service)
        metadata = (isvc or {}).get("metadata") or {}
        conditions = ((isvc or {}).get("status") or {}).get("conditions") or ()
        ready = next((each["status"] for each in conditions if each["type"] == "Ready"), "")
        now = (metadata.get("uid"), metadata.get("generation"), ready, tuple(self._replicas(service)))
        if self._seen.get(service) != now:
            self._seen[service] = now
            for key in concerned:
                self._look(key)

    def _changed(self, change: Change) -> None:
        ref = change.ref
        if (ref.group, ref.resource) != (GROUP, RESOURCE):
            return
        key = Key(ref.namespace, ref.name)
        if change.type != "DELETED":
            self._keep(key, change.object)
            return
        gone = self._models.pop(key, None)
        if gone is not None:
            service = _service(gone)
            self._services.get(service, set()).discard(key)
            self._failures.pop(key, None)
            for other in self._services.get(service, ()):  # there may be room for them now
                if not trainedmodel_status.fits(self._models[other].get("status") or {}):
                    self._look(other)

    def _keep(self, key: Key, found: dict[str, Any]) -> None:
        before = self._models.get(key)
        if before is not None:
            self._services.get(_service(before), set()).discard(key)
            if before["metadata"].get("generation") != found["metadata"].get("generation"):
                self._failures.pop(key, None)
        self._models[key] = found
        self._services.setdefault(_service(found), set()).add(key)

    # What is done.

    async def reconcile(self, key: Key) -> float | None:
        """Bring one model a step closer to its manifest. Returns seconds until the next look."""
        obj = self._models.get(key)
        if obj is None:
            self._fetcher.forget(_owner(key))
            return await self._withdraw(key, None)
        service = _service(obj)
        again = await self._withdraw(key, service)
        stored = self._index.service(service)
        isvc = None if stored is None else default(stored)
        facts = trainedmodel_status.service_facts(isvc, service.name)
        if isvc is not None:
            facts.append(trainedmodel_status.memory_fact(obj, self._free(key, service, isvc)))
        if isvc is None or any(fact.status != "True" for fact in facts[1:]):
            await self._withdraw(key, None)
            served = Served(False)
        else:
            served, wait = await self._serve(key, obj, service, isvc)
            again = min((each for each in (again, wait) if each is not None), default=None)
        self._write(key, obj, isvc, facts, served)
        return again

    def _free(self, key: Key, service: Key, isvc: dict[str, Any]) -> Any:
        """None if the service has memory for the model, else what is free of it."""
        bound = trainedmodel_status.limit(isvc)
        mine = [self._models[each] for each in self._services.get(service, ()) if bound is not None or each == key]
        return trainedmodel_status.admitted(mine, bound, self._sets.of(service))[key.name]

    async def _serve(
        self, key: Key, obj: dict[str, Any], service: Key, isvc: dict[str, Any]
    ) -> tuple[Served, float | None]:
        """Fetch, list and load a model. The seconds are those until the next attempt at what failed."""
        source = _source(obj, isvc)
        generation = int(obj["metadata"].get("generation", 1))
        outcome = self._fetcher.ask(_owner(key), generation, source, lambda: self._look(key))
        if isinstance(outcome, FetchFailed):
            seconds = max(0.05, outcome.at + outcome.retry_in - time.time())
            return Served(False, "ModelLoadFailed", outcome.message, failed=True), seconds
        if not isinstance(outcome, Fetched):
            return Served(False, "ModelFetching", outcome.text(source.uri) or "the model is being fetched"), None
        wanted = _listed(obj, source, str(outcome.path.absolute()))
        known = key.name in self._sets.of(service)
        if self._sets.put(service, wanted) and not known:
            self._routed()
        replicas = self._replicas(service)
        failures = await asyncio.gather(*(self._load(replica, wanted) for replica in replicas))
        failure = next(filter(None, failures), "")
        if failure:
            self._failures[key] = count = self._failures.get(key, 0) + 1
            return Served(False, "ModelLoadFailed", failure, failed=True), backoff(count)
        self._failures.pop(key, None)
        if not replicas:
            return Served(False, "NoReplica", f"no replica of {service.name} takes requests yet"), None
        return Served(True), None

    async def _load(self, replica: _Replica, wanted: Listed) -> str:
        """Have a replica load a model, unless it has it. Returns why it could not, or ""."""
        if self._loaded.get(replica, {}).get(wanted.model_name) == wanted:
            return ""
        try:
            status, text = await _change(replica, wanted.model_name, "load")
        except Error as error:
            return f"replica {replica.pod}: {error.message}"
        if status != 200:
            return f"replica {replica.pod}: {text}"
        self._loaded.setdefault(replica, {})[wanted.model_name] = wanted
        return ""

    async def _withdraw(self, key: Key, service: Key | None) -> float | None:
        """Take a model from all services but one. Returns seconds until the next look if a replica has it still."""
        for holder in self._sets.holding(key):
            if holder != service:
                self._sets.remove(holder, key.name)
                self._leaving.add(key)
                self._routed()
        if key not in self._leaving:
            return None
        near = [each for each in self._index.keys() if each.namespace == key.namespace and each != service]  # noqa: SIM118
        others = [replica for each in near for replica in self._replicas(each, starting=True)]
        left = await asyncio.gather(*(self._unload(replica, key.name) for replica in others))
        if not all(left):
            return 1.0
        self._leaving.discard(key)
        return None

    async def _unload(self, replica: _Replica, name: str) -> bool:
        """Have a replica unload a model. Returns whether it surely has it no more."""
        try:
            status, _ = await _change(replica, name, "unload")
        except Error:
            return False
        self._loaded.get(replica, {}).pop(name, None)
        return status in (200, 404)

    def _replicas(self, service: Key, *, starting: bool = False) -> list[_Replica]:
        """The processes of a service that take models by name, in order: those that take requests, and if asked for
        those that are `starting`, which have read the list before it changed or will read it."""
        found = []
        for pod in self._index.pods(service):
            transport = (pod["metadata"].get("annotations") or {}).get(template.TRANSPORT_ANNOTATION)
            if revisions.component_of(pod) != components.PREDICTOR or transport != "socket" or not _multi_model(pod):
                continue
            state = self._platform.get(str(Key(service.namespace, pod["metadata"]["name"])))
            if state is not None and (state.ready or (starting and state.running)):
                found.append(_Replica(pod["metadata"]["name"], state.pid, state.spec.http))
        return found

    def _forget_replicas(self) -> None:
        """Forget what processes that are gone had loaded."""
        alive = {(state.spec.name, state.pid) for state in self._platform.list() if state.running}
        for replica in [each for each in self._loaded if (each.pod, each.pid) not in alive]:
            del self._loaded[replica]

    def _write(
        self, key: Key, obj: dict[str, Any], isvc: dict[str, Any] | None, facts: list[Fact], served: Served
    ) -> None:
        old = obj.get("status") or {}
        new = trainedmodel_status.status(obj, isvc, facts, served, timestamp(utcnow()))
        ref = Ref(GROUP, RESOURCE, *key)
        stored = self._store.get(ref)
        if new == old or stored is None:
            return
        self._store.update(ref, {**stored, "status": new}, status=True)
        if trainedmodel_status.is_ready(new) and not trainedmodel_status.is_ready(old):
            self._events.record(obj, "TrainedModelReady", f"TrainedModel [{key.name}] is Ready")
        elif served.failed:
            self._events.record(obj, served.reason, served.message, "Warning")


async def _change(replica: _Replica, name: str, verb: str) -> tuple[int, str]:
    """Ask a replica to load or unload a model: its status and its words."""
    upstream = Upstream(Address.parse(replica.http))
    try:
        path = f"/v2/repository/models/{quote(name, safe='')}/{verb}"
        answer = await upstream.fetch("POST", path, timeout=defaults.READY_TIMEOUT)
    finally:
        upstream.close()
    try:
        text = msgspec.json.decode(answer.body, type=dict[str, Any]).get("error", "")
    except msgspec.MsgspecError:
        text = answer.body.decode("utf-8", "replace")
    return answer.status, str(text)


def _multi_model(pod: dict[str, Any]) -> bool:
    return "--multi-model" in (pod["spec"]["containers"][0].get("args") or ())


def _service(obj: dict[str, Any]) -> Key:
    return Key(obj["metadata"]["namespace"], obj["spec"]["inferenceService"])


def _owner(key: Key) -> str:
    return f"{key.namespace}/trainedmodel/{key.name}"


def _annotations(obj: dict[str, Any], isvc: dict[str, Any]) -> dict[str, str]:
    """What may be said of a model's safety: by its own annotations, or by its service's for all of its models."""
    own, given = (each["metadata"].get("annotations") or {} for each in (obj, isvc))
    shared = {name: value for name, value in given.items() if name == defaults.TRUST_CODE}
    return {**shared, **{name: value for name, value in own.items() if name in _SAFETY}}


def _source(obj: dict[str, Any], isvc: dict[str, Any]) -> Source:
    account = isvc["spec"]["predictor"].get("serviceAccountName") or "default"
    secret = (isvc["metadata"].get("annotations") or {}).get(SECRET_NAME, "")
    safety = tuple(sorted(_annotations(obj, isvc).items()))
    return Source(obj["spec"]["model"]["storageUri"], account=account, secret=secret, safety=safety)


def _listed(obj: dict[str, Any], source: Source, path: str) -> Listed:
    """The model as its list has it."""
    metadata, model = obj["metadata"], obj["spec"]["model"]
    consent = dict(source.safety).get(defaults.TRUST_CODE)
    trusted = None if builtserver.local([source]) else False  # as for a service's own model
    if consent in ("true", "false"):
        trusted = consent == "true"
    spec = ModelSpec(model["storageUri"], model["framework"], str(model["memory"]))
    version = f"{metadata.get('uid', '')}/{metadata.get('generation', 1)}"
    return Listed(metadata["name"], spec, path, version, trusted)
