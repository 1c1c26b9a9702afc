"""Table tests of the choice of a replica."""

from __future__ import annotations

import random
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


def test_of_many_replicas_two_are_drawn_and_the_better_one_is_taken() -> None:
    members = replicas(*range(20, 0, -1))
    drawn = iter([3, 4, 7, 6, 19, 0])  # the second number counts without the first member
    balancer = Balancer(members, lambda _: next(drawn))
    picked = [members.index(chosen) for _ in range(3) if (chosen := balancer.pick(0.0)) is not None]
    assert picked == [5, 7, 19]


def test_of_many_replicas_none_that_is_left_alone_is_taken_while_another_is_there() -> None:
    members = replicas(*[0] * 20)
    for member in members[:19]:
        member.load.eject(10.0, 0.0)
    balancer = Balancer(members)
    assert {balancer.pick(0.0) for _ in range(50)} == {members[19]}
    assert balancer.pick(0.0, tried=members[19:]) in members[:19]


def test_many_replicas_are_loaded_evenly() -> None:
    members = replicas(*[0] * 50)
    balancer = Balancer(members, random.Random(7).randrange)
    for _ in range(5000):
        chosen = balancer.pick(0.0)
        assert chosen is not None
        chosen.load.outstanding += 1
    assert max(member.load.outstanding for member in members) <= 104


@pytest.mark.parametrize(
    ("now", "others", "taken"),
    [
        (100.0, 9, 1),  # a tenth of a full load at the beginning
        (105.0, 9, 5),
        (109.0, 9, 9),
        (110.0, 9, 10),
    ],
)
def test_a_replica_that_joins_others_starts_slowly(now: float, others: int, taken: int) -> None:
    warm, cold = replicas(others, 0)
    cold.load.start_slowly(100.0, 10.0)
    balancer = Balancer([warm, cold])
    while (chosen := balancer.pick(now)) is cold:
        chosen.load.outstanding += 1
    assert cold.load.outstanding == taken or cold.load.outstanding == taken - 1


def test_an_ejected_replica_is_left_alone_and_then_starts_slowly() -> None:
    members = replicas(0, 3)
    members[0].load.eject(105.0, 10.0)
    balancer = Balancer(members)
    assert balancer.pick(104.9) is members[1]
    assert balancer.pick(105.1) is members[1]  # 3 are not too many for what it can take now
    assert balancer.pick(114.9) is members[0]


def test_a_late_answer_does_not_take_back_an_ejection() -> None:
    members = replicas(0, 3)
    members[0].load.unreachable(100.0)
    members[0].load.eject(105.0, 0.0)
    members[0].load.reached()
    assert Balancer(members).pick(104.0) is members[1]
