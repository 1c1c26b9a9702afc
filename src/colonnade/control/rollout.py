"""Which replicas there shall be, and which revision takes the traffic. Pure.

A new revision starts all its replicas beside the old ones and takes over when they are ready; until then, and for good
if it never gets there, the old one serves. Nothing is removed that the gateway may still send requests to.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from colonnade.control import revisions
from colonnade.control.podstatus import is_ready


class Decision(NamedTuple):
    """What to do with the pods of one service.

    Attributes:
        serving: the name of the revision that takes the traffic from now on, or "".
        create: how many pods of the wanted revision are missing.
        retire: pods to take out of the traffic and then to remove.
    """

    serving: str
    create: int
    retire: tuple[dict[str, Any], ...]


def replicas(predictor: dict[str, Any]) -> int:
    """How many replicas a predictor asks for: `minReplicas`, at least one."""
    return max(1, int(predictor.get("minReplicas") or 1))


def decide(pods: Sequence[dict[str, Any]], wanted: str, serving: str, count: int) -> Decision:
    """Decide for a service with these pods.

    Args:
        pods: all pods of the service, those on their way out included.
        wanted: the name of the revision that the manifest asks for; "" for none at all (stopped).
        serving: the name of the revision that takes the traffic now, or "".
        count: replicas asked for.
    """
    active = [pod for pod in pods if not revisions.draining(pod)]
    if not wanted:
        return Decision("", 0, tuple(pods))
    fresh = [pod for pod in active if revisions.of_pod(pod) == wanted]
    ready = sum(is_ready(pod) for pod in fresh)
    old_serves = any(is_ready(pod) for pod in active if revisions.of_pod(pod) == serving)
    if serving != wanted and (ready >= count or (ready and not old_serves)):
        serving = wanted
    kept = fresh if serving == wanted else [pod for pod in active if revisions.of_pod(pod) == serving] + fresh
    surplus = sorted(fresh, key=_worth)[: max(0, len(fresh) - count)]
    names = {pod["metadata"]["name"] for pod in kept} - {pod["metadata"]["name"] for pod in surplus}
    retire = tuple(pod for pod in pods if pod["metadata"]["name"] not in names)
    return Decision(serving, max(0, count - len(fresh)), retire)


def _worth(pod: dict[str, Any]) -> tuple[bool, tuple[int, ...], str]:
    """What goes first when there are too many: what is not ready, then the youngest."""
    created = str(pod["metadata"].get("creationTimestamp", ""))
    return is_ready(pod), tuple(-ord(letter) for letter in created), pod["metadata"]["name"]
