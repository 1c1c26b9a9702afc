"""The chain of causes behind a service that is not Ready: a pure function over what the API shows of it.

Each link is one observation that explains the one before it, from the condition down to the line of the log; the last
says what to do. Sources: the status of the InferenceService and of its pods, as KServe and Kubernetes write them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from colonnade.cli.advice import advice

Object = dict[str, Any]

LOG_LINES = 12


@dataclass(frozen=True)
class Cause:
    """One link of the chain: the step of the way to Ready, and what is known of it."""

    step: str
    message: str
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """Why a service or a graph is not Ready."""

    name: str
    ready: bool
    causes: tuple[Cause, ...] = ()
    advice: tuple[str, ...] = ()
    log: tuple[str, ...] = field(default=())
    failed: bool = False  # something has gone wrong, as against not having come yet


def diagnose(service: Object, pods: list[Object], log: list[str]) -> Diagnosis:
    """The chain of causes.

    Args:
        service: the InferenceService.
        pods: its pods, newest first.
        log: the last lines of the log of the pod that is worst off.
    """
    name = service["metadata"]["name"]
    if is_ready(service):
        return Diagnosis(name, ready=True)
    causes = [*_service_causes(service), *(cause for pod in pods for cause in _pod_causes(pod))]
    hints = advice(list(_failures(service, pods)))
    if not causes:
        causes = [Cause("control plane", "the service has not been looked at yet")]
    if not hints:
        hints = [f"`colonnade describe isvc {name}` shows its events; `colonnade logs {name}` all that it wrote"]
    return Diagnosis(
        name,
        ready=False,
        causes=tuple(causes),
        advice=tuple(hints),
        log=tuple(log[-LOG_LINES:]),
        failed=_failed(service, pods),
    )


def is_ready(obj: Object) -> bool:
    """Whether it is Ready as it is now asked for: the readiness of an older generation does not count."""
    observed = obj.get("status", {}).get("observedGeneration", 0)
    return _holds(obj) and observed >= obj["metadata"].get("generation", 0)


def is_refused(service: Object) -> bool:
    """Whether the service as it is now asked for can never run: waiting longer would not help."""
    status = service.get("status", {})
    observed = status.get("observedGeneration", 0) >= service["metadata"].get("generation", 0)
    return observed and (status.get("modelStatus") or {}).get("transitionStatus") == "InvalidSpec"


def worst_pod(pods: list[Object]) -> Object | None:
    """The pod whose log says most: not ready before ready, more restarts before fewer, newest first."""
    return min(pods, key=lambda pod: (_holds(pod), -_container(pod).get("restartCount", 0)), default=None)


def _failures(service: Object, pods: list[Object]) -> Iterator[tuple[str, str]]:
    """(reason, message) of everything that says of itself that it failed."""
    failure = (service.get("status", {}).get("modelStatus") or {}).get("lastFailureInfo") or {}
    yield str(failure.get("reason")), str(failure.get("message"))
    for pod in pods:
        waits = _condition(pod, "PodScheduled") or {}
        yield str(waits.get("reason")), str(waits.get("message"))
        state = _container(pod).get("state") or {}
        last = (_container(pod).get("lastState") or {}).get("terminated")
        for part in (state.get("waiting"), state.get("terminated"), last):
            if part:
                killed = f" signal {part['signal']}" if part.get("signal") else ""
                yield str(part.get("reason")), f"{part.get('message') or ''}{killed}"


def _failed(service: Object, pods: list[Object]) -> bool:
    transition = (service.get("status", {}).get("modelStatus") or {}).get("transitionStatus")
    return transition in ("InvalidSpec", "BlockedByFailedLoad") or any(
        _container(pod).get("restartCount") for pod in pods
    )


def condition_causes(obj: Object) -> list[Cause]:
    """What its conditions say: Ready, and behind it those that do not hold and say something of their own."""
    causes = []
    ready = _condition(obj, "Ready")
    if ready is not None:
        causes.append(_from_condition(ready))
    said = {ready.get("message") if ready else None, None, ""}
    for entry in obj.get("status", {}).get("conditions") or []:
        if entry.get("status") == "False" and entry.get("message") not in said:  # most repeat each other
            said.add(entry["message"])
            causes.append(_from_condition(entry))
    return causes


def _service_causes(service: Object) -> list[Cause]:
    causes = condition_causes(service)
    model = service.get("status", {}).get("modelStatus") or {}
    failure = model.get("lastFailureInfo") or {}
    if failure and model.get("transitionStatus") != "UpToDate":
        details = [f"{label}: {failure[key]}" for key, label in _FAILURE_FIELDS if failure.get(key) not in (None, "")]
        causes.append(
            Cause("model", f"{failure.get('reason', 'failed')}: {failure.get('message', '')}", tuple(details))
        )
    return causes


_FAILURE_FIELDS = (("location", "where"), ("exitCode", "exit code"), ("modelRevisionName", "revision"), ("time", "at"))


def _from_condition(entry: Object) -> Cause:
    reason = entry.get("reason") or entry.get("status")
    return Cause(f"condition {entry['type']}", f"{reason}: {entry.get('message') or 'no message yet'}")


def _pod_causes(pod: Object) -> list[Cause]:
    if _holds(pod):
        return []
    step = f"replica {pod['metadata']['name']}"
    container = _container(pod)
    causes = []
    state = container.get("state") or {}
    waiting = state.get("waiting")
    if waiting:
        causes.append(Cause(step, f"{waiting.get('reason')}: {waiting.get('message') or 'waits'}"))
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if ended:
        code = ended.get("exitCode")
        how = f"signal {ended['signal']}" if ended.get("signal") else f"exit code {code}"
        message = f"its process ended with {how}" + (f" ({ended['reason']})" if ended.get("reason") else "")
        lines = tuple(str(ended.get("message") or "").splitlines())
        causes.append(Cause(step, message, (*lines, f"restarts: {container.get('restartCount', 0)}")))
    if not causes:
        entry = _condition(pod, "Ready") or _condition(pod, "PodScheduled") or {}
        causes.append(Cause(step, entry.get("message") or f"phase {pod.get('status', {}).get('phase', 'Pending')}"))
    return causes


def _container(pod: Object) -> Object:
    """The status of the container that keeps a replica from being ready, of several the one that says most."""
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    unready: list[Object] = [each for each in statuses if not each.get("ready")]
    telling = [each for each in unready if "waiting" in each.get("state", {}) or each.get("lastState")]
    found: Object = next(iter(telling or unready), statuses[0])
    return found


def _holds(obj: Object) -> bool:
    entry = _condition(obj, "Ready")
    return entry is not None and entry.get("status") == "True"


def _condition(obj: Object, type_: str) -> Object | None:
    conditions = obj.get("status", {}).get("conditions") or []
    return next((entry for entry in conditions if entry.get("type") == type_), None)
