"""The status of an InferenceService, as KServe's controller writes it. Pure.

Shape, condition types and values are KServe's; reasons of conditions are Knative's where it has
one. A condition's `lastTransitionTime` moves only when its status does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from colonnade.control.models import safety
from colonnade.control.rollouts import progress, shadowing
from colonnade.control.rollouts.rollout import PREVIOUS, Share
from colonnade.control.routes.routing import TAG_ROUTING, component_hosts, hosts
from colonnade.control.services.deployed import DOWN, UP, WAITS, Deployed, Failure, Variant, Verdict, crash
from colonnade.control.services.remarks import Remark
from colonnade.control.workload import ports
from colonnade.control.workload.components import PREDICTOR, TRANSFORMER
from colonnade.control.workload.podstatus import CRASH_LOOP, compiled_summary, troubled
from colonnade.control.workload.sources import ORIGIN

COMPILED_ANNOTATION = "colonnade.dev/compiled"  # on the service's status: what became of the model's compiled form
PARKED_ANNOTATION = "colonnade.dev/parked"  # likewise: bytes of the model of a service that sleeps, kept in memory
DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"
_ORDER = (DOWN, WAITS, UP)  # the worst of several comes first
_KNATIVE_MODES = frozenset({"Knative", "Serverless"})


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


def status(
    isvc: dict[str, Any],
    seen: Sequence[Deployed],
    place: Place,
    now: str,
    own_ports: Mapping[str, int],
    *,
    remarks: Sequence[Remark] = (),
    parked: int = 0,
) -> dict[str, Any]:
    """The whole new status.

    Args:
        isvc: with its status of before.
        seen: its components, the predictor first.
        place: where services are reached.
        now: the time for what changes, RFC 3339.
        own_ports: the service's own ports by their use, see `ports`.
        remarks: what it asks for beside its components.
        parked: bytes of its model that are kept in memory if it sleeps.
    """
    old = isvc.get("status") or {}
    name, namespace = isvc["metadata"]["name"], isvc["metadata"]["namespace"]
    annotations = isvc["metadata"].get("annotations") or {}
    knative = annotations.get(DEPLOYMENT_MODE) in _KNATIVE_MODES
    predictor = seen[0]
    entrance = _entrance(seen)
    scanned = _scanned(predictor, old)
    facts = [*_facts(seen, knative), *_safe(scanned), *_told(remarks)]
    new: dict[str, Any] = {
        "observedGeneration": isvc["metadata"].get("generation", 1),
        "conditions": _conditions(old.get("conditions") or [], facts, now),
        "deploymentMode": "Knative" if knative else "Standard",
        "modelStatus": _model_status(predictor, now, old.get("modelStatus") or {}),
        "components": {each.component.name: _component(isvc, each, place, own_ports) for each in seen},
    }
    notes: dict[str, str] = {}
    compiled = next(filter(None, map(compiled_summary, predictor.pods)), "")
    if compiled:
        notes[COMPILED_ANNOTATION] = compiled
    origin = next(filter(None, (pod["metadata"].get("annotations", {}).get(ORIGIN) for pod in predictor.pods)), "")
    if origin:
        notes[ORIGIN] = origin
    if ports.DIRECT in own_ports:
        notes[ports.URL_ANNOTATION] = ports.url(own_ports[ports.DIRECT])
    if scanned:
        notes[safety.ANNOTATION] = scanned
    if parked and not predictor.pods:
        notes[PARKED_ANNOTATION] = str(parked)
    rollouts = {each.component.name: each.progress for each in seen if each.progress is not None}
    if rollouts:
        notes[progress.RECORD] = progress.record(rollouts)
    if predictor.shadow:
        notes[shadowing.RECORD] = predictor.shadow
    if notes:
        new["annotations"] = notes
    if predictor.runtime:
        field = "servingRuntimeName" if predictor.runtime_kind == "ServingRuntime" else "clusterServingRuntimeName"
        new[field] = predictor.runtime
    if predictor.variants:
        new["canaryStatuses"] = [_canary(predictor, variant) for variant in predictor.variants]
    if entrance.serving:
        new["url"] = f"{place.scheme}://{hosts(name, namespace, place.domain)[1 if knative else 0]}"
        new["address"] = {"url": f"{place.http}/serving/{namespace}/{name}"}
    return new


def _scanned(predictor: Deployed, old: Mapping[str, Any]) -> str:
    """The record of the scan of the latest revision's model. A revision without a pod keeps what was known of it."""
    noted = [
        pod["metadata"].get("annotations", {}).get(safety.ANNOTATION, "") for pod in predictor.of(predictor.wanted)
    ]
    recorded = predictor.scanned or safety.worst(noted)
    before = ((old.get("components") or {}).get(PREDICTOR) or {}).get("latestCreatedRevision", "")
    if recorded or not predictor.wanted or before != predictor.wanted:
        return recorded
    return str((old.get("annotations") or {}).get(safety.ANNOTATION, ""))


def _safe(scanned: str) -> list[_Fact]:
    """The condition of the model's safety, once it is known."""
    fact = safety.fact(scanned)
    return [] if fact is None else [_Fact(safety.CONDITION, *fact, info=True)]


def _told(remarks: Sequence[Remark]) -> list[_Fact]:
    return [_Fact(each.kind, UP if each.holds else DOWN, each.reason, each.message, info=True) for each in remarks]


def _entrance(seen: Sequence[Deployed]) -> Deployed:
    """The component that requests come to: the transformer if there is one."""
    return next((each for each in seen if each.component.name == TRANSFORMER), seen[0])


def _facts(seen: Sequence[Deployed], knative: bool) -> list[_Fact]:
    """The conditions that KServe's controller writes in each mode, and only those.

    `PredictorReady` and its like say why in words, and `Ready` repeats the first that does not hold, as it does in
    Knative's condition sets; all others only point at the one that they wait for. They imply `IngressReady`.
    """
    stopped = seen[0].stopped
    verdicts = [(each, each.verdict()) for each in seen]
    whole = min((verdict for _, verdict in verdicts), key=lambda verdict: _ORDER.index(verdict.status))
    first = next((title(each.component.name) for each, verdict in verdicts if not each.reached), "")
    routed = _routed(verdicts)
    ended = whole.reason if stopped else ""
    facts = [_Fact(f"{title(each.component.name)}Ready", *verdict) for each, verdict in verdicts]
    facts += [
        _Fact("IngressReady", routed, "" if routed == UP else ended or f"{first} ingress not created"),
        _Fact("Ready", *whole),
        _Fact("Stopped", UP if stopped else DOWN, info=True),
    ]
    if seen[0].variants:
        ready = all(seen[0].ready(variant.revision) for variant in seen[0].variants)
        missing = "" if ready else "a variant of spec.canary has no ready replica, and gets no traffic"
        facts.append(
            _Fact("CanaryPredictorReady", UP if ready else WAITS, "" if ready else "CanaryNotReady", missing, True)
        )
    if knative:
        failed = next((title(each.component.name) for each, verdict in verdicts if verdict.status != UP), "")
        configured = "" if whole.status == UP else ended or f"{failed}ConfigurationReady not ready"
        facts.append(_Fact("LatestDeploymentReady", whole.status, configured, info=True))
        for each, verdict in verdicts:
            kind, way = title(each.component.name), _routed([(each, verdict)])
            facts.append(_Fact(f"{kind}ConfigurationReady", verdict.status, verdict.reason, info=True))
            facts.append(_Fact(f"{kind}RouteReady", way, "" if way == UP else verdict.reason, info=True))
        text = "" if routed == UP else ended or f"{first}RouteReady not ready"
        facts.append(_Fact("RoutesReady", routed, text, info=True))
    return facts


def _routed(verdicts: Sequence[tuple[Deployed, Verdict]]) -> str:
    """Whether requests get through these components."""
    if all(each.reached for each, _ in verdicts):
        return UP
    return WAITS if all(each.up or verdict.status == WAITS for each, verdict in verdicts) else DOWN


def title(component: str) -> str:
    """`predictor` as conditions spell it: `Predictor`."""
    return component.capitalize()


def _model_status(seen: Deployed, now: str, old: dict[str, Any]) -> dict[str, Any]:
    """`modelStatus`, which tells of the predictor's latest revision."""
    trouble = seen.trouble
    fresh = seen.of(seen.wanted)
    asleep = bool(seen.wanted) and seen.asleep(seen.wanted)
    there = bool(seen.wanted) and seen.split.goal == seen.split.now.shares
    up = there and (bool(seen.ready(seen.wanted)) or asleep) and seen.failure is None and not seen.fell
    states = {"activeModelState": ("Standby" if asleep and not seen.of(seen.wanted) else "Loaded") if seen.up else ""}
    if seen.refusal is not None:
        transition, target = "InvalidSpec", "FailedToLoad"
    elif up:
        transition, target = "UpToDate", "Standby" if asleep else "Loaded"
    elif trouble is not None:
        transition, target = "BlockedByFailedLoad", "FailedToLoad"
    else:
        transition, target = "InProgress", "Pending" if seen.fetching or not fresh else "Loading"
    made: dict[str, Any] = {"transitionStatus": transition, "states": {**states, "targetModelState": target}}
    if fresh:
        made["copies"] = {"failedCopies": sum(map(_failed, fresh)), "totalCopies": len(fresh)}
    if trouble is not None and not up:
        made["lastFailureInfo"] = _failure_info(trouble, now, old.get("lastFailureInfo") or {})
    return made


def _canary(seen: Deployed, variant: Variant) -> dict[str, Any]:
    """One of `canaryStatuses`."""
    trouble = crash(seen.of(variant.revision), variant.revision)
    ready = bool(seen.ready(variant.revision))
    model: dict[str, Any] = {"transitionStatus": "UpToDate" if ready else "InProgress"}
    if trouble is not None and not ready:
        model = {"transitionStatus": "BlockedByFailedLoad", "lastFailureInfo": {"message": trouble.message}}
    percent = next((share.percent for share in seen.split.now.shares if share.revision == variant.revision), 0)
    return {"name": variant.name, "ready": ready, "trafficPercent": percent, "modelStatus": model}


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
    waiting = (troubled(pod).get("state") or {}).get("waiting") or {}
    return waiting.get("reason") in (CRASH_LOOP, "RunContainerError", "CreateContainerConfigError", safety.REFUSED)


def _component(isvc: dict[str, Any], seen: Deployed, place: Place, own_ports: Mapping[str, int]) -> dict[str, Any]:
    """One of `components`: addresses, and the revisions created, ready and rolled out."""
    name, namespace = isvc["metadata"]["name"], isvc["metadata"]["namespace"]
    component = seen.component.name
    was = ((isvc.get("status") or {}).get("components") or {}).get(component) or {}
    created = seen.wanted or was.get("latestCreatedRevision", "")
    made: dict[str, Any] = {}
    if created:
        made["latestCreatedRevision"] = created
    ready = bool(created and seen.ready(created))
    if ready or was.get("latestReadyRevision"):
        made["latestReadyRevision"] = created if ready else was["latestReadyRevision"]
    now = seen.split.now
    if not now.shares:
        return made
    host = component_hosts(name, component, namespace, place.domain)[0]
    port = own_ports.get(component)
    address = f"{place.http}/serving/{namespace}/{name}" if port is None else ports.url(port)
    tags = (isvc["metadata"].get("annotations") or {}).get(TAG_ROUTING) == "true"
    made |= {
        "url": f"{place.scheme}://{host}",
        "restUrl": f"{place.scheme}://{host}",
        "grpcUrl": place.grpc,
        "address": {"url": address},
        "latestRolledoutRevision": now.rolledout,
        "traffic": [_traffic(share, seen.wanted, f"{place.scheme}://", host, tags) for share in now.shares],
    }
    if now.previous:
        made["previousRolledoutRevision"] = now.previous
    return made


def _traffic(share: Share, latest: str, scheme: str, host: str, tags: bool) -> dict[str, Any]:
    """An entry of `traffic`; tags have hosts of their own where tag routing is on."""
    entry: dict[str, Any] = {
        "revisionName": share.revision,
        "percent": share.percent,
        "latestRevision": share.revision == latest,
    }
    if share.tag and tags:
        entry |= {"tag": share.tag, "url": f"{scheme}{share.tag}-{host}"}
    elif share.tag == PREVIOUS:
        entry["tag"] = share.tag
    return entry


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
