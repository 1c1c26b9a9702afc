"""The kubelet's part: each Pod in the store gets a process on the platform, and says in its status how that fares."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from colonnade import defaults, errors
from colonnade.control.events import Events
from colonnade.control.index import SERVICES
from colonnade.control.machine.budget import Budget
from colonnade.control.machine.parking import Parking, weights
from colonnade.control.models import safety
from colonnade.control.objects import Ref
from colonnade.control.replicas import trials
from colonnade.control.replicas.pooling import Pooling
from colonnade.control.replicas.trials import Trials
from colonnade.control.routes import routing
from colonnade.control.store import Store
from colonnade.control.templates import replica
from colonnade.control.workload import claims, components, podstatus, revisions, variables
from colonnade.control.workload.podstatus import CRASH_LOOP, Unschedulable, Waiting
from colonnade.control.workload.ports import DIRECT, Port, Ports
from colonnade.control.workqueue import Key, backoff
from colonnade.platforms.base import Platform, ReplicaSpec, ReplicaState, pod_of, replica_key
from colonnade.platforms.budget import Held
from colonnade.platforms.ports import free_port, free_ports, is_free
from colonnade.platforms.records import TERMINATION

log = logging.getLogger(__name__)

MODELS = "models"  # in a replica's folder: models that are single files
COMPILE_REPORT = "compile.json"  # there too: what became of the model's compiled form
LOOK_AGAIN = 2.0  # seconds, while a model is being compiled
HEALTHY_AFTER = 60.0  # seconds of readiness after which earlier crashes are forgotten

Hold = Callable[[Mapping[str, Any]], Awaitable[None]]
"""Looks at what a pod's processes are about to load; raises the errors family if they must not."""


async def nothing_held(pod: Mapping[str, Any]) -> None:
    """Where no pod uses models that may be changed."""


@dataclass(slots=True)
class _Trouble:
    """The failures in a row of one pod. `seen` is the end that was counted last."""

    failures: int = 0
    seen: float | None = None
    not_before: float = 0.0
    reason: str = CRASH_LOOP
    message: str = ""


class Pods:
    """Reconciles Pods with the platform. `reconcile` and `keys` are for a `Controller`."""

    def __init__(
        self,
        store: Store,
        platform: Platform,
        events: Events,
        run: Path,
        ports: Ports,
        compiled: Path,
        budget: Budget,
        *,
        now: Callable[[], float] = time.time,
        ready_timeout: float = defaults.READY_TIMEOUT,
        pooling: Pooling = Pooling(),  # noqa: B008  a value
        parking: Parking | None = None,
        model_sets: Path = Path(),
        hold: Hold = nothing_held,
        look: Callable[[Key], None] = lambda key: None,
    ) -> None:
        """`run` is the folder of the replicas' sockets; `ports` has the services' own;
        `compiled` is the folder of compiled models; `budget` admits; `pooling` says which replicas are
        forked; `model_sets` is the folder of the models of multi-model services; `hold` looks at the models of a
        pod before each start, and raises if they must not be loaded; `look` asks for another look at a pod."""
        self._hold = hold
        self._trials = Trials(look, ready_timeout)
        self._model_sets = model_sets
        self._store = store
        self._platform = platform
        self._events = events
        self._run = run
        self._ports = ports
        self._compiled = compiled
        self._budget = budget
        self._now = now
        self._ready_timeout = ready_timeout
        self._pooling = pooling
        self._parking = parking or Parking(0)
        self._trouble: dict[str, _Trouble] = {}  # by the process's key

    def keys(self) -> Iterable[Key]:
        """All pods, and all replicas whose pod is gone."""
        found = {Key(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in self._store.list("", "pods")[0]}
        return found | {Key(state.spec.namespace, state.spec.name) for state in self._platform.list()}

    def refresh(self) -> None:
        """Write down at once which pods are ready: after a restart the store remembers those of another time.

        And remove what replicas left whose pods were deleted when nobody had the time to.
        """
        keys = list(self.keys())
        pods = {key: self._store.get(Ref("", "pods", *key)) for key in keys}
        self._platform.sweep(each for key, pod in pods.items() for each in _processes(key, pod))
        for key in keys:
            for number in range(_count(pods[key])):
                pod = self._store.get(Ref("", "pods", *key))
                if pod is not None:
                    state = self._platform.get(_name(key, pod, number))
                    runs = state is not None and state.running
                    seen = self._trials.believed(key, pod, state, number) if state is not None and runs else None
                    self._write(key, pod, seen, None, "", number)

    async def reconcile(self, key: Key) -> float | None:
        """Make the processes of one pod what the pod says. Returns seconds until the next look.

        Those behind the first come before it, which is told where they listen.
        """
        pod = self._store.get(Ref("", "pods", *key))
        if pod is None:
            await self._remove(key)
            return None
        waits: list[float] = []
        for number in reversed(range(_count(pod))):
            wait = await self._reconcile(key, self._store.get(Ref("", "pods", *key)) or pod, number)
            waits += [] if wait is None else [wait]
        return min(waits, default=None)

    async def _reconcile(self, key: Key, pod: dict[str, Any], number: int) -> float | None:
        """The same for one of its processes."""
        state = self._platform.get(_name(key, pod, number))
        if state is not None and state.running:
            beside = self._platform.get(_name(key, pod, 1)) if not number and _count(pod) > 1 else None
            if beside is not None and _told(beside) != state.spec.env.get(variables.PREDICTOR):
                await self._platform.stop(state.spec.key)  # its port was taken by another program meanwhile
                return 0.0
            return await self._tend(key, pod, state, number)
        return await self._begin(key, pod, state, number)

    async def _remove(self, key: Key) -> None:
        states = [state for state in self._platform.list() if pod_of(state.spec.key) == str(key)]
        await asyncio.gather(*(self._platform.stop(state.spec.key) for state in states))
        for name in {str(key), *(state.spec.key for state in states)}:
            self._trouble.pop(name, None)
            self._trials.forget(name)
            await self._platform.forget(name)  # one that never started has left files too
        for state in states:
            _remove_sockets(state)
        self._budget.release(key)  # what it held is free only now
        for state in states:
            await self._park(key, state.spec)

    async def _tend(self, key: Key, pod: dict[str, Any], state: ReplicaState, number: int) -> float | None:
        """The process runs: report it, and end it if it is stuck or takes too long to become ready."""
        now = self._now()
        name = state.spec.key
        was_ready = bool(podstatus.container_status(pod, number).get("ready"))
        state = self._trials.believed(key, pod, state, number)
        self._write(key, pod, state, None, "", number)
        wrong = self._trials.failure(state)
        if wrong:
            trials.tell(state, wrong)
            self._events.record(pod, "Unhealthy", f"Process {state.pid} gets no requests: {wrong}", "Warning")
            await self._platform.stop(name)
            return 0.0
        if state.stuck:
            container = pod["spec"]["containers"][number]["name"]
            self._events.record(pod, "Unhealthy", f"Liveness probe failed: {state.stuck}", "Warning")
            self._events.record(pod, "Killing", f"Container {container} failed liveness probe, will be restarted")
            await self._platform.stop(name)
            return 0.0
        if state.ready and not was_ready:
            self._events.record(pod, "Ready", f"Process {state.pid} takes requests")
        elif was_ready and not state.ready:
            self._events.record(pod, "Unhealthy", f"Readiness probe failed: {state.reason}", "Warning")
        if state.ready:
            compiled = self._compile_report(name)
            again = LOOK_AGAIN if compiled is not None and compiled.state == podstatus.CONVERTING else None
            trouble = self._trouble.get(name)
            if trouble is None or again is not None:
                return again
            healthy = now - (state.ready_since or now)
            if healthy < HEALTHY_AFTER:
                return HEALTHY_AFTER - healthy
            del self._trouble[name]
            return None
        if was_ready:
            return None
        left = state.started + self._ready_timeout - now
        if left > 0:
            return left
        message = f"Process {state.pid} was not ready in {self._ready_timeout:g} s: {state.reason}"
        self._events.record(pod, "Unhealthy", message, "Warning")
        await self._platform.stop(name)
        return 0.0

    async def _begin(self, key: Key, pod: dict[str, Any], ended: ReplicaState | None, number: int) -> float | None:
        """No process runs: start one, at once or when the back-off is over."""
        now = self._now()
        trouble = self._trouble.get(_name(key, pod, number))
        if ended is not None and (trouble is None or trouble.seen != ended.finished):
            trouble = self._crashed(key, pod, ended, number)
        if trouble is not None and now < trouble.not_before:
            tail = self._tail(ended.spec.key) if ended is not None else ""
            self._write(key, pod, ended, Waiting(trouble.reason, trouble.message), tail, number)
            return trouble.not_before - now
        if ended is not None:
            self._write(key, pod, ended, None, self._tail(ended.spec.key), number)  # keeps the end as the last state
            pod = self._store.get(Ref("", "pods", *key)) or pod
        return await self._start(key, pod, number, restarted=ended is not None)

    async def _start(self, key: Key, pod: dict[str, Any], number: int, *, restarted: bool) -> float | None:
        name = _name(key, pod, number)
        try:
            await self._hold(pod)
            held = self._budget.admit(key, pod)
            if isinstance(held, Unschedulable):
                if podstatus.unscheduled(pod) != held.message:
                    self._events.record(pod, "FailedScheduling", held.message, "Warning")
                self._write(key, pod, None, None, "", number, unscheduled=held)
                return None  # it is looked at when there is room
            place = self._place(key, pod, number)
            _link(replica.model_links(pod, Path(place.models)))
            spec = replica.spec_of(pod, place, lambda kind, called: self._data(kind, key.namespace, called), number)
            admitted = _admitted(spec, pod, held, number)
            isvc = self._sleeper(key.namespace, revisions.service_of(pod), revisions.component_of(pod))
            if isvc is not None:
                self._parking.wake(f"{key.namespace}/{revisions.service_of(pod)}", weights(admitted.argv))
            seed = self._pooling.seed_of(admitted.argv, admitted.env, sleeps=isvc is not None)
            await self._platform.start(msgspec.structs.replace(admitted, seed=seed))
        except (replica.Misconfigured, errors.LoadFailed, errors.InvalidInput) as error:
            reason = "RunContainerError" if isinstance(error, errors.LoadFailed) else "CreateContainerConfigError"
            reason = safety.REFUSED if isinstance(error, safety.Refused) else reason
            trouble = self._trouble.setdefault(name, _Trouble())
            trouble.failures += 1
            trouble.not_before = self._now() + backoff(trouble.failures)
            trouble.reason, trouble.message = reason, str(error)
            self._events.record(pod, "Failed", f"Error: {error}", "Warning")
            self._write(key, pod, self._platform.get(name), Waiting(reason, str(error)), "", number)
            return trouble.not_before - self._now()
        state = self._platform.get(name)
        assert state is not None
        container = pod["spec"]["containers"][number]["name"]
        self._events.record(pod, "Created", f"Created container {container}")
        self._events.record(pod, "Started", f"Started container {container}")
        restarts = podstatus.restart_count(pod, number) + (1 if restarted else 0)
        self._write(key, pod, state, None, "", number, restarts)
        return self._ready_timeout

    def _sleeper(self, namespace: str, service: str, component: str) -> dict[str, Any] | None:
        """The service, if this component of it may have no replica."""
        isvc = self._store.get(Ref("serving.kserve.io", SERVICES, namespace, service))
        spec = ((isvc or {}).get("spec") or {}).get(component)
        return isvc if isvc is not None and spec is not None and routing.sleeps(isvc, spec) else None

    async def _park(self, key: Key, spec: ReplicaSpec) -> None:
        """Keep in memory what the last replica of a service that sleeps has loaded."""
        service = spec.env.get("INFERENCE_SERVICE_NAME", "")
        isvc = self._sleeper(key.namespace, service, components.PREDICTOR)
        others = (state.spec for state in self._platform.list() if state.running)
        same = (key.namespace, service)
        if isvc is None or any((each.namespace, each.env.get("INFERENCE_SERVICE_NAME")) == same for each in others):
            return
        size = await self._parking.park(f"{key.namespace}/{service}", weights(spec.argv))
        if size:
            self._events.record(isvc, "Parked", f"Its model sleeps in memory without a process: {size} bytes")

    def _crashed(self, key: Key, pod: dict[str, Any], ended: ReplicaState, number: int) -> _Trouble:
        """Count an end that was not counted yet, and decide when to start again."""
        trouble = self._trouble.setdefault(ended.spec.key, _Trouble())
        trouble.failures += 1
        trouble.seen = ended.finished
        delay = backoff(trouble.failures)
        trouble.not_before = (ended.finished or self._now()) + delay
        trouble.reason = CRASH_LOOP
        container = pod["spec"]["containers"][number]["name"]
        trouble.message = f"back-off {delay:g}s restarting failed container={container} pod={key.name}"
        how = podstatus.terminated(ended, "")
        log.warning("a replica crashed", extra={"pod": str(key), "exit_code": how["exitCode"], "retry_in": delay})
        self._events.record(
            pod, "BackOff", f"Back-off restarting failed container {container} in pod {key.name}", "Warning"
        )
        return trouble

    def _place(self, key: Key, pod: dict[str, Any], number: int) -> replica.Place:
        http, grpc = replica.sockets(self._run, key.namespace, key.name, pod["metadata"].get("uid", ""))
        taken = {port for state in self._platform.list() for port in _ports(state)}
        before = self._platform.get(_name(key, pod, number)) if number else None
        kept = _ports(before) if before is not None else ()  # the first process was told them
        http_port, grpc_port, *_ = (*(kept if all(map(is_free, kept)) else ()), *free_ports(2, taken))
        folder = self._platform.folder(_name(key, pod, number))
        service = Key(key.namespace, revisions.service_of(pod))
        direct = self._ports.port(Port(service, DIRECT))
        predictor, predictor_grpc = self._ports.port(Port(service, components.PREDICTOR)), None
        if not number and _count(pod) > 1:
            beside = self._platform.get(_name(key, pod, 1))
            predictor, predictor_grpc = _ends(beside) if beside is not None else (None, None)
        return replica.Place(
            http,
            grpc,
            http_port,
            str(folder / TERMINATION),
            str(self._platform.folder(str(key)) / MODELS),
            direct,
            str(self._compiled),
            str(folder / COMPILE_REPORT),
            grpc_port,
            free_port(taken | {http_port, grpc_port}),
            predictor,
            str(self._model_sets / service.namespace / service.name),
            predictor_grpc,
        )

    def _data(self, resource: str, namespace: str, name: str) -> Mapping[str, str] | None:
        found = self._store.get(Ref("", resource, namespace, name))
        if found is None:
            return None
        data = {str(field): str(value) for field, value in (found.get("data") or {}).items()}
        if resource != "secrets":
            return data
        decoded = {field: base64.b64decode(value).decode(errors="surrogateescape") for field, value in data.items()}
        return decoded | (found.get("stringData") or {})

    def _compile_report(self, name: str) -> podstatus.Compiled | None:
        try:
            content = (self._platform.folder(name) / COMPILE_REPORT).read_bytes()
            return msgspec.json.decode(content, type=podstatus.Compiled)
        except (OSError, msgspec.DecodeError):  # a server of the user's own writes none
            return None

    def _tail(self, name: str) -> str:
        try:
            with self._platform.log_paths(name).current.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - podstatus.MESSAGE_BYTES))
                return podstatus.last_lines(file.read())
        except OSError:
            return ""

    def _write(
        self,
        key: Key,
        pod: dict[str, Any],
        state: ReplicaState | None,
        waiting: Waiting | None,
        tail: str,
        number: int,
        restarts: int | None = None,
        unscheduled: Unschedulable | None = None,
    ) -> None:
        count = podstatus.restart_count(pod, number) if restarts is None else restarts
        holder = self._platform.get(_name(key, pod, _count(pod) - 1))  # the one that has the model is the last
        ready = holder is not None and holder.running and holder.ready
        compiled = self._compile_report(holder.spec.key) if holder is not None and ready else None
        status = podstatus.pod_status(pod, state, count, waiting, tail, self._now(), compiled, unscheduled, number)
        if status != pod.get("status"):
            fresh = self._store.get(Ref("", "pods", *key))
            if fresh is not None:
                self._store.update(Ref("", "pods", *key), {**fresh, "status": status}, status=True, durable=False)


def _count(pod: Mapping[str, Any] | None) -> int:
    """How many processes a pod has."""
    return 0 if pod is None else len(pod["spec"]["containers"])


def _name(key: Key, pod: Mapping[str, Any], number: int) -> str:
    """What the platform calls a process of a pod."""
    return replica_key(str(key), replica.behind(pod, number))


def _processes(key: Key, pod: Mapping[str, Any] | None) -> list[str]:
    """What the platform calls those of a pod; of one that is gone only the first is known by its name."""
    return [str(key)] if pod is None else [_name(key, pod, number) for number in range(_count(pod))]


def _admitted(spec: ReplicaSpec, pod: Mapping[str, Any], held: Held, number: int) -> ReplicaSpec:
    """A process of a pod with what that was admitted with; one of several has its own limits."""
    env = {**spec.env, **claims.variables(held)}
    own = {**pod, "spec": {**pod["spec"], "containers": [pod["spec"]["containers"][number]]}}
    return msgspec.structs.replace(spec, env=env, held=held, limits=claims.limits(own, held))


def _remove_sockets(state: ReplicaState) -> None:
    for address in (state.spec.http, state.spec.grpc):
        if address and address.startswith("unix:"):
            Path(address.removeprefix("unix:")).unlink(missing_ok=True)


def _link(links: Mapping[Path, Path]) -> None:
    for link, file in links.items():
        link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(file)


def _ports(state: ReplicaState) -> tuple[int, ...]:
    """The ports of a replica that has some: that of HTTP, and that of gRPC if it is another one."""
    addresses = dict.fromkeys((state.spec.http, state.spec.grpc or ""))
    return tuple(int(found.rpartition(":")[2]) for found in addresses if found and not found.startswith("unix:"))


def _told(beside: ReplicaState) -> str:
    """What the first process of a pod is told of the one behind it."""
    return f"{defaults.HOST}:{_ends(beside)[0]}"


def _ends(state: ReplicaState) -> tuple[int | None, int | None]:
    """Where a process on ports speaks HTTP and gRPC; what has one port for both is asked there."""
    ports = _ports(state)
    return (ports[0], ports[-1]) if ports else (None, None)
