"""From a pod's resources to a claim, limits and variables, and the words for what is missing."""

from __future__ import annotations

from typing import Any

import pytest

from colonnade.control.workload import claims
from colonnade.errors import InvalidInput
from colonnade.platforms.budget import Claim, Held, Lack, Machine, place
from colonnade.platforms.limits import Limits

GIB = 1 << 30
MACHINE = Machine((0, 1), 2000, 8 * GIB, ("0",), overcommit_cpu=4.0)


def pod(*resources: dict[str, Any], **annotations: str) -> dict[str, Any]:
    named = {f"colonnade.dev/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return {"metadata": {"annotations": named}, "spec": {"containers": [{"resources": each} for each in resources]}}


@pytest.mark.parametrize(
    ("resources", "claim", "limits"),
    [
        ({}, Claim(), Limits()),
        ({"requests": {"cpu": "500m", "memory": "1Gi"}}, Claim(500, GIB), Limits(weight=500)),
        ({"limits": {"cpu": "1500m", "memory": "1Gi"}}, Claim(1500, GIB, pinned=2), Limits(1500, 1500, GIB)),
        (
            {"requests": {"cpu": 0.25, "memory": "1Gi"}, "limits": {"cpu": 1, "memory": "2Gi"}},
            Claim(250, GIB, pinned=1),
            Limits(1000, 250, 2 * GIB),
        ),
        ({"requests": {"memory": "100.5"}}, Claim(memory=101), Limits()),
        ({"limits": {"nvidia.com/gpu": "2"}}, Claim(gpu=2000), Limits()),
        ({"limits": {"amd.com/gpu": 1}, "requests": {"amd.com/gpu": 1}}, Claim(gpu=1000), Limits()),
        ({"limits": {"intel.com/gpu": 1}}, Claim(others=(("intel.com/gpu", 1),)), Limits()),
        ({"limits": {"nvidia.com/mig-1g.5gb": 1}}, Claim(others=(("nvidia.com/mig-1g.5gb", 1),)), Limits()),
        ({"limits": {"ephemeral-storage": "1Gi"}}, Claim(), Limits()),
    ],
)
def test_what_is_claimed_and_what_is_enforced(resources: dict[str, Any], claim: Claim, limits: Limits) -> None:
    made = pod(resources)
    assert claims.of(made) == claim
    assert claims.limits(made, Held(claim)) == limits


def test_containers_are_summed() -> None:
    assert claims.of(pod({"requests": {"cpu": "1"}}, {"limits": {"cpu": "500m"}})) == Claim(1500, pinned=1)


def test_amounts_of_the_whole_pod_stand_in_for_those_of_its_containers() -> None:
    made = pod({"requests": {"cpu": "1", "memory": 7}, "limits": {"nvidia.com/gpu": 1}})
    made["spec"]["resources"] = {"limits": {"cpu": "500m"}}
    assert claims.of(made) == Claim(500, 7, 1000, pinned=1)
    assert claims.limits(made, Held()) == Limits(cpu=500)


@pytest.mark.parametrize("text", ["0", "1", "-0.5", "much", "1.5", "", "0.0001"])
def test_a_share_of_a_gpu_is_less_than_one(text: str) -> None:
    with pytest.raises(InvalidInput, match="must be above 0 and below 1"):
        claims.of(pod({}, gpu_share=text))


def test_a_share_of_a_gpu() -> None:
    assert claims.of(pod({}, gpu_share="0.25")) == Claim(gpu=250)
    assert claims.of(pod({"limits": {"nvidia.com/gpu": 1}}, gpu_share="0.25")) == Claim(gpu=250)
    with pytest.raises(InvalidInput, match="shares one GPU, and 2 are asked for"):
        claims.of(pod({"limits": {"nvidia.com/gpu": 2}}, gpu_share="0.25"))
    with pytest.raises(InvalidInput, match=r"given as a whole, not 500m; .*gpu-share"):
        claims.of(pod({"limits": {"nvidia.com/gpu": "0.5"}}))


def test_variables() -> None:
    assert claims.variables(Held()) == {}
    whole = claims.variables(Held(Claim(gpu=2000), (), (("1", 1000), ("3", 1000))))
    assert whole["CUDA_VISIBLE_DEVICES"] == whole["HIP_VISIBLE_DEVICES"] == "1,3"
    assert claims.SHARE_VARIABLE not in whole
    assert claims.variables(Held(Claim(gpu=250), (), (("1", 250),)))[claims.SHARE_VARIABLE] == "0.25"


KSERVE = {"cpu": "1", "memory": "2Gi"}


@pytest.mark.parametrize(
    ("resources", "left"),
    [
        ({"requests": KSERVE, "limits": KSERVE}, {}),
        ({"requests": {"cpu": 1, "memory": "2048Mi"}, "limits": {"cpu": "1000m", "memory": "2Gi"}}, {}),
        (
            {"requests": {**KSERVE, "memory": "1Gi"}, "limits": KSERVE},
            {"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}},
        ),
        ({"requests": KSERVE, "limits": {**KSERVE, "nvidia.com/gpu": 1}}, {"limits": {"nvidia.com/gpu": 1}}),
        ({"requests": KSERVE}, {"requests": KSERVE}),
        ({}, {}),
    ],
)
def test_what_kserve_writes_on_each_custom_container_is_nothing_said(
    resources: dict[str, Any], left: dict[str, Any]
) -> None:
    given = {"name": "c", "resources": resources}
    assert claims.undefaulted(given) == {"name": "c", "resources": left}
    assert given["resources"] is resources


@pytest.mark.parametrize(
    ("claim", "held", "text"),
    [
        (
            Claim(memory=2 * GIB),
            Claim(memory=8 * GIB - (512 << 20)),
            "0/1 nodes are available: Insufficient memory: requested 2Gi, free 512Mi of 8Gi.",
        ),
        (
            Claim(cpu=1000),
            Claim(cpu=7500),
            "0/1 nodes are available: Insufficient cpu: requested 1, free 500m of 8 (2, over-committed 4 times).",
        ),
        (
            Claim(gpu=250, memory=GIB),
            Claim(gpu=1000, memory=8 * GIB),
            "0/1 nodes are available: Insufficient memory: requested 1Gi, free 0 of 8Gi; "
            "Insufficient nvidia.com/gpu: requested 250m, free 0 of 1.",
        ),
        (
            Claim(memory=9 * GIB, others=(("intel.com/gpu", 1),)),
            Claim(),
            "0/1 nodes are available: Insufficient memory: requested 9Gi, this machine has 8Gi; Insufficient "
            "intel.com/gpu: requested 1, this machine has none. It can never fit; ask for less, or start the "
            "platform with more.",
        ),
    ],
)
def test_what_is_missing_is_said_in_numbers(claim: Claim, held: Claim, text: str) -> None:
    devices = (("0", 1000),) if held.gpu else ()
    found = place(MACHINE, [Held(held, (), devices)], claim)
    assert isinstance(found, Lack)
    assert claims.unschedulable(found, MACHINE) == text
