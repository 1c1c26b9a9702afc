"""The status of a Pod, as a kubelet writes it, from the state of its process. Pure.

Field names, reasons and the 128+signal exit code are those of the Kubernetes core API (v1 PodStatus); tools and people
read them by heart.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec

from colonnade.control.objects import timestamp
from colonnade.platforms.base import ReplicaState

CRASH_LOOP = "CrashLoopBackOff"
SCHEDULED, UNSCHEDULABLE = "PodScheduled", "Unschedulable"  # a condition, and its reason where there is no room
OOM_KILLED = "OOMKilled"
COMPILED = "colonnade.dev/Compiled"  # a condition: the model is served by its compiled form
CONVERTING = "converting"  # a state of it that does not last
UNKNOWN_EXIT = 137  # Kubernetes' own code for an end that nobody saw
MESSAGE_BYTES = 2048  # of the log's end, as Kubernetes' FallbackToLogsOnError
MESSAGE_LINES = 20


class Compiled(msgspec.Struct, frozen=True):
    """What a replica wrote about the compiled form of its model: what serves, and why in words."""

    state: str = ""
    summary: str = ""


class Waiting(NamedTuple):
    """Why a process is not started now."""

    reason: str
    message: str


class Unschedulable(NamedTuple):
    """Why a pod is not admitted to the machine, in words with numbers; `never` if it never will be."""

    message: str
    never: bool


def moment(seconds: float) -> str:
    """Unix time as Kubernetes writes it."""
    return timestamp(datetime.fromtimestamp(seconds, UTC))


def pod_status(
    pod: dict[str, Any],
    state: ReplicaState | None,
    restarts: int,
    waiting: Waiting | None,
    tail: str,
    now: float,
    compiled: Compiled | None = None,
    unscheduled: Unschedulable | None = None,
    number: int = 0,
) -> dict[str, Any]:
    """The new status of `pod` by what is seen of one of its processes; what was seen of others stays as it is.

    Args:
        state: of the last run of the process, None before the first.
        restarts: how often the process was started again.
        waiting: why no process runs, if none does.
        tail: the last lines of the ended process's log.
        compiled: what the running replica wrote about the compiled form of its model.
        unscheduled: why it was not admitted to the machine, if it was not.
        number: of the container whose process it is.
    """
    before = pod.get("status") or {}
    container = pod["spec"]["containers"][number]
    old = container_status(pod, number)
    running = state is not None and state.running
    current: dict[str, Any]
    if state is not None and running:
        current = {"running": {"startedAt": moment(state.started)}}
    elif waiting is not None:
        current = {"waiting": {"reason": waiting.reason, "message": waiting.message}}
    else:
        current = {"waiting": {"reason": "ContainerCreating"}}
    last = {"terminated": terminated(state, tail)} if state is not None and not running else old.get("lastState") or {}
    status = {
        "name": container["name"],
        "image": container.get("image", ""),
        "imageID": "",
        "ready": bool(running and state is not None and state.ready),
        "started": bool(running),
        "restartCount": restarts,
        "state": current,
        "lastState": last,
    }
    if state is not None and running and state.pid is not None:
        status["containerID"] = f"process://{state.pid}"
    statuses = [status if place == number else _seen(pod, place) for place in range(len(pod["spec"]["containers"]))]
    waits = [str(each["name"]) for each in statuses if not each["ready"]]
    ready = not waits
    reason, message = "", ""
    if waits:
        reason = "ContainersNotReady"
        message = f"containers with unready status: [{' '.join(waits)}]"
        if container["name"] != waits[0]:  # why the first is not ready was said when that was looked at
            message = _said(before, message)
        elif state is not None and running and state.reason:
            message += f": {state.reason}"
    if unscheduled is not None:
        lacks = [(SCHEDULED, False, UNSCHEDULABLE, unscheduled.message)]
        pending = {"phase": "Pending", "conditions": conditions(before.get("conditions") or [], lacks, moment(now))}
        return pending | ({"reason": UNSCHEDULABLE} if unscheduled.never else {})
    facts = [(SCHEDULED, True, "", ""), ("Initialized", True, "", "")]
    facts += [("ContainersReady", ready, reason, message), ("Ready", ready, reason, message)]
    if compiled is not None:
        facts.append((COMPILED, compiled.state == "compiled", compiled.state.capitalize(), compiled.summary))
    started = state is not None or before.get("phase") == "Running"
    return {
        "phase": "Running" if started else "Pending",
        "conditions": conditions(before.get("conditions") or [], facts, moment(now)),
        "hostIP": "127.0.0.1",
        "podIP": "127.0.0.1",
        "startTime": before.get("startTime") or moment(now),
        "qosClass": "BestEffort",
        "containerStatuses": statuses,
    }


def _said(before: Mapping[str, Any], message: str) -> str:
    """What the status said before if it said the same with a reason, else the message."""
    said = next((str(each.get("message")) for each in before.get("conditions") or [] if each["type"] == "Ready"), "")
    return said if said.startswith(f"{message}: ") else message


def _seen(pod: dict[str, Any], number: int) -> dict[str, Any]:
    """What is known of another process of the pod."""
    container = pod["spec"]["containers"][number]
    unseen = {"name": container["name"], "image": container.get("image", ""), "imageID": "", "ready": False}
    unseen |= {"started": False, "restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}}
    return {**unseen, "lastState": {}, **container_status(pod, number)}


def conditions(old: list[dict[str, Any]], facts: list[tuple[str, bool, str, str]], now: str) -> list[dict[str, Any]]:
    """Pod conditions; `lastTransitionTime` moves only when the status of a condition does."""
    times = {found["type"]: (found.get("status"), found.get("lastTransitionTime")) for found in old}
    made = []
    for kind, true, reason, message in facts:
        status = "True" if true else "False"
        was, since = times.get(kind, (None, None))
        condition = {"type": kind, "status": status, "lastTransitionTime": since if since and was == status else now}
        if reason:
            condition |= {"reason": reason, "message": message}
        made.append(condition)
    return made


def terminated(state: ReplicaState, tail: str) -> dict[str, Any]:
    """How the last run ended: its own word if it left one, else the last lines of its log."""
    said = state.termination
    ended: dict[str, Any] = {"startedAt": moment(state.started), "finishedAt": moment(state.finished or state.started)}
    if state.out_of_memory:
        message = f"ended for its memory: {state.out_of_memory}"
        ended |= {"exitCode": UNKNOWN_EXIT, "reason": OOM_KILLED}
        return ended | {"message": f"{message}\n{tail}" if tail else message}
    if state.signal is not None:
        ended |= {"exitCode": 128 + state.signal, "signal": state.signal, "reason": "Error"}
        message = f"ended by {_signal_name(state.signal)}"
        if state.signal == signal.SIGKILL:
            message += "; the kernel does so when memory runs out"
        ended["message"] = f"{message}\n{tail}" if tail else message
    elif state.exit_code is not None:
        reason = "Completed" if state.exit_code == 0 else "Error"
        ended |= {"exitCode": state.exit_code, "reason": reason, "message": tail}
    else:
        ended |= {"exitCode": UNKNOWN_EXIT, "reason": "ContainerStatusUnknown"}
        unknown = "how it ended is not known: an earlier control plane started it"
        ended["message"] = f"{unknown}\n{tail}" if tail else unknown
    if said is not None:
        ended |= {"reason": said.reason or ended["reason"], "message": said.message or ended["message"]}
    if not ended.get("message"):
        ended.pop("message", None)
    return ended


def last_lines(data: bytes) -> str:
    """The last lines of a log: at most `MESSAGE_LINES`, at most `MESSAGE_BYTES`."""
    text = data[-MESSAGE_BYTES:].decode("utf-8", "replace")
    return "\n".join(text.strip().splitlines()[-MESSAGE_LINES:])


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether a Pod's condition Ready is True."""
    found = (pod.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in found)


def unscheduled(pod: Mapping[str, Any]) -> str:
    """Why a Pod was not admitted to the machine, or ""."""
    found = (pod.get("status") or {}).get("conditions") or []
    waits = (each for each in found if each["type"] == SCHEDULED and each["status"] == "False")
    return next((str(each.get("message", "")) for each in waits), "")


def never_fits(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod asks for more than the machine has."""
    return (pod.get("status") or {}).get("reason") == UNSCHEDULABLE


def compiled_summary(pod: dict[str, Any]) -> str:
    """What is known of the compiled form of a Pod's model, in words; "" if nothing is."""
    found = (pod.get("status") or {}).get("conditions") or []
    return next((str(each.get("message", "")) for each in found if each["type"] == COMPILED), "")


def restart_count(pod: dict[str, Any], number: int = 0) -> int:
    """How often a process of a Pod was started again."""
    return int(container_status(pod, number).get("restartCount", 0))


def container_status(pod: dict[str, Any], number: int = 0) -> dict[str, Any]:
    """The status of one of a Pod's containers, or an empty dict."""
    found = (pod.get("status") or {}).get("containerStatuses") or []
    return dict(found[number]) if number < len(found) else {}


def was_ready(pod: Mapping[str, Any], pid: int | None, number: int = 0) -> bool:
    """Whether a Pod's status says that one of its processes, this very one, takes requests."""
    status = container_status(dict(pod), number)
    return bool(status.get("ready")) and status.get("containerID") == f"process://{pid}"


def troubled(pod: dict[str, Any]) -> dict[str, Any]:
    """The status of the container that keeps a Pod from being ready: one that waits or has ended before others."""
    found = [each for each in (pod.get("status") or {}).get("containerStatuses") or [] if not each.get("ready")]
    waiting = [each for each in found if (each.get("state") or {}).get("waiting", {}).get("message")]
    ended = [each for each in found if each.get("lastState")]
    return dict(next(iter(waiting or ended or found), container_status(pod)))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
