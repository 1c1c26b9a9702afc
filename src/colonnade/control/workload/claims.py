"""What a pod claims of the machine, and the limits that its process is held to. Pure.

Requests are claimed, limits are enforced. What is not requested is claimed by its limit, as in Kubernetes; a pod that
says neither claims nothing and has no limit. The amounts that KServe writes on each custom container (1 CPU and 2Gi,
requests and limits alike) count as nothing said: they are meant for the nodes of a cluster, and would fill a laptop
with four services.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from colonnade import defaults
from colonnade.errors import InvalidInput
from colonnade.platforms.budget import CPU, GPU, MEMORY, MILLI, Claim, Held, Lack, Machine, Shortage
from colonnade.platforms.limits import Limits
from colonnade.resources import quantity
from colonnade.resources.defaulting import DEFAULT_AMOUNTS

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")  # devices that are given by their index
_OTHER_DEVICES = ("intel.com/gpu", "habana.ai/gaudi")
_PARTITION = "nvidia.com/mig-"
_VISIBLE = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
SHARE_VARIABLE = "COLONNADE_GPU_SHARE"

Amounts = dict[str, Decimal]


def of(pod: Mapping[str, Any]) -> Claim:
    """What a pod claims.

    Raises:
        InvalidInput: an amount cannot be read, or the share of a GPU is none.
    """
    limits, asked = _amounts(pod)
    gpu = sum(_milli(asked.get(name)) for name in GPU_RESOURCES)
    others = [
        (name, _whole(amount))
        for name, amount in sorted(asked.items())
        if name in _OTHER_DEVICES or name.startswith(_PARTITION)
    ]
    if gpu % MILLI:
        text = f"a GPU is given as a whole, not {quantity.shown_milli(gpu)}; for a part of one set"
        raise InvalidInput(f'{GPU_RESOURCES[0]}: {text} the annotation {defaults.GPU_SHARE}: "0.25".')
    share = gpu_share(pod["metadata"].get("annotations") or {})
    if share and gpu > MILLI:
        raise InvalidInput(f"annotation {defaults.GPU_SHARE} shares one GPU, and {gpu // MILLI} are asked for.")
    pinned = -(-_milli(limits.get(CPU)) // MILLI)  # as many cores as it takes to give what it may use at most
    return Claim(_milli(asked.get(CPU)), _whole(asked.get(MEMORY)), share or gpu, pinned, tuple(others))


def gpu_share(annotations: Mapping[str, str]) -> int:
    """Thousandths of one GPU by the annotation; 0 if it is not there.

    Raises:
        InvalidInput: it is no number above 0 and below 1.
    """
    text = annotations.get(defaults.GPU_SHARE)
    if text is None:
        return 0
    try:
        share = int(quantity.parse(text) * MILLI)
    except InvalidInput:
        share = 0
    if not 0 < share < MILLI:
        wanted = "must be above 0 and below 1, such as 0.25; for whole ones set resources.limits"
        raise InvalidInput(f"annotation {defaults.GPU_SHARE} {wanted} {GPU_RESOURCES[0]}, not {text!r}.")
    return share


def limits(pod: Mapping[str, Any], held: Held) -> Limits:
    """What the process of a pod is held to, where it was admitted."""
    given, _ = _amounts(pod)
    return Limits(_milli(given.get(CPU)), held.claim.cpu, _whole(given.get(MEMORY)), held.cores)


def variables(held: Held) -> dict[str, str]:
    """The variables by which frameworks find the devices that a replica has; none if it has none."""
    if not held.gpus:
        return {}
    ids = ",".join(device for device, _ in held.gpus)
    found = dict.fromkeys(_VISIBLE, ids)
    if held.claim.gpu < MILLI:
        found[SHARE_VARIABLE] = str(held.claim.gpu / MILLI)
    return found


def undefaulted(container: Mapping[str, Any]) -> dict[str, Any]:
    """A custom container without the amounts that KServe writes on all of them."""
    parts = {name: dict(amounts or {}) for name, amounts in (container.get("resources") or {}).items() if amounts}
    requests, most = parts.get("requests", {}), parts.get("limits", {})
    for name, amount in DEFAULT_AMOUNTS.items():
        given = [quantity.parse(part[name]) for part in (requests, most) if name in part]
        if given == [quantity.parse(amount)] * 2:
            del requests[name], most[name]
    return {**container, "resources": {name: amounts for name, amounts in parts.items() if amounts}}


def unschedulable(lack: Lack, machine: Machine) -> str:
    """Why a pod waits, as a scheduler says it, with numbers."""
    said = "; ".join(_shortage(each, machine, lack) for each in lack.shortages)
    then = " It can never fit; ask for less, or start the platform with more." if lack.never else ""
    return f"0/1 nodes are available: {said}.{then}"


def _shortage(each: Shortage, machine: Machine, lack: Lack) -> str:
    name = GPU_RESOURCES[0] if each.resource == GPU else each.resource
    shown = quantity.shown_bytes if name == MEMORY else quantity.shown_milli
    if name not in (CPU, MEMORY, GPU_RESOURCES[0]):
        return f"Insufficient {name}: requested {each.requested}, this machine has none"
    if lack.never:
        return f"Insufficient {name}: requested {shown(each.requested)}, this machine has {shown(each.whole)}"
    over = {CPU: machine.overcommit_cpu, MEMORY: machine.overcommit_memory}.get(each.resource, 1.0)
    note = f" ({shown(machine.there[each.resource])}, over-committed {over:g} times)" if over != 1 else ""
    return (
        f"Insufficient {name}: requested {shown(each.requested)}, free {shown(each.free)} of {shown(each.whole)}{note}"
    )


def _amounts(pod: Mapping[str, Any]) -> tuple[Amounts, Amounts]:
    """The limits of a pod, and what it asks for: requests, and limits of what is not requested.

    Amounts of its containers are summed; one that the pod has itself stands in for theirs, as in Kubernetes.
    """
    parts = [_parts(container) for container in pod["spec"]["containers"]]
    limits, requests = _parts(pod["spec"])
    most = _sum(limits for limits, _ in parts) | limits
    return most, _sum(limits | requests for limits, requests in parts) | limits | requests


def _sum(parts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for part in parts:
        for name, amount in part.items():
            total[name] = total.get(name, Decimal(0)) + amount
    return total


def _parts(of: Mapping[str, Any]) -> tuple[Amounts, Amounts]:
    """The limits and the requests in the `resources` of a container or a pod."""
    resources = of.get("resources") or {}
    limits, requests = (
        {name: quantity.parse(amount) for name, amount in (resources.get(part) or {}).items()}
        for part in ("limits", "requests")
    )
    return limits, requests


def _whole(amount: Decimal | None) -> int:
    """A claim is rounded up, as Kubernetes does."""
    return int((amount or Decimal(0)).to_integral_value(ROUND_CEILING))


def _milli(amount: Decimal | None) -> int:
    return _whole((amount or Decimal(0)) * MILLI)
