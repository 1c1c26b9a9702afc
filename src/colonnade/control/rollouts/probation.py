"""What becomes of a new revision that fails soon after it was ready. Pure.

The traffic moves to it at once, but the replicas that it replaces stay for a while (`defaults.PROBATION`). If one of
its own ends meanwhile, the traffic goes back to them without a start, and the new revision gets it again only after
all of its replicas have been ready for that long. Kubernetes' `minReadySeconds` waits before, and each rollout with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from colonnade import defaults
from colonnade.control.workload.podstatus import is_ready, troubled
from colonnade.control.workload.revisions import Revision


def left(revision: Revision, now: float) -> float:
    """Seconds that a revision is still on probation; 0 if it is not."""
    if not revision.since:
        return defaults.PROBATION
    return max(0.0, revision.since + defaults.PROBATION - now)


def failure(pods: Sequence[dict[str, Any]]) -> str:
    """How a replica of a revision that was ready ended, or "" if its replicas are well.

    One that was started again and is ready by now is well; so is one that starts for the first time beside others.
    """
    for pod in pods:
        ended = (troubled(pod).get("lastState") or {}).get("terminated") or {}
        if ended and not is_ready(pod):
            said = str(ended.get("message") or f"the process exited with {ended.get('exitCode')}")
            return f"{pod['metadata']['name']}: {said}"
    return "" if any(map(is_ready, pods)) else "none of its replicas is ready any more"


def unsteady(pods: Iterable[dict[str, Any]], count: int, now: float) -> float | None:
    """Seconds until so many replicas have been ready for long enough, 0 if they have; None if fewer are ready."""
    ready = sorted(_since(pod) for pod in pods if is_ready(pod))
    if not ready or len(ready) < count:
        return None
    return max(0.0, ready[max(count, 1) - 1] + defaults.PROBATION - now)


def _since(pod: dict[str, Any]) -> float:
    """Unix time at which a pod that is ready got so."""
    found = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    text = found.get("lastTransitionTime")
    return datetime.fromisoformat(text).timestamp() if text else 0.0
