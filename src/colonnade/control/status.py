"""The status of an InferenceService, as KServe's controller writes it. Pure.

Shape, condition types and values are KServe's; reasons of conditions are Knative's where it has
one. A condition's `lastTransitionTime` moves only when its status does.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from colonnade.control import direct, revisions
from colonnade.control.podstatus import CRASH_LOOP, compiled_summary, container_status, is_ready
from colonnade.control.routing import hosts
from colonnade.control.template import Refusal

COMPILED_ANNOTATION = "colonnade.dev/compiled"  # on the service's status: what became of the model's compiled form
DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"
_KNATIVE_MODES = frozenset({"Knative", "Serverless"})


@dataclass(frozen=True)
class Failure:
    """What went wrong last, for `modelStatus.lastFailureInfo`."""

    reason: str
    message: str
    location: str = ""
    revision: str = ""
    time: str = ""
    exit_code: int | None = None


@dataclass(frozen=True)
class Observation:
    """What is known of one service now.

    Attributes:
        pods: those not on their way out, all revisions.
        count: replicas asked for.
        revision: the wanted revision, None if there is none: the manifest was refused, or the service is stopped.
        wanted: the name of that revision, or "".
        serving: the name of the revision that takes the traffic, or "".
        runtime: name of the ClusterServingRuntime in use, or "".
        routed: the names of the revisions that the gateway sends to.
        refusal: why the manifest cannot run here, if it cannot.
        fetching: whether a model is being fetched.
        failure: a failed fetch, if the last one failed.
        stopped: whether the user stopped the service.
        direct: the service's own port, if it has one.
    """

    pods: Sequence[dict[str, Any]]
    count: int
    revision: revisions.Revision | None
    wanted: str
    serving: str
    runtime: str = ""
    routed: Collection[str] = ()
    refusal: Refusal | None = None
    fetching: bool = False
    failure: Failure | None = None
    stopped: bool = False
    direct: int | None = None


@dataclass(frozen=True)
class Place:
    """Where services are reached: the ingress domain, and the gateway's address on this machine."""

    domain: str
    http: str
    grpc: str

    @property
    def scheme(self) -> str:
        """Of all URLs."""
        return self.http.partition("://")[0]


@dataclass(frozen=True)
class _Fact:
    kind: str
    status: str
    reason: str = ""
    message: str = ""
    info: bool = False


def status(isvc: dict[str, Any], seen: Observation, place: Place, now: str) -> dict[str, Any]:
    """The whole new status. `now` is the time for what changes, RFC 3339."""
    old = isvc.get("status") or {}
    name, namespace = isvc["metadata"]["name"], isvc["metadata"]["namespace"]
    annotations = isvc["metadata"].get("annotations") or {}
    knative = annotations.get(DEPLOYMENT_MODE) in _KNATIVE_MODES
    host = hosts(name, namespace, place.domain)[1 if knative else 0]
    failure = seen.failure or _failure(seen)
    facts = _facts(seen, failure, knative)
    new: dict[str, Any] = {
        "observedGeneration": isvc["metadata"].get("generation", 1),
        "conditions": _conditions(old.get("conditions") or [], facts, now),
        "deploymentMode": "Knative" if knative else "Standard",
        "modelStatus": _model_status(seen, failure, now, old.get("modelStatus") or {}),
        "components": {"predictor": _component(old, seen, name, namespace, place)},
    }
    recorded = seen.revision or revisions.recorded(isvc)
    if recorded is not None:
        new["annotations"] = revisions.record(recorded)
    compiled = next(filter(None, map(compiled_summary, seen.pods)), "")
    if compiled:
        new["annotations"] = {**new.get("annotations", {}), COMPILED_ANNOTATION: compiled}
    if seen.direct is not None:
        new["annotations"] = {**new.get("annotations", {}), **direct.record(seen.direct)}
    if seen.runtime:
        new["clusterServingRuntimeName"] = seen.runtime
    if seen.serving:
        new["url"] = f"{place.scheme}://{host}"
        new["address"] = {"url": f"{place.http}/serving/{namespace}/{name}"}
    return new


def _facts(seen: Observation, failure: Failure | None, knative: bool) -> list[_Fact]:
    """The conditions that KServe's controller writes in each mode, and only those.

    `PredictorReady` says why in words, and `Ready` repeats it, as it does in Knative's condition sets; all others only
    point at the one that they wait for. `PredictorReady` implies `IngressReady`.
    """
    up = bool(seen.serving) and any(revisions.of_pod(pod) == seen.serving for pod in seen.pods if is_ready(pod))
    serves = up and bool(seen.routed)
    latest, reason, message = _latest(seen, failure)
    routed = "True" if serves else "Unknown" if up or latest == "Unknown" else "False"
    stopped = reason if seen.stopped else ""
    facts = [
        _Fact("PredictorReady", latest, reason, message),
        _Fact("IngressReady", routed, "" if serves else stopped or "Predictor ingress not created"),
        _Fact("Ready", latest, reason, message),
        _Fact("Stopped", "True" if seen.stopped else "False", info=True),
    ]
    if knative:
        configured = "" if latest == "True" else stopped or "PredictorConfigurationReady not ready"
        facts += [
            _Fact("PredictorConfigurationReady", latest, reason, info=True),
            _Fact("LatestDeploymentReady", latest, configured, info=True),
            _Fact("PredictorRouteReady", routed, "" if serves else reason, info=True),
            _Fact("RoutesReady", routed, "" if serves else stopped or "PredictorRouteReady not ready", info=True),
        ]
    return facts


def _latest(seen: Observation, failure: Failure | None) -> tuple[str, str, str]:
    """(status, reason, message): does the revision that the manifest asks for serve?"""
    if seen.stopped:
        return "False", "Stopped", "Stopped"
    keeps = f" Revision {seen.serving} keeps serving." if seen.serving else ""
    if seen.refusal is not None:
        return "False", seen.refusal.reason, seen.refusal.message + keeps
    wanted = seen.wanted
    ready = sum(is_ready(pod) for pod in seen.pods if revisions.of_pod(pod) == wanted)
    if seen.serving == wanted and ready and seen.failure is None:
        if wanted in seen.routed:
            return "True", "", ""
        return "Unknown", "RevisionMissing", f"Revision {wanted} is ready; the gateway is being told to send to it."
    if failure is not None:
        elsewhere = keeps if seen.serving != wanted else f" It serves with {ready} of {seen.count} replicas."
        return "False", "RevisionFailed", f"Revision {wanted} failed with message: {failure.message}{elsewhere}"
    if seen.fetching:
        return "Unknown", "ModelFetching", f"Revision {wanted} waits for its model to be fetched."
    return "Unknown", "RevisionMissing", f"Revision {wanted}: {ready} of {seen.count} replicas are ready."


def _failure(seen: Observation) -> Failure | None:
    """Why the pods of the wanted revision do not get ready, from what their processes left; None if they may yet."""
    if seen.refusal is not None:
        return Failure(seen.refusal.reason, seen.refusal.message)
    wanted = seen.wanted
    for pod in seen.pods:
        if revisions.of_pod(pod) != wanted or is_ready(pod):
            continue
        container = container_status(pod)
        waiting = (container.get("state") or {}).get("waiting") or {}
        ended = (container.get("lastState") or {}).get("terminated") or {}
        if ended and (waiting.get("reason") == CRASH_LOOP or container.get("restartCount")):
            return Failure(
                "ModelLoadFailed" if ended.get("reason") == "ModelLoadFailed" else "RuntimeUnhealthy",
                ended.get("message") or f"the process exited with {ended.get('exitCode')}",
                location=pod["metadata"]["name"],
                revision=wanted,
                time=ended.get("finishedAt", ""),
                exit_code=ended.get("exitCode"),
            )
        if waiting.get("reason") in ("RunContainerError", "CreateContainerConfigError"):
            return Failure("RuntimeUnhealthy", waiting.get("message", ""), pod["metadata"]["name"], wanted)
    return None


def _model_status(seen: Observation, failure: Failure | None, now: str, old: dict[str, Any]) -> dict[str, Any]:
    wanted = seen.wanted
    ready = [pod for pod in seen.pods if is_ready(pod)]
    loaded = any(revisions.of_pod(pod) == seen.serving for pod in ready) and bool(seen.serving)
    fresh = [pod for pod in seen.pods if revisions.of_pod(pod) == wanted]
    up = bool(wanted) and seen.serving == wanted and any(is_ready(pod) for pod in fresh) and seen.failure is None
    states = {"activeModelState": "Loaded"} if loaded else {"activeModelState": ""}
    if seen.refusal is not None:
        transition, target = "InvalidSpec", "FailedToLoad"
    elif up:
        transition, target = "UpToDate", "Loaded"
    elif failure is not None:
        transition, target = "BlockedByFailedLoad", "FailedToLoad"
    else:
        transition, target = "InProgress", "Pending" if seen.fetching or not fresh else "Loading"
    made: dict[str, Any] = {"transitionStatus": transition, "states": {**states, "targetModelState": target}}
    if fresh:
        failed = sum(_failed(pod) for pod in fresh)
        made["copies"] = {"failedCopies": failed, "totalCopies": len(fresh)}
    if failure is not None and not up:
        made["lastFailureInfo"] = _failure_info(failure, now, old.get("lastFailureInfo") or {})
    return made


def _failure_info(failure: Failure, now: str, old: dict[str, Any]) -> dict[str, Any]:
    info: dict[str, Any] = {"reason": failure.reason, "message": failure.message}
    if failure.location:
        info["location"] = failure.location
    if failure.revision:
        info["modelRevisionName"] = failure.revision
    if failure.exit_code is not None:
        info["exitCode"] = failure.exit_code
    same = {key: value for key, value in old.items() if key != "time"} == info
    info["time"] = failure.time or (old.get("time") if same else None) or now
    return info


def _failed(pod: dict[str, Any]) -> bool:
    waiting = (container_status(pod).get("state") or {}).get("waiting") or {}
    return waiting.get("reason") in (CRASH_LOOP, "RunContainerError", "CreateContainerConfigError")


def _component(old: dict[str, Any], seen: Observation, name: str, namespace: str, place: Place) -> dict[str, Any]:
    """`components.predictor`: addresses, and the revisions created, ready and rolled out."""
    was = ((old.get("components") or {}).get("predictor")) or {}
    host = hosts(f"{name}-predictor", namespace, place.domain)[0]
    created = seen.wanted or was.get("latestCreatedRevision", "")
    made: dict[str, Any] = {}
    if created:
        made["latestCreatedRevision"] = created
    ready = any(is_ready(pod) for pod in seen.pods if revisions.of_pod(pod) == created) and created
    if ready or was.get("latestReadyRevision"):
        made["latestReadyRevision"] = created if ready else was["latestReadyRevision"]
    if not seen.serving:
        return made
    before = was.get("latestRolledoutRevision", "")
    previous = before if before and before != seen.serving else was.get("previousRolledoutRevision", "")
    made |= {
        "url": f"{place.scheme}://{host}",
        "restUrl": f"{place.scheme}://{host}",
        "grpcUrl": place.grpc,
        "address": {"url": f"{place.http}/serving/{namespace}/{name}"},
        "latestRolledoutRevision": seen.serving,
        "traffic": [{"revisionName": seen.serving, "percent": 100, "latestRevision": seen.serving == created}],
    }
    if previous:
        made["previousRolledoutRevision"] = previous
    return made


def _conditions(old: list[dict[str, Any]], facts: list[_Fact], now: str) -> list[dict[str, Any]]:
    times = {found["type"]: (found.get("status"), found.get("lastTransitionTime")) for found in old}
    made = []
    for fact in sorted(facts, key=lambda fact: fact.kind):
        was, since = times.get(fact.kind, (None, None))
        condition = {
            "type": fact.kind,
            "status": fact.status,
            "lastTransitionTime": since if since and was == fact.status else now,
        }
        if fact.info:
            condition["severity"] = "Info"
        if fact.reason:
            condition["reason"] = fact.reason
        if fact.message:
            condition["message"] = fact.message
        made.append(condition)
    return made
