"""Table tests of the choice of a replica."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from colonnade.gateway.balance import BACKOFF_FIRST, BACKOFF_MAX, Balancer, Load


@dataclass(eq=False)
class Replica:
    name: str
    load: Load = field(default_factory=Load)


def replicas(*outstanding: int) -> list[Replica]:
    made = [Replica(f"r{i}") for i in range(len(outstanding))]
    for replica, count in zip(made, outstanding, strict=True):
        replica.load.outstanding = count
    return made


@pytest.mark.parametrize(
    ("outstanding", "expected"),
    [((0,), "r0"), ((5,), "r0"), ((3, 1, 2), "r1"), ((0, 0, 0), "r0"), ((2, 1, 1), "r1")],
)
def test_least_outstanding(outstanding: tuple[int, ...], expected: str) -> None:
    chosen = Balancer(replicas(*outstanding)).pick(0.0)
    assert chosen is not None
    assert chosen.name == expected


def test_equal_replicas_take_turns() -> None:
    balancer = Balancer(replicas(0, 0, 0))
    names = [chosen.name for _ in range(6) if (chosen := balancer.pick(0.0))]
    assert names == ["r0", "r1", "r2", "r0", "r1", "r2"]


def test_none_without_replicas_or_when_all_were_tried() -> None:
    assert Balancer[Replica]([]).pick(0.0) is None
    members = replicas(0, 0)
    assert Balancer(members).pick(0.0, tried=members) is None
    assert Balancer(members).pick(0.0, tried=members[:1]) is members[1]


def test_unreachable_replica_is_left_alone_for_a_while_and_then_tried_again() -> None:
    members = replicas(0, 9)
    members[0].load.unreachable(now=100.0)
    balancer = Balancer(members)
    assert balancer.pick(100.0) is members[1]
    assert balancer.pick(100.0 + BACKOFF_FIRST) is members[0]


def test_all_unreachable_takes_the_one_whose_back_off_ends_first() -> None:
    members = replicas(0, 0)
    members[0].load.unreachable(now=100.05)
    members[1].load.unreachable(now=100.0)
    assert Balancer(members).pick(100.06) is members[1]


def test_back_off_doubles_to_a_limit_and_ends_with_a_success() -> None:
    load = Load()
    waits = []
    for _ in range(40):
        load.unreachable(0.0)
        waits.append(load.retry_at)
    assert waits[:3] == [BACKOFF_FIRST, 2 * BACKOFF_FIRST, 4 * BACKOFF_FIRST]
    assert waits[-1] == BACKOFF_MAX
    load.reached()
    assert load.retry_at == 0.0
    load.unreachable(0.0)
    assert load.retry_at == BACKOFF_FIRST
