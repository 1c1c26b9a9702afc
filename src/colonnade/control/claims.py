"""What a pod claims of the machine, and the limits that its process is held to. Pure.

Requests are claimed, limits are enforced. What is not requested is claimed by its limit, as in Kubernetes; a pod that
says neither claims nothing and has no limit. The amounts that KServe writes on each custom container (1 CPU and 2Gi,
requests and limits alike) count as nothing said: they are meant for the nodes of a cluster, and would fill a laptop
with four services.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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


def of(pod: Mapping[str, Any]) -> Claim:
    """What a pod claims.

    Raises:
        InvalidInput: an amount cannot be read, or the share of a GPU is none.
    """
    cpu = memory = gpu = pinned = 0
    others: dict[str, int] = {}
    for container in pod["spec"]["containers"]:
        limits, requests = _amounts(container)
        asked = {**limits, **requests}
        cpu += _whole(asked.get("cpu", Decimal(0)) * MILLI)
        memory += _whole(asked.get("memory", Decimal(0)))
        pinned += _cores(limits)
        gpu += sum(_whole(asked[name] * MILLI) for name in GPU_RESOURCES if name in asked)
        for name, amount in asked.items():
            if name in _OTHER_DEVICES or name.startswith(_PARTITION):
                others[name] = others.get(name, 0) + _whole(amount)
    if gpu % MILLI:
        text = f"a GPU is given as a whole, not {quantity.shown_milli(gpu)}; for a part of one set"
        raise InvalidInput(f'{GPU_RESOURCES[0]}: {text} the annotation {defaults.GPU_SHARE}: "0.25".')
    share = gpu_share(pod["metadata"].get("annotations") or {})
    if share and gpu > MILLI:
        raise InvalidInput(f"annotation {defaults.GPU_SHARE} shares one GPU, and {gpu // MILLI} are asked for.")
    return Claim(cpu, memory, share or gpu, pinned, tuple(sorted(others.items())))


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
    cpu = memory = 0
    for container in pod["spec"]["containers"]:
        given, _ = _amounts(container)
        cpu += _whole(given.get("cpu", Decimal(0)) * MILLI)
        memory += _whole(given.get("memory", Decimal(0)))
    return Limits(cpu, held.claim.cpu, memory, held.cores)


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


def _amounts(container: Mapping[str, Any]) -> Iterator[dict[str, Decimal]]:
    """Limits and requests of a container."""
    resources = container.get("resources") or {}
    for part in ("limits", "requests"):
        yield {name: quantity.parse(amount) for name, amount in (resources.get(part) or {}).items()}


def _cores(limits: Mapping[str, Decimal]) -> int:
    """How many cores it takes to give what it may use at most; 0 for no limit."""
    return int(limits["cpu"].to_integral_value(ROUND_CEILING)) if limits.get("cpu") else 0


def _whole(amount: Decimal) -> int:
    """A claim is rounded up, as Kubernetes does."""
    return int(amount.to_integral_value(ROUND_CEILING))
