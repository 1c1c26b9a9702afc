"""What becomes of the compute that a manifest asks for; `control/workload/claims.py` says how it is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colonnade.resources.fields import CLUSTER_ONLY, EMULATED, RUNS, Ruling

_GPU = "whole devices by index, in CUDA_VISIBLE_DEVICES; without so many the service is refused"
_REQUESTS = {
    "cpu": Ruling(RUNS, "a replica waits until so much is unclaimed"),
    "memory": Ruling(RUNS, "a replica waits until so much is unclaimed"),
    "nvidia.com/gpu": Ruling(RUNS, _GPU),
    "amd.com/gpu": Ruling(RUNS, _GPU),
}
_LIMITS = _REQUESTS | {
    "cpu": Ruling(
        RUNS, "by a cgroup where one can be made, else as many cores as that takes, and less weight below one"
    ),
    "memory": Ruling(RUNS, "a replica that has more is ended as OOMKilled; mapped files do not count"),
}
_DEVICES = ("intel.com/gpu", "habana.ai/gaudi", "nvidia.com/mig-")
_NO_DEVICE = Ruling(CLUSTER_ONLY, "such devices are not given out here: the service is refused with them")


def request(_: Any, entry: Mapping[str, Any]) -> Ruling:
    """An entry of `requests`."""
    return _ruling(str(entry["key"]), _REQUESTS)


def limit(_: Any, entry: Mapping[str, Any]) -> Ruling:
    """An entry of `limits`."""
    return _ruling(str(entry["key"]), _LIMITS)


def _ruling(name: str, known: Mapping[str, Ruling]) -> Ruling:
    if name in known:
        return known[name]
    return _NO_DEVICE if name.startswith(_DEVICES) else Ruling(EMULATED, "recorded, not enforced")
