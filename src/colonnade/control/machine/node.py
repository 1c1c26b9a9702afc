"""This machine as a Node, so that clients of Kubernetes see what there is, what may be claimed and what is."""

from __future__ import annotations

import platform
from typing import Any

from colonnade.control.machine.budget import Budget
from colonnade.control.objects import Object, Ref, timestamp, utcnow
from colonnade.control.store import Store
from colonnade.control.workload.claims import GPU_RESOURCES
from colonnade.platforms.budget import CPU, GPU, MEMORY
from colonnade.resources import quantity
from colonnade.version import __version__


def keep(store: Store, budget: Budget) -> None:
    """Write what the ledger says into the Node, which is made if it is missing; other machines' are removed."""
    name = node_name()
    ref = Ref("", "nodes", "", name)
    for other in store.list("", "nodes")[0]:
        if other["metadata"]["name"] != name:  # the state folder, or the name of the machine, has moved
            store.delete(Ref("", "nodes", "", other["metadata"]["name"]))
    stored = store.get(ref)
    if stored is None:
        stored = store.create(
            ref, {"apiVersion": "v1", "kind": "Node", "metadata": {"labels": labels(name)}, "spec": {}}
        )
    made = status(budget, (stored.get("status") or {}).get("conditions") or [])
    if made != stored.get("status"):
        store.update(ref, {**stored, "status": made}, status=True)


def node_name() -> str:
    """The name of this machine, as Kubernetes allows names."""
    allowed = "".join(letter if letter.isalnum() or letter in "-." else "-" for letter in platform.node().lower())
    return allowed.strip("-.")[:253] or "localhost"


def labels(name: str) -> dict[str, str]:
    """Those that each node has."""
    return {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": platform.machine()}


def status(budget: Budget, conditions: list[Object]) -> Object:
    """What there is (`capacity`), what may be claimed (`allocatable`) and what is (`requested`)."""
    machine, claimed = budget.machine, [held.claim for held in budget.held.values()]
    total = {CPU: 0, MEMORY: 0, GPU: 0}
    for claim in claimed:
        for resource in total:
            total[resource] += getattr(claim, resource)
    since = next((each["lastTransitionTime"] for each in conditions), timestamp(utcnow()))
    return {
        "capacity": _shown(machine.there),
        "allocatable": _shown(machine.claimable),
        "requested": _shown(total),
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "PlatformReady", "message": "", "lastTransitionTime": since}
        ],
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": node_name()}],
        "nodeInfo": {
            "architecture": platform.machine(),
            "operatingSystem": "linux",
            "kernelVersion": platform.release(),
            "kubeletVersion": __version__,
        },
    }


def _shown(amounts: dict[str, int]) -> dict[str, Any]:
    return {
        CPU: quantity.shown_milli(amounts[CPU]),
        MEMORY: quantity.shown_bytes(amounts[MEMORY]),
        GPU_RESOURCES[0]: quantity.shown_milli(amounts[GPU]),
    }
